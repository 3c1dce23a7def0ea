"""WSGI apps (PEP 3333) as ASGI apps: each request in a thread of a pool."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_to_bytes

from ._types import Receive, Scope, Send, WSGIApp

SPOOLED = 1 << 20
"""Bytes of a request's body that are held in memory; more go to a temporary file."""


class WSGI:
    """`WSGI(app)` is an ASGI app that calls the WSGI app `app`, in `threads` threads at most.

    The request's body is read whole before the app is called, since a thread that waits for a slow
    caller would be lost to others. The response streams, and a caller that reads slowly holds it back.
    """

    def __init__(self, app: WSGIApp, threads: int = 40) -> None:
        if not callable(app):
            raise TypeError(f"app: expected a WSGI app, got {app!r}")
        self._app = app
        self._threads = threads
        self._open()

    def _open(self) -> None:
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="anp-wsgi")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One scope. A lifespan is answered here, and a WebSocket refused."""
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close"})
        with tempfile.SpooledTemporaryFile(SPOOLED) as body:
            length = 0
            more = True
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    return None
                length += len(event["body"])
                body.write(event["body"])
                more = event["more_body"]
            body.seek(0)
            call = _Call(self._app, environ(scope, body, length), send)
            await asyncio.get_running_loop().run_in_executor(self._pool, call.run)
        return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._pool.shutdown(wait=False, cancel_futures=True)
        # For whoever serves the app again; threads come with requests.
        self._open()
        await send({"type": "lifespan.shutdown.complete"})


class _Call:
    """One call of a WSGI app, in a thread."""

    def __init__(self, app: WSGIApp, environment: dict[str, Any], send: Send) -> None:
        self._app = app
        self._environ = environment
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._start: dict[str, Any] | None = None
        self._begun = False

    def run(self) -> None:
        """Call the app and send what it gives."""
        parts: Iterable[bytes] = self._app(self._environ, self._start_response)
        try:
            single = isinstance(parts, (list, tuple)) and len(parts) == 1
            for part in parts:
                if part:
                    self._write(part, more=not single)
                    if single:
                        return
            self._write(b"", more=False)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None and self._begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._start is not None and exc_info is None:
            raise AssertionError("start_response was called twice")
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
        return lambda part: self._write(part, more=True)

    def _write(self, part: bytes, *, more: bool) -> None:
        if self._start is None:
            raise AssertionError("the app gave a body before it called start_response")
        start, self._begun = (None if self._begun else self._start), True
        asyncio.run_coroutine_threadsafe(self._put(start, part, more), self._loop).result()

    async def _put(self, start: dict[str, Any] | None, part: bytes, more: bool) -> None:
        if start is not None:
            await self._send(start)
        await self._send({"type": "http.response.body", "body": part, "more_body": more})


def environ(scope: Scope, body: Any, length: int) -> dict[str, Any]:
    """The environment of PEP 3333 for an HTTP scope whose body is `length` bytes in `body`.

    Its strings have a character a byte.
    """
    root = scope["root_path"].rstrip("/").encode()
    # Not `path`, in which bytes that are not UTF-8 are lost.
    path = unquote_to_bytes(scope["raw_path"]).removeprefix(root)
    host, port = scope["server"] or ("localhost", 80)
    environment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body if length else io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if length or any(name == b"content-length" for name, _ in scope["headers"]):
        environment["CONTENT_LENGTH"] = str(length)
    if scope["client"]:
        environment["REMOTE_ADDR"] = scope["client"][0]
        environment["REMOTE_PORT"] = str(scope["client"][1])
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in ("content-length", "transfer-encoding") or "_" in name:
            # The first two are told by the body itself; the last would pass for another.
            continue
        key = "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
        if key in environment:
            joint = "; " if key == "HTTP_COOKIE" else ","
            value = environment[key] + joint + value
        environment[key] = value
    return environment
