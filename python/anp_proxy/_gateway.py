"""A gateway within a program."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any

from ._core import GatewaySettings, RunningGateway
from ._settings import as_json
from ._watch import watch


class GatewayFailed(RuntimeError):
    """The gateway ended by itself; the message says why."""


class Gateway:
    """`async with Gateway(listen="127.0.0.1:8080") as gateway`: the public side, on threads of its own.

    Every setting of the `[gateway]` table is a keyword: `Gateway(listen=…, tunnel_listen=…,
    endpoints=[{"name": …}])`. Raises ValueError for one that cannot be, OSError where an address cannot
    be listened on. Port 0 is any free one.
    """

    def __init__(self, *, listen: str | None = None, tunnel_listen: str | None = None, **settings: Any) -> None:
        settings |= {"listen": listen, "tunnel_listen": tunnel_listen}
        self._begin(GatewaySettings.from_json(as_json(settings)))

    @classmethod
    def _of(cls, settings: GatewaySettings) -> Gateway:
        gateway = cls.__new__(cls)
        gateway._begin(settings)
        return gateway

    def _begin(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._running: RunningGateway | None = None
        self._ended: asyncio.Future[None] | None = None

    @property
    def url(self) -> str:
        """Where callers connect."""
        return self._core().url

    @property
    def tunnel_url(self) -> str:
        """Where receivers connect."""
        return self._core().tunnel_url

    async def start(self) -> None:
        """Open the listeners and serve."""
        if self._running is not None:
            raise RuntimeError("the gateway was started before")
        loop = asyncio.get_running_loop()
        running = self._running = RunningGateway(self._settings)
        ended = self._ended = loop.create_future()

        def end() -> None:
            unwatch()
            if (reason := running.end()) is None:
                ended.set_result(None)
            else:
                ended.set_exception(GatewayFailed(reason))
                # Whoever waits is told; that nobody does is no mistake.
                ended.exception()

        unwatch = watch(loop, running.fileno(), end)

    async def wait(self) -> None:
        """Wait until it ends; raises GatewayFailed where it did so by itself."""
        self._core()
        if self._ended is not None:
            await asyncio.shield(self._ended)

    async def stop(self, *, now: bool = False) -> None:
        """Serve on for `stop_delay`, let requests end, for `drain_timeout` at most, and close; `now` waits
        for neither.

        Raises GatewayFailed where it had ended by itself.
        """
        running = self._core()
        running.kill() if now else running.stop()
        try:
            await self.wait()
            await asyncio.get_running_loop().run_in_executor(None, running.join)
        except asyncio.CancelledError:
            running.kill()
            raise

    async def __aenter__(self) -> Gateway:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # An error in the block is told before one of ours, which it may well be.
        with contextlib.suppress(*[] if error is None else [GatewayFailed]):
            await self.stop(now=error is not None)

    def _core(self) -> RunningGateway:
        if self._running is None:
            raise RuntimeError("the gateway was not started")
        return self._running
