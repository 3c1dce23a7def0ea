"""Descriptors of the core, watched by an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


def watch(loop: asyncio.AbstractEventLoop, descriptor: int, call: Callable[[], None]) -> Callable[[], None]:
    """Have the loop call `call` whenever `descriptor` is readable. Gives what ends that."""

    def unwatch() -> None:
        loop.remove_reader(descriptor)

    try:
        loop.add_reader(descriptor, call)
        return unwatch
    except NotImplementedError:
        return _watch_in_thread(loop, descriptor, call)


def _watch_in_thread(
    loop: asyncio.AbstractEventLoop, descriptor: int, call: Callable[[], None]
) -> Callable[[], None]:
    """As `watch`, for loops that watch no descriptors: a thread does."""
    import select

    ended = threading.Event()

    def once(called: threading.Event) -> None:
        try:
            if not ended.is_set():
                call()
        finally:
            called.set()

    def look() -> None:
        while not ended.is_set():
            if select.select([descriptor], [], [], 0.1)[0]:
                called = threading.Event()
                try:
                    loop.call_soon_threadsafe(once, called)
                except RuntimeError:
                    return
                called.wait(1)

    threading.Thread(target=look, name="anp-watch", daemon=True).start()
    return ended.set
