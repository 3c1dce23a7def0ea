"""HTTP/1.1 for tests, both sides, over asyncio streams: nothing is repaired or hidden.

A caller that sees a broken message as broken, and an app whose handler writes what it likes.
"""

import asyncio
from dataclasses import dataclass


class BrokenMessage(Exception):
    """The connection ended before the message did."""


@dataclass
class Head:
    """A request or status line and the header fields, in order, names in lower case."""

    line: str
    fields: list

    def values(self, name):
        """The values of a header field, in order."""
        return [value for key, value in self.fields if key == name]

    def value(self, name):
        """The first value of a header field, or None."""
        return next(iter(self.values(name)), None)

    @property
    def status(self):
        """The status of a response."""
        return int(self.line.split(" ")[1])


async def read_head(reader):
    """The next head, or None at a clean end."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BrokenMessage("end inside a head") from None
        return None
    line, *rest = raw[:-4].decode("latin-1").split("\r\n")
    fields = []
    for item in rest:
        name, _, value = item.partition(":")
        fields.append((name.lower(), value.strip()))
    return Head(line, fields)


async def read_body(reader, head, request=False, method="GET"):
    """The body of a message, part by part as it comes; `BrokenMessage` if it is cut short."""
    if not request and (method == "HEAD" or head.status in (204, 304) or head.status < 200):
        return
    try:
        if "chunked" in (head.value("transfer-encoding") or ""):
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield await reader.readexactly(size)
                await reader.readexactly(2)
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
        elif head.value("content-length") is not None:
            left = int(head.value("content-length"))
            while left:
                part = await reader.read(min(left, 1 << 16))
                if not part:
                    raise BrokenMessage(f"{left} bytes are missing")
                left -= len(part)
                yield part
        elif not request:
            while part := await reader.read(1 << 16):
                yield part
    except asyncio.IncompleteReadError:
        raise BrokenMessage("end inside a chunked body") from None


class Caller:
    """One connection of an HTTP caller: `async with Caller(address)`."""

    def __init__(self, address):
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=1 << 20)
        return self

    async def __aexit__(self, *_):
        self.leave()

    def leave(self):
        """Go away, mid-message or not."""
        self.writer.transport.abort()

    async def send(self, method, target, fields=(), body=None):
        """Write a request; a `body` of bytes gets content-length, None no body at all."""
        fields = list(fields)
        if not any(name.lower() == "host" for name, _ in fields):
            fields.insert(0, ("Host", f"{self.host}:{self.port}"))
        if body is not None:
            fields.append(("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields) + "\r\n"
        self.writer.write(head.encode("latin-1"))
        if body:
            self.writer.write(body)
        await self.writer.drain()

    async def send_chunk(self, part):
        """Write a chunk of a chunked body; an empty one ends it."""
        self.writer.write(b"%x\r\n" % len(part) + part + b"\r\n")
        await self.writer.drain()

    async def head(self):
        """The final response head."""
        while True:
            head = await read_head(self.reader)
            if head is None:
                raise BrokenMessage("no response")
            if head.status >= 200:
                return head

    async def call(self, method, target, fields=(), body=None):
        """A whole exchange: (head, body)."""
        sending = asyncio.ensure_future(self.send(method, target, fields, body))
        head = await self.head()
        parts = [part async for part in read_body(self.reader, head, method=method)]
        await sending
        return head, b"".join(parts)


class App:
    """A local HTTP app: `async with App(handler)`; `handler(head, reader, writer)` does it all.

    `requests` is a queue of the heads as they come, `gone` one of the heads whose connection
    ended while the handler ran.
    """

    def __init__(self, handler):
        self.handler = handler
        self.requests = asyncio.Queue()
        self.gone = asyncio.Queue()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        head = None
        try:
            while head := await read_head(reader):
                self.requests.put_nowait(head)
                await self.handler(head, reader, writer)
                await writer.drain()
        except (ConnectionError, BrokenMessage) as error:
            self.gone.put_nowait((head, error))
        finally:
            writer.close()


def response(status, fields=(), body=b""):
    """The bytes of a response with content-length."""
    lines = "".join(f"{k}: {v}\r\n" for k, v in fields)
    return f"HTTP/1.1 {status} X\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def chunk(part):
    """The bytes of a chunk; an empty one ends a body."""
    return b"%x\r\n" % len(part) + part + b"\r\n"
