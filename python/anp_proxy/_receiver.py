"""A receiver within a program: an ASGI app behind one or several gateways."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ._core import Dispatcher, ReceiverSettings, RunningReceiver
from ._lifespan import Lifespan, Mode
from ._settings import as_json, identity
from ._types import ASGIApp, DidDocument, PrivateKey
from ._watch import watch

log = logging.getLogger("anp_proxy")
tunnels_log = logging.getLogger("anp_proxy.tunnels")

MAX_MESSAGE = 16 << 20
"""Most bytes of a WebSocket message, unless told otherwise."""


class ReceiverFailed(RuntimeError):
    """No gateway is left to serve: each was given up. The message says why the last one was."""


@dataclass(frozen=True)
class Stats:
    """What a receiver did so far."""

    requests: int
    """Requests that the app was called for."""
    in_flight: int
    """Those it is called for now."""
    tunnels: int
    """Tunnels that take requests now."""


class Receiver:
    """`async with Receiver(app, gateway="ws://…") as receiver`: serves `app` until the end of the block.

    Entering it starts the app's lifespan and returns once a tunnel takes requests; leaving it lets
    requests end, for `drain_timeout` at most. `app` is an ASGI app; `WSGI(app)` makes one of a WSGI app.
    The event loop is the running one, and everything of the app runs on it.

    `gateway` is one address or several. Every other setting of the `[receiver]` table is a keyword, too:
    `name="lab-1"`, `workers=2`, `drain_timeout="10s"` … ValueError tells of one that cannot be.

    `did` and `key` prove to gateways who this is: the files of a DID document and of its private key
    (settings `did_document` and `did_key`), or the document as a dict and the key in PEM.

    `root_path` is where the app is told it is mounted, `lifespan` is "auto", "on" or "off",
    `max_message` bounds messages of WebSockets.
    """

    def __init__(
        self,
        app: ASGIApp,
        gateway: str | Iterable[str],
        *,
        did: DidDocument | None = None,
        key: PrivateKey | None = None,
        root_path: str = "",
        lifespan: Mode = "auto",
        max_message: int = MAX_MESSAGE,
        **settings: Any,
    ) -> None:
        if "gateways" in settings:
            raise ValueError("gateways: expected none, there is `gateway` for them")
        if not isinstance(gateway, Iterable):
            raise TypeError(f"gateway: expected an address or several, got {gateway!r}")
        settings["gateways"] = [gateway] if isinstance(gateway, str) else list(gateway)
        texts = identity(settings, did, key)
        checked = ReceiverSettings.from_json(as_json(settings), texts)
        self._begin(app, checked, root_path, lifespan, max_message)

    @classmethod
    def _of(cls, app: ASGIApp, settings: ReceiverSettings, root_path: str) -> Receiver:
        receiver = cls.__new__(cls)
        receiver._begin(app, settings, root_path, "auto", MAX_MESSAGE)
        return receiver

    def _begin(
        self, app: ASGIApp, settings: ReceiverSettings, root_path: str, lifespan: Mode, max_message: int
    ) -> None:
        if not callable(app):
            raise TypeError(f"app: expected an ASGI app, got {app!r}")
        if not isinstance(max_message, int) or not 0 < max_message <= sys.maxsize:
            raise ValueError(f"max_message: expected a number of bytes above 0, got {max_message!r}")
        if not root_path.startswith("/") and root_path:
            raise ValueError(f'root_path: expected a path that begins with "/", got {root_path!r}')
        self._app = app
        self._settings = settings
        self._root_path = root_path.rstrip("/")
        self._lifespan = Lifespan(app, lifespan)
        self._max_message = max_message
        self._running: RunningReceiver | None = None
        self._dispatcher: Dispatcher | None = None
        self._last = Stats(0, 0, 0)
        self._ready: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._tunnels: set[tuple[str, int]] = set()
        self._urls: dict[str, list[str]] = {}
        self._unwatch: Callable[[], None] = lambda: None

    @property
    def urls(self) -> list[str]:
        """The public URLs that gateways granted this receiver; empty where they do not tell."""
        return [url for urls in self._urls.values() for url in urls]

    def stats(self) -> Stats:
        """What it did so far."""
        if (dispatcher := self._dispatcher) is None:
            return self._last
        return Stats(dispatcher.requests(), dispatcher.in_flight(), len(self._tunnels))

    async def start(self) -> None:
        """Start the app's lifespan and the tunnels; done once a tunnel takes requests.

        Raises LifespanFailed where the app does not start up, ReceiverFailed where no gateway takes it.
        """
        if self._running is not None:
            raise RuntimeError("the receiver was started before")
        loop = asyncio.get_running_loop()
        self._ready, self._ended = loop.create_future(), loop.create_future()
        await self._lifespan.startup()
        try:
            self._dispatcher = Dispatcher(
                self._app,
                loop,
                create_task=_create_task(loop),
                gone=_gone,
                log=_log,
                notify=self._notify,
                state=self._lifespan.state if self._lifespan.is_running else None,
                root_path=self._root_path,
                max_message=self._max_message,
            )
            self._unwatch = watch(loop, self._dispatcher.fileno(), self._dispatcher.drain)
            self._running = RunningReceiver(self._settings, self._dispatcher)
            await asyncio.wait([self._ready, self._ended], return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                self._ended.result()
        except BaseException:
            await self._close(now=True)
            raise

    async def wait(self) -> None:
        """Wait until it ends; raises ReceiverFailed where that is because no gateway is left."""
        if self._ended is None:
            raise RuntimeError("the receiver was not started")
        await asyncio.shield(self._ended)

    async def stop(self, *, now: bool = False) -> None:
        """Let requests end, for `drain_timeout` at most, close the tunnels and shut the app down.

        `now` does not wait, and neither does a stop that is cancelled.
        """
        await self._close(now)

    async def __aenter__(self) -> Receiver:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close(now=False)

    async def _close(self, now: bool) -> None:
        try:
            if self._running is not None and self._ended is not None:
                self._running.kill() if now else self._running.stop()
                try:
                    await asyncio.wait([self._ended])
                except asyncio.CancelledError:
                    self._running.kill()
                    for task in self._dispatcher.tasks() if self._dispatcher else []:
                        task.cancel()
                    # At once: nothing is waited for any more.
                    await asyncio.wait([self._ended])
                    raise
                await self._end_tasks()
        finally:
            self._unwatch()
            self._unwatch = lambda: None
            if self._ended is not None and self._ended.done() and not self._ended.cancelled():
                # Whoever waits for it was told; a stop is not the place to be told again.
                self._ended.exception()
            self._last = self.stats()
            if self._dispatcher is not None:
                self._dispatcher.close()
            # It holds this receiver, which the collector of garbage cannot see.
            self._dispatcher = None
            await self._lifespan.shutdown()

    async def _end_tasks(self) -> None:
        """End the calls of the app whose caller is gone: nothing waits for them any more."""
        tasks = self._dispatcher.tasks() if self._dispatcher else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _notify(self, kind: str, *news: Any) -> None:
        """Told by the core what became of the tunnels."""
        if kind == "ready":
            gateway, tunnel = news
            self._tunnels.add((gateway, tunnel))
            tunnels_log.info("tunnel %d to %s is ready", tunnel, gateway)
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
        elif kind == "granted":
            gateway, urls = news
            self._urls[gateway] = urls
            tunnels_log.info("%s is reached at %s", gateway, ", ".join(urls))
        elif kind == "lost":
            gateway, tunnel, reason = news
            self._tunnels.discard((gateway, tunnel))
            tunnels_log.warning("no tunnel %d to %s: %s", tunnel, gateway, reason)
        elif self._ended is not None and not self._ended.done():
            self._tunnels.clear()
            (reason,) = news
            if reason is None:
                self._ended.set_result(None)
            else:
                self._ended.set_exception(ReceiverFailed(reason))


async def serve(
    app: ASGIApp,
    gateway: str | Iterable[str],
    *,
    did: DidDocument | None = None,
    key: PrivateKey | None = None,
    root_path: str = "",
    lifespan: Mode = "auto",
    max_message: int = MAX_MESSAGE,
    **settings: Any,
) -> None:
    """Serve `app` through `gateway` until cancelled; arguments as for `Receiver`.

    Raises LifespanFailed where the app does not start up, ReceiverFailed once no gateway is left.
    """
    settings |= {"root_path": root_path, "lifespan": lifespan, "max_message": max_message}
    receiver = Receiver(app, gateway, did=did, key=key, **settings)
    async with receiver:
        await receiver.wait()


def run(app: ASGIApp, gateway: str | Iterable[str], **settings: Any) -> None:
    """Serve `app` until Ctrl-C or SIGTERM, on an event loop of its own; arguments as for `serve`.

    The loop is uvloop's where that is installed. A second signal does not wait for requests to end.
    """
    run_loop(until_signal(_run(Receiver(app, gateway, **settings))))


async def _run(receiver: Receiver) -> None:
    async with receiver:
        await receiver.wait()


async def until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; SIGINT and SIGTERM cancel it, each time that one comes: a stop that is cancelled
    again does not wait."""
    loop = asyncio.get_running_loop()
    working = loop.create_task(work)
    signalled = False

    def stop() -> None:
        nonlocal signalled
        signalled = True
        working.cancel()

    taken = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not the main thread, or not a loop that can.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
            taken.append(number)
    try:
        await working
    except asyncio.CancelledError:
        if not signalled:
            raise
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where that is installed, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def _create_task(loop: asyncio.AbstractEventLoop) -> Callable[[Any], asyncio.Task[None]]:
    """How tasks are made: as the loop does, without the detours where nobody changed that."""
    if loop.get_task_factory() is not None:
        return loop.create_task
    if sys.version_info >= (3, 12):
        return functools.partial(asyncio.Task, loop=loop, eager_start=True)
    return functools.partial(asyncio.Task, loop=loop)


async def _gone() -> None:
    """What `send` gives where the caller left and another task of the app waits in `receive`.

    That one is told, too, and most often ends the one that sends (Django does). It gets some turns of
    the loop to do so before the error.
    """
    for _ in range(20):
        await asyncio.sleep(0)
    raise ConnectionResetError("the caller went away")


def _log(message: str, error: BaseException | None) -> None:
    log.error(message, exc_info=error)
