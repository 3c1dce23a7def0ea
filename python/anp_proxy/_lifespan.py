"""An app's lifespan (ASGI, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from ._types import ASGIApp, Event

log = logging.getLogger("anp_proxy")

Mode = Literal["auto", "on", "off"]


class LifespanFailed(RuntimeError):
    """The app did not start up or shut down; the message is the app's."""


class Lifespan:
    """Runs the app's `lifespan` scope in a task of its own, from startup to shutdown.

    With "auto", an app that raises before it answers, or answers with an event of another kind, has no
    lifespan, and is served without one; "on" makes that an error.
    """

    def __init__(self, app: ASGIApp, mode: Mode = "auto") -> None:
        if mode not in ("auto", "on", "off"):
            raise ValueError(f'lifespan: expected "auto", "on" or "off", got {mode!r}')
        self._app = app
        self._mode = mode
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}
        """What the app put there; each request's scope gets a copy."""

    @property
    def is_running(self) -> bool:
        """Whether the app has a lifespan that began and did not end."""
        return self._task is not None

    async def startup(self) -> None:
        """Have the app start up; raises LifespanFailed with the app's message where it fails."""
        if self._mode == "off":
            return
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._answers: asyncio.Queue[Event] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run())
        await self._step("startup")

    async def shutdown(self) -> None:
        """Have the app shut down; raises LifespanFailed with the app's message where it fails."""
        if self._task is None:
            return
        try:
            await self._step("shutdown")
        finally:
            await self.cancel()

    async def cancel(self) -> None:
        """End the task, whatever it does."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                # Apps raise after they said that they failed; that was told already.
                task.exception()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self._app(scope, self._events.get, self._answers.put)

    async def _step(self, name: str) -> None:
        assert self._task is not None
        await self._events.put({"type": f"lifespan.{name}"})
        answering = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait([answering, self._task], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            answering.cancel()
            await self.cancel()
            raise
        if answering.done():
            answer = answering.result()
            if answer["type"] == f"lifespan.{name}.complete":
                return
            await self.cancel()
            if answer["type"] == f"lifespan.{name}.failed":
                raise LifespanFailed(answer.get("message") or f"the app's {name} failed")
            what = f"the app answered lifespan.{name} with {answer['type']!r}"
            if name == "startup" and self._mode == "auto":
                # It takes every scope for a request: it has no lifespan.
                log.debug(what)
                return
            raise LifespanFailed(what)
        answering.cancel()
        task, self._task = self._task, None
        error = None if task.cancelled() else task.exception()
        if name == "startup" and self._mode == "on":
            raise LifespanFailed("the app has no lifespan") from error
        if name == "shutdown" and error is not None:
            raise LifespanFailed("the app's shutdown raised an exception") from error
        if error is not None:
            log.debug("the app has no lifespan: %r", error)
