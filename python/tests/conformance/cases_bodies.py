"""Cases: bodies and their ends, both ways."""

import asyncio
import hashlib
import gzip

import pytest

from .case import case
from .column import echo
from .message import OPEN, Broken

PART = bytes(range(256)) * 64
"""16 KiB."""
BIG = PART * 64
"""1 MiB."""
SUM = hashlib.sha256(BIG).hexdigest()


async def digest(exchange):
    """Answers with length and checksum of the body."""
    body = await exchange.body()
    await exchange.answer(200, [("x-sum", hashlib.sha256(body).hexdigest()), ("x-length", str(len(body)))])


async def no_body(exchange):
    """Answers how the body was framed."""
    framing = [name for name in ("content-length", "transfer-encoding") if exchange.value(name)]
    await exchange.answer(200, [("x-framing", " ".join(framing)), ("x-body", await exchange.body())])


@case()
async def zero_length(c):
    """Zero-length bodies: `content-length: 0` arrives."""
    answer, seen = await c.call("POST", "/", body=b"")
    assert (answer.body, seen.got, seen.value("content-length")) == (b"", b"", b"0")


@case()
async def zero_length_without_a_length(c):
    """Zero-length bodies, of a caller that did not know so at first."""
    async with c.begin(echo, "POST", "/", body=OPEN) as call:
        await call.end()
        assert (await call.head()).status == 200
        assert await call.body() == b""


@case(each=["GET", "POST", "DELETE"])
async def no_body_is_none(c, method):
    """A request without a body has no framing fields at the app either."""
    async with c.begin(no_body, method, "/") as call:
        answer = await call.head()
        assert (answer.value("x-framing"), answer.value("x-body")) == (b"", b"")


@case()
async def length_is_kept(c):
    """A body with a length arrives with it."""
    answer, seen = await c.call("POST", "/", body=b"hello world")
    assert (seen.got, seen.value("content-length"), answer.value("content-length")) == (b"hello world", b"11", b"11")


@case()
async def chunked_has_no_length(c):
    """A body without a length arrives without one."""
    async with c.begin(no_body, "POST", "/", body=OPEN) as call:
        for part in (b"one", b"", b"two"):
            if part:
                await call.send(part)
        await call.end()
        answer = await call.head()
        assert b"content-length" not in answer.value("x-framing")
        assert answer.value("x-body") == b"onetwo"


@case()
async def upload_with_a_length(c):
    """A mebibyte up, with a length."""
    answer, _ = await c.call("PUT", "/", body=BIG, app=digest)
    assert (answer.value("x-sum"), answer.value("x-length")) == (SUM.encode(), b"%d" % len(BIG))


@case()
async def upload_without_a_length(c):
    """A mebibyte up, without a length, in parts of odd sizes."""
    async with c.begin(digest, "PUT", "/", body=OPEN) as call:
        at, size = 0, 1
        while at < len(BIG):
            await call.send(BIG[at:at + size])
            at, size = at + size, size * 3 % 70_001 + 1
        await call.end()
        assert (await call.head()).value("x-sum") == SUM.encode()


@case()
async def download_with_a_length(c):
    """A mebibyte down, with a length."""
    async def app(exchange):
        await exchange.answer(200, [("content-type", "application/x-any")], BIG)

    answer, _ = await c.call("GET", "/", app=app)
    assert hashlib.sha256(answer.body).hexdigest() == SUM
    assert answer.value("content-length") == b"%d" % len(BIG)


@case()
async def download_without_a_length(c):
    """A mebibyte down, without a length."""
    async def app(exchange):
        await exchange.start(200)
        for at in range(0, len(BIG), 50_001):
            await exchange.send(BIG[at:at + 50_001])
        await exchange.end()

    answer, _ = await c.call("GET", "/", app=app)
    assert hashlib.sha256(answer.body).hexdigest() == SUM
    assert answer.value("content-length") is None


@case(app=1, because="HTTP/2 always says where a message ends")
async def response_to_the_end_of_the_connection(c):
    """Responses without length: up to the end of the app's connection."""
    async def app(exchange):
        await exchange.start(200, [("x-a", "1")], close=True)
        await exchange.send(BIG)
        await exchange.end()

    answer, _ = await c.call("GET", "/", app=app)
    assert (answer.value("x-a"), answer.body) == (b"1", BIG)


@case()
async def empty_response_without_a_length(c):
    """Responses without length that turn out to be empty."""
    async def app(exchange):
        await exchange.start(200)
        await exchange.end()

    answer, _ = await c.call("GET", "/", app=app)
    assert (answer.status, answer.body) == (200, b"")


