"""What a case is, and the shapes that most cases have."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from binary import soon
from http11 import BrokenMessage, Caller, Head, read_head

from .differences import ADDED_TO_REQUESTS, ADDED_TO_RESPONSES

CASES = {}
"""Every case, by its name."""


@dataclass
class Case:
    """An app, what a caller does with it, and what both are to see."""

    name: str
    make: Any
    """`make(seen)` gives the app and the caller: `await caller(place)` is what the caller saw."""
    expected: Any
    """`(what the app noted in `seen`, what the caller saw)`."""
    settings: dict = field(default_factory=dict)
    """Settings of the server, by the names that `servers` knows."""


def case(expected, **settings):
    """Decorates a `make` function with the name of the case."""

    def register(make):
        add(Case(make.__name__, make, expected, settings))
        return make

    return register


def add(one):
    """Adds a case to those that run."""
    assert one.name not in CASES, one.name
    CASES[one.name] = one


@dataclass
class Answer:
    """A response as it came over the wire."""

    status: int
    fields: list
    """Without what every server adds."""
    framing: str
    """length, chunked, close, or none where there can be no body."""
    body: bytes
    trailers: list
    whole: bool

    def brief(self, *names):
        """Status, body, and the values of `names`."""
        return (self.status, self.body, *([value for key, value in self.fields if key == name] for name in names))


async def read_answer(reader, method="GET", begun=None):
    """The next final response on a connection; what comes of one that breaks off is kept. `begun` is an
    event that is set once some of its body came."""
    while True:
        head = await soon(read_head(reader))
        if head is None:
            raise BrokenMessage("no answer")
        if head.status >= 200:
            break
    fields = [(name, value) for name, value in head.fields if name not in ADDED_TO_RESPONSES]
    answer = Answer(head.status, fields, _framing(head, method), b"", [], True)
    with contextlib.suppress(BrokenMessage, ConnectionError):
        answer.whole = False
        await soon(_read_body(reader, answer, head, begun or asyncio.Event()))
        answer.whole = True
    hidden = {"content-length", "transfer-encoding", "connection"} if answer.framing != "none" else {"connection"}
    answer.fields = [(name, value) for name, value in answer.fields if name not in hidden]
    return answer


def _framing(head: Head, method):
    if method == "HEAD" or head.status in (204, 304):
        return "none"
    if "chunked" in (head.value("transfer-encoding") or ""):
        return "chunked"
    return "close" if head.value("content-length") is None else "length"


async def _read_body(reader, answer, head, begun):
    if answer.framing == "length":
        left = int(head.value("content-length"))
        while left:
            part = await reader.read(left)
            if not part:
                raise BrokenMessage("cut short")
            answer.body += part
            begun.set()
            left -= len(part)
    elif answer.framing == "close":
        while part := await reader.read(1 << 16):
            answer.body += part
    elif answer.framing == "chunked":
        while line := await reader.readline():
            if size := int(line, 16):
                part = await reader.read(size)
                while part and len(part) < size:
                    more = await reader.read(size - len(part))
                    if not more:
                        break
                    part += more
                answer.body += part
                begun.set()
                if await reader.read(2) != b"\r\n":
                    raise BrokenMessage("cut short")
                continue
            while (line := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").strip().partition(":")
                answer.trailers.append((name.lower(), value.strip()))
            if line == b"":
                raise BrokenMessage("cut short")
            return
        raise BrokenMessage("cut short")


async def ask(place, request, method="GET", begun=None):
    """The answer to one request, given as bytes; framing `gone` where the connection ends instead."""
    async with Caller(place.address) as caller:
        caller.writer.write(request)
        try:
            return await read_answer(caller.reader, method, begun)
        except (BrokenMessage, ConnectionError):
            return Answer(0, [], "gone", b"", [], False)


def request(target=b"/", method=b"GET", *fields, body=b""):
    """The bytes of a request."""
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: app.example", *fields, b"", b""]
    return b"\r\n".join(lines) + body


async def start(send, status=200, headers=(), **more):
    """Begin a response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers), **more})


async def body(send, data=b"", more=False):
    """A piece of a response."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def answer(send, data=b"", status=200, headers=()):
    """A whole response with its length."""
    await start(send, status, [(b"content-length", b"%d" % len(data)), *headers])
    await body(send, data)


async def whole(receive):
    """The request's body; None where the caller left before its end."""
    parts = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        parts.append(event["body"])
        if not event["more_body"]:
            return b"".join(parts)


def sent_fields(scope):
    """The headers of a scope without those that a gateway adds."""
    return [(name, value) for name, value in scope["headers"] if name.decode() not in ADDED_TO_REQUESTS]


def attempt(error):
    """What an app is told by an exception: the one of its classes that the specification speaks of."""
    for kind in (OSError, RuntimeError, ValueError, TypeError):
        if isinstance(error, kind):
            return kind.__name__
    return type(error).__name__
