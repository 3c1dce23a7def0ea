"""Cases: what is seen while an exchange goes on: events, leaving, slow readers, neighbours."""

import asyncio

import pytest

from .case import case
from .message import OPEN, Broken

STEP = 64 << 10


@case()
async def events_one_by_one(c):
    """SSE: each event arrives before the next is made."""
    told = asyncio.Queue()

    async def app(exchange):
        await exchange.start(200, [("content-type", "text/event-stream"), ("cache-control", "no-cache")])
        for n in range(10):
            await exchange.send(b"data: %d\n\n" % n)
            assert await told.get() == n
        await exchange.end()

    async with c.begin(app, "GET", "/events", [("accept", "text/event-stream")]) as call:
        assert (await call.head()).value("content-type") == b"text/event-stream"
        for n in range(10):
            assert await call.exactly(9) == b"data: %d\n\n" % n
            told.put_nowait(n)
        assert await call.read() == b""


@case()
async def head_before_the_first_event(c):
    """SSE: the head arrives before there is an event."""
    ready = asyncio.Event()

    async def app(exchange):
        await exchange.start(200, [("content-type", "text/event-stream")])
        await ready.wait()
        await exchange.send(b"data\n\n")
        await exchange.end()

    async with c.begin(app) as call:
        await call.head()
        ready.set()
        assert await call.body() == b"data\n\n"


@case()
async def upload_part_by_part(c):
    """An upload reaches the app as it is made."""
    seen = asyncio.Queue()

    async def app(exchange):
        for n in range(10):
            seen.put_nowait(await exchange.exactly(4))
        assert await exchange.read() == b""
        await exchange.answer(200)

    async with c.begin(app, "POST", "/", body=OPEN) as call:
        for n in range(10):
            await call.send(b"%04d" % n)
            assert await seen.get() == b"%04d" % n
        await call.end()
        assert (await call.head()).status == 200


@case()
async def leaving_before_the_head(c):
    """Cancellation reaches the app: before it answered."""
    started = asyncio.Event()

    async def app(exchange):
        started.set()
        await exchange.gone()

    async with c.begin(app) as call:
        await started.wait()
        call.cancel()


@case()
async def leaving_amid_the_answer(c):
    """Cancellation reaches the app: amid its answer."""
    async def app(exchange):
        await exchange.start(200)
        await exchange.send(b"first")
        await exchange.gone()

    async with c.begin(app) as call:
        await call.head()
        assert await call.exactly(5) == b"first"
        call.cancel()


@case()
async def leaving_a_flood(c):
    """Cancellation reaches the app: while it writes as fast as it can."""
    async def app(exchange):
        await exchange.start(200)
        with pytest.raises(Broken):
            while True:
                await exchange.send(b"x" * STEP)

    async with c.begin(app) as call:
        await call.head()
        await call.read()
        call.cancel()


@case()
async def slow_reader(c):
    """A slow reader holds back the app that writes to it, and nobody else."""
    total, sent = 48 << 20, 0

    async def app(exchange):
        nonlocal sent
        await exchange.start(200)
        while sent < total:
            await exchange.send(b"x" * STEP)
            sent += STEP
        await exchange.end()

    async with c.begin(app) as call:
        await call.head()
        first = len(await call.read())
        for n in range(40):
            answer, _ = await c.call("POST", "/neighbour", body=b"%d" % n)
            assert answer.body == b"%d" % n
        assert sent < total
        assert first + len(await call.body()) == total


@case()
async def slow_app(c):
    """An app that does not read holds back the caller, and nobody else."""
    total, sent = 32 << 20, 0
    go = asyncio.Event()

    async def app(exchange):
        await go.wait()
        count = 0
        while part := await exchange.read():
            count += len(part)
        await exchange.answer(200, [], b"%d" % count)

    async with c.begin(app, "POST", "/", body=OPEN) as call:
        async def upload():
            nonlocal sent
            while sent < total:
                await call.send(b"x" * STEP)
                sent += STEP
            await call.end()

        sending = asyncio.ensure_future(upload())
        for _ in range(40):
            await c.call("GET", "/neighbour")
        assert sent < total
        go.set()
        await sending
        await call.head()
        assert await call.body() == b"%d" % total


@case()
async def many_at_once(c):
    """Many exchanges at once, on one connection where HTTP/2 allows it: none gets another's bytes."""
    async def one(n, connection):
        body = b"%03d" % n * 5000
        answer, seen = await c.call("POST", f"/{n}", [("x-n", str(n))], body, connection=connection)
        assert (answer.body, seen.target, seen.value("x-n")) == (body, f"/{n}", b"%d" % n)

    async with c.connect() as connection:
        await asyncio.gather(*(one(n, connection if c.caller == 2 else None) for n in range(40)))


@case(caller=2, because="HTTP/1.1 ends its connection with a message it gives up")
async def leaving_harms_no_sibling(c):
    """Cancellation of one stream leaves its siblings alone."""
    async def endless(exchange):
        await exchange.start(200)
        with pytest.raises(Broken):
            while True:
                await exchange.send(b"x" * STEP)

    async with c.connect() as connection:
        for n in range(5):
            async with c.begin(endless, connection=connection) as call:
                await call.head()
                await call.read()
                call.cancel()
            answer, _ = await c.call("POST", "/", body=b"%d" % n, connection=connection)
            assert answer.body == b"%d" % n