@case()
async def big_both_ways_at_once(c):
    """Bodies both ways at once: each part is echoed before the next is sent."""
    async def app(exchange):
        await exchange.start(200)
        while part := await exchange.read():
            await exchange.send(part)
        await exchange.end()

    async with c.begin(app, "POST", "/", body=OPEN) as call:
        await call.send(b"0")
        await call.head()
        assert await call.exactly(1) == b"0"
        for n in range(1, 20):
            part = b"%d" % n * 3000
            await call.send(part)
            assert await call.exactly(len(part)) == part
        await call.end()
        assert await call.read() == b""


@case()
async def request_trailers(c):
    """Trailers both ways: of requests."""
    async def app(exchange):
        body = await exchange.body()
        got = [value for name, value in exchange.trailers if name == "x-sum"]
        await exchange.answer(200, [("x-trailers", b"|".join(got))], body)

    async with c.begin(app, "POST", "/", [("trailer", "x-sum")], body=OPEN) as call:
        await call.send(b"body")
        await call.end([("x-sum", "one"), ("x-other", "1"), ("x-sum", b"tw\xf6")])
        assert (await call.head()).value("x-trailers") == b"one|tw\xf6"
        assert await call.body() == b"body"


@case()
async def request_trailers_without_a_body(c):
    """Trailers both ways: of a request whose body is empty."""
    async def app(exchange):
        assert await exchange.body() == b""
        await exchange.answer(200, exchange.trailers)

    async with c.begin(app, "POST", "/", body=OPEN) as call:
        await call.end([("x-sum", "one")])
        assert (await call.head()).value("x-sum") == b"one"


def asks_for_trailers(c):
    """Fields of a caller that reads trailers."""
    return [("te", "trailers")] + ([("connection", "te")] if c.caller == 1 else [])


@case()
async def response_trailers(c):
    """Trailers both ways: of responses."""
    async def app(exchange):
        await exchange.start(200, [("trailer", "x-sum")])
        await exchange.send(b"body")
        await exchange.end([("x-sum", "one"), ("grpc-status", "0"), ("x-sum", b"tw\xf6")])

    answer, _ = await c.call("GET", "/", asks_for_trailers(c), app=app)
    assert answer.body == b"body"
    assert [value for name, value in answer.trailers if name == "x-sum"] == [b"one", b"tw\xf6"]
    assert ("grpc-status", b"0") in answer.trailers


@case()
async def response_trailers_without_a_body(c):
    """Trailers both ways: of a response whose body is empty."""
    async def app(exchange):
        await exchange.start(200)
        await exchange.end([("grpc-status", "5"), ("grpc-message", "not found")])

    answer, _ = await c.call("POST", "/", asks_for_trailers(c), b"x", app=app)
    assert (answer.body, answer.trailers) == (b"", [("grpc-status", b"5"), ("grpc-message", b"not found")])


@case()
async def trailers_of_both(c):
    """Trailers both ways, in one exchange."""
    async def app(exchange):
        body = await exchange.body()
        await exchange.start(200)
        await exchange.send(body)
        await exchange.end(exchange.trailers)

    async with c.begin(app, "POST", "/", asks_for_trailers(c), OPEN) as call:
        await call.send(b"body")
        await call.end([("x-back", "1")])
        await call.head()
        assert (await call.body(), call.trailers) == (b"body", [("x-back", b"1")])


@case()
async def encoded_bodies_are_left_alone(c):
    """Content-encoding is untouched, and no coding is asked for that the caller did not ask for."""
    packed = gzip.compress(b"text " * 100)

    async def app(exchange):
        await exchange.answer(200, [("content-encoding", "gzip"), ("content-type", "text/plain")], packed)

    answer, seen = await c.call("GET", "/", app=app)
    assert (answer.body, answer.value("content-encoding")) == (packed, b"gzip")
    assert seen.value("accept-encoding") is None


@case(each=["length", "chunked"])
async def app_breaks_off(c, framing):
    """A message that breaks behind the gateway reaches the caller broken."""
    async def app(exchange):
        await exchange.start(200, [("content-length", "100")] if framing == "length" else [])
        await exchange.send(b"first")
        await asked.wait()
        exchange.abort()

    asked = asyncio.Event()
    async with c.begin(app, "GET", "/") as call:
        await call.head()
        assert await call.exactly(5) == b"first"
        asked.set()
        with pytest.raises(Broken):
            await call.body()


@case(each=["length", "chunked"])
async def caller_breaks_off(c, framing):
    """A request that breaks off reaches the app broken, never short and complete."""
    async def app(exchange):
        assert await exchange.exactly(5) == b"first"
        arrived.set()
        with pytest.raises(Broken):
            await exchange.body()

    arrived = asyncio.Event()
    fields = [("content-length", "100")] if framing == "length" else []
    async with c.begin(app, "POST", "/", fields, OPEN) as call:
        await call.send(b"first")
        await arrived.wait()
        call.cancel()
