"""The servers that the suite holds beside each other: each serves an app on a port of its own."""

import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import uvicorn

import anp_proxy
from binary import soon

MAX_MESSAGE = 1 << 20
"""Most bytes of a WebSocket message, for both."""


@dataclass
class Place:
    """Where a served app is reached."""

    host: str
    port: int
    stop: Any
    """`await stop()`: what a person who ends the server does."""

    @property
    def address(self):
        """HOST:PORT."""
        return f"{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def direct(app, *, root_path="", lifespan="off"):
    """The app by uvicorn with httptools, which callers reach directly."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http="httptools", lifespan=lifespan, root_path=root_path, log_config=None,
        access_log=False, ws_max_size=MAX_MESSAGE, proxy_headers=False, timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    try:
        await server.startup()
    except SystemExit:
        raise Refused("the app did not start up") from None
    stopped = False

    async def stop():
        nonlocal stopped
        if not stopped:
            stopped = True
            await soon(server.shutdown())

    try:
        yield Place("127.0.0.1", server.servers[0].sockets[0].getsockname()[1], stop)
    finally:
        # Connections that a case left open are no reason to wait.
        server.force_exit = True
        await stop()


@contextlib.asynccontextmanager
async def tunnelled(app, *, root_path="", lifespan="off"):
    """The app in the receiver's process: callers reach a gateway, which reaches it by a tunnel."""
    settings = {"workers": 1, "access_log": False, "queue_timeout": "15s"}
    async with anp_proxy.Gateway(listen="127.0.0.1:0", tunnel_listen="127.0.0.1:0", **settings) as gateway:
        receiver = anp_proxy.Receiver(
            app, gateway.tunnel_url, tunnels=1, root_path=root_path, lifespan=lifespan, max_message=MAX_MESSAGE,
            drain_timeout="1s",
        )
        try:
            await soon(receiver.start())
        except anp_proxy.LifespanFailed as error:
            raise Refused(str(error)) from None
        stopped = False

        async def stop(now=False):
            nonlocal stopped
            if not stopped:
                stopped = True
                with contextlib.suppress(anp_proxy.LifespanFailed):
                    await soon(receiver.stop(now=now))

        host, port = gateway.url.removeprefix("http://").rsplit(":", 1)
        try:
            yield Place(host, int(port), stop)
        finally:
            await stop(now=True)
            await soon(gateway.stop(now=True))


class Refused(Exception):
    """The server does not serve this app."""


SERVERS = {"uvicorn": direct, "tunnel": tunnelled}

logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
