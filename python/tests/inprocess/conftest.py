"""Apps in the receiver's own process, behind a gateway in the same process, with a caller."""

import contextlib
import signal
import sys
from pathlib import Path

import pytest
import pytest_asyncio

anp_proxy = pytest.importorskip("anp_proxy", reason="the wheel is not installed: make wheel")

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from binary import soon  # noqa: E402
from http11 import Caller, read_body, read_head  # noqa: E402

# A shell has what it runs in the background ignore Ctrl-C, and so would all that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Served:
    """An app that is served: `caller()` gives a connection to it."""

    def __init__(self, gateway, receiver):
        self.gateway = gateway
        self.receiver = receiver
        self.address = gateway.url.removeprefix("http://")
        self.ws_url = f"ws://{self.address}"

    def caller(self):
        """`async with served.caller() as caller`: a connection to the app."""
        return Caller(self.address)

    async def get(self, target="/", **more):
        """Status, fields and body of one GET."""
        return await self.call("GET", target, **more)

    async def call(self, method, target="/", fields=(), body=None):
        """Status, fields and body of one request."""
        async with self.caller() as caller:
            await soon(caller.send(method, target, fields, body))
            head = await soon(read_head(caller.reader))
            parts = [part async for part in read_body(caller.reader, head, method=method)]
            return head.status, head, b"".join(parts)


@contextlib.asynccontextmanager
async def serving(app, **settings):
    """`async with serving(app) as served`: gateway and receiver on free ports of this process."""
    gateway = anp_proxy.Gateway(
        listen="127.0.0.1:0", tunnel_listen="127.0.0.1:0", workers=1, access_log=False, queue_timeout="15s"
    )
    async with gateway:
        settings = {"tunnels": 1, "reconnect_delay": "10ms", "max_reconnect_delay": "50ms", **settings}
        receiver = anp_proxy.Receiver(app, gateway.tunnel_url, **settings)
        await soon(receiver.start())
        try:
            yield Served(gateway, receiver)
        finally:
            await soon(receiver.stop(now=True))
            await soon(gateway.stop(now=True))


@pytest_asyncio.fixture
async def serve():
    """`await serve(app)` gives a `Served` that lasts as long as the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(app, **settings):
            return await stack.enter_async_context(serving(app, **settings))

        yield start
