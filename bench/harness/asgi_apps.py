"""The apps of `bench/run --asgi`, the same for every server: `raw` is ASGI by hand, `fast` is FastAPI's."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

GREETING = b"hello, anpx!"
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(GREETING))],
}
_BODY = {"type": "http.response.body", "body": GREETING}


async def raw(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers every request with the greeting, and has no lifespan."""
    assert scope["type"] == "http"
    await send(_START)
    await send(_BODY)


fast = FastAPI(openapi_url=None)


@fast.get("/", response_class=PlainTextResponse)
async def greet() -> str:
    """The greeting."""
    return GREETING.decode()
