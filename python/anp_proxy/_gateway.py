"""A gateway within a program."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from ._core import GatewaySettings, RunningGateway
from ._settings import as_json


class Gateway:
    """`async with Gateway(listen="127.0.0.1:8080") as gateway`: the public side, on threads of its own.

    Every setting of the `[gateway]` table is a keyword: `Gateway(listen=…, tunnel_listen=…,
    endpoints=[{"name": …}])`. Raises ValueError for one that cannot be, OSError where an address cannot
    be listened on. Port 0 is any free one.
    """

    def __init__(self, *, listen: str | None = None, tunnel_listen: str | None = None, **settings: Any) -> None:
        settings |= {"listen": listen, "tunnel_listen": tunnel_listen}
        self._settings = GatewaySettings.from_json(as_json(settings))
        self._running: RunningGateway | None = None

    @classmethod
    def _of(cls, settings: GatewaySettings) -> Gateway:
        gateway = cls.__new__(cls)
        gateway._settings = settings
        gateway._running = None
        return gateway

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
        self._running = RunningGateway(self._settings)

    async def stop(self, *, now: bool = False) -> None:
        """Let requests end, for `drain_timeout` at most, and close; `now` does not wait."""
        running = self._core()
        running.kill() if now else running.stop()
        try:
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
        await self.stop(now=error is not None)

    def _core(self) -> RunningGateway:
        if self._running is None:
            raise RuntimeError("the gateway was not started")
        return self._running
