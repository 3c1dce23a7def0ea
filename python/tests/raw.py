"""Bytes for tests: a caller that writes anything, and an app that keeps every byte it gets."""

import asyncio
import contextlib
import itertools
import json

from binary import soon

_numbers = itertools.count(1)


def number():
    """A name that no other test uses."""
    return f"n{next(_numbers)}"


class Recorder:
    """`async with Recorder()`: an app on raw sockets that reads strictly and keeps what came.

    `answer(target)` gives the bytes of the answer to a whole request; the default is 200 "ok".
    `connections` holds the bytes of each connection, `requests` `(head, body, trailers)` of each
    whole request; trailers are the bytes behind the last chunk, an empty line at least.
    """

    def __init__(self, answer=None):
        self.answer = answer or (lambda target: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.connections = []
        self.requests = []
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:%d" % self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heads(self, name):
        """Heads, whole or not, in which `name` stands; a body does not count."""
        return [conn for conn in self.connections if name.encode() in bytes(conn)]

    def whole(self, name):
        """Whole requests whose target has `name` in it."""
        return [request for request in self.requests if name.encode() in request[0].split(b"\r\n")[0]]

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        seen = bytearray()
        self.connections.append(seen)
        at = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                seen += data
                while (request := whole_request(bytes(seen[at:]))) is not None:
                    *parts, size = request
                    at += size
                    self.requests.append(parts)
                    head = parts[0]
                    answer = self.answer(head.split(b" ")[1])
                    writer.write(answer)
                    if b"connection: close" in answer.lower():
                        writer.close()
                        return
        writer.transport.abort()


def whole_request(data):
    """The first request in `data` as `(head, body, trailers, size)`; None while it is not whole."""
    head, mark, rest = data.partition(b"\r\n\r\n")
    if not mark:
        return None
    fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    values = {name.strip().lower(): value.strip() for name, _, value in fields}
    if b"transfer-encoding" in values:
        body, at = b"", 0
        while True:
            line, mark, _ = rest[at:].partition(b"\r\n")
            if not mark:
                return None
            size = int(line.split(b";")[0], 16)
            at += len(line) + 2
            if not size:
                break
            body += rest[at:at + size]
            at += size + 2
        end = rest.find(b"\r\n\r\n", at - 2) + 4
        return None if end < 4 else (head, body, rest[at:end], len(head) + 4 + end)
    size = int(values.get(b"content-length", 0))
    return None if len(rest) < size else (head, rest[:size], b"", len(head) + 4 + size)


def values(head, name):
    """The values of a field in a head of bytes."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip() for key, _, value in lines if key.lower() == name]


async def connect(address):
    """A connection as `(reader, writer)`."""
    host, port = address.rsplit(":", 1)
    return await asyncio.open_connection(host, int(port))


async def read_to_end(reader):
    """What comes until the other side closes, however it does."""
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(1 << 16):
            got += part
    return bytes(got)


async def talk(address, *parts):
    """Writes bytes on a connection of its own; what was answered when the other side closed it."""
    reader, writer = await connect(address)
    reading = asyncio.ensure_future(read_to_end(reader))
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
    try:
        return await soon(reading)
    finally:
        writer.transport.abort()


def answers(data, methods=()):
    """The answers in `data` as `(status, head, body)`; what is left over fails the test."""
    found = []
    methods = list(methods)
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        assert mark and head.startswith(b"HTTP/1.1 "), f"{head!r} is no answer"
        status = int(head.split(b" ")[1])
        body = b""
        if status >= 200 and (not methods or methods.pop(0) != "HEAD"):
            lengths = values(head, b"content-length")
            assert len(lengths) <= 1, head
            if lengths:
                size = int(lengths[0])
                body, data = data[:size], data[size:]
            elif values(head, b"transfer-encoding"):
                while True:
                    line, _, data = data.partition(b"\r\n")
                    if not (size := int(line, 16)):
                        break
                    body, data = body + data[:size], data[size + 2:]
                # Trailers, if there are any, and the empty line.
                while data.partition(b"\r\n")[0]:
                    data = data.partition(b"\r\n")[2]
                data = data[2:]
        found.append((status, head, body))
    return found


def is_problem(status, head, body, closes=True):
    """Checks that an answer is one of the gateway's own, and that it says so if it ends the connection."""
    assert values(head, b"content-type") == [b"application/problem+json"], head
    if closes:
        assert values(head, b"connection") == [b"close"], head
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["request_id"]
