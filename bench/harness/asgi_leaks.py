"""The app of the promise `python`: every way for a caller to leave in the middle, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`/` greets, `/stream` never ends, `/wait` waits for the caller's end, `/upload` reads; `/tasks` counts."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            pass
        return
    assert scope["type"] == "http"
    path = scope["path"]
    if path == "/stream":
        await _start(send)
        while True:
            await send({"type": "http.response.body", "body": bytes(1 << 12), "more_body": True})
            await asyncio.sleep(0)
    if path in ("/wait", "/upload"):
        while (event := await receive())["type"] == "http.request":
            if path == "/upload" and not event["more_body"]:
                break
    text = b"hello, anpx!"
    if path == "/tasks":
        gc.collect()
        text = b"%d %d" % (len(asyncio.all_tasks()), len(gc.get_objects()))
    await _start(send)
    await send({"type": "http.response.body", "body": text})


async def _start(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
