"""Cases: connections that become something else (RFC 9110, 7.8; over HTTP/2 RFC 8441)."""

import asyncio

import pytest

from .case import case
from .message import Broken

HALF = "asyncio cannot end one direction of TLS"

MIB = bytes(range(256)) * 4096


def asking(c):
    """What asks for an upgrade in a column: `echo-raw`, but `websocket` of an app in HTTP/2.

    A receiver carries nothing else to those; what bytes follow is nobody's but the ends'.
    """
    if c.app == 1:
        return {"upgrade": "echo-raw"}
    key = [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")] if c.caller == 1 else []
    return {"upgrade": "websocket", "fields": [("sec-websocket-version", "13"), *key]}


async def echo(exchange):
    """Accepts, and sends back what comes until the caller ends its half."""
    assert exchange.upgrade in ("echo-raw", "websocket")
    await exchange.switch([("x-accepted", "1"), ("x-accepted", "2")])
    while part := await exchange.read():
        await exchange.send(part)
    await exchange.end()


@case(half_close=True, because=HALF)
async def upgrade_accepted(c):
    """Upgrades: any configured protocol; bytes both ways, the end of each half on its own."""
    async with c.begin(echo, "GET", "/up?x=1", **asking(c)) as call:
        answer = await call.head()
        assert call.switched
        assert answer.values("x-accepted") == [b"1", b"2"]
        for n in range(20):
            part = bytes([n]) * (n * n + 1)
            await call.send(part)
            assert await call.exactly(len(part)) == part
        await call.end()
        assert await call.read() == b""
        seen = await call.part.exchange
        assert seen.target == "/up?x=1"


@case(half_close=True, because=HALF)
async def upgraded_bytes_are_bytes(c):
    """Upgrades: every byte, a mebibyte of them each way."""
    async with c.begin(echo, "GET", "/", **asking(c)) as call:
        await call.head()

        async def write():
            for at in range(0, len(MIB), 30_001):
                await call.send(MIB[at:at + 30_001])
            await call.end()

        writing = asyncio.ensure_future(write())
        assert await call.body() == MIB
        await writing


@case()
async def bytes_right_behind_the_switch(c):
    """Upgrades: what the app says first comes right behind its 101."""
    async def app(exchange):
        if c.app == 1:
            exchange.wire.writer.write(
                b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: echo-raw\r\n\r\nhello")
            exchange.incoming = type(exchange.incoming)(exchange.wire, "raw")
            exchange._close = True
        else:
            await exchange.switch()
            await exchange.send(b"hello")
        assert await exchange.read() == b"thanks"
        await exchange.end()

    async with c.begin(app, "GET", "/", **asking(c)) as call:
        await call.head()
        assert await call.exactly(5) == b"hello"
        await call.send(b"thanks")
        assert await call.read() == b""


@case(half_close=True, because=HALF)
async def caller_ends_first(c):
    """Upgrades: half close; the app speaks on after the caller's end."""
    async def app(exchange):
        await exchange.switch()
        got = await exchange.body()
        for _ in range(4):
            await exchange.send(got)
        await exchange.end()

    async with c.begin(app, "GET", "/", **asking(c)) as call:
        await call.head()
        await call.send(b"question")
        await call.end()
        assert await call.body() == b"question" * 4


@case(half_close=True, because=HALF)
async def app_ends_first(c):
    """Upgrades: half close; the caller speaks on after the app's end."""
    async def app(exchange):
        await exchange.switch()
        await exchange.send(b"bye")
        await exchange.end()
        return await exchange.body()

    async with c.begin(app, "GET", "/", **asking(c)) as call:
        await call.head()
        assert await call.body() == b"bye"
        await call.send(b"still ")
        await call.send(b"here")
        await call.end()
        assert await call.part.result == b"still here"


@case()
async def caller_aborts(c):
    """Upgrades: a caller that vanishes is gone from the app."""
    async def app(exchange):
        await exchange.switch()
        await exchange.send(b"x")
        with pytest.raises(Broken):
            while True:
                await exchange.send(b"x" * 65_536)

    async with c.begin(app, "GET", "/", **asking(c)) as call:
        await call.head()
        await call.read()
        call.cancel()


@case()
async def app_aborts(c):
    """Upgrades: an app that vanishes is gone from the caller."""
    async def app(exchange):
        await exchange.switch()
        await exchange.send(b"x")
        await exchange.exactly(1)
        if c.app == 1:
            # Closed with a reset, not with an end.
            exchange.wire.writer.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
        exchange.abort()

    async with c.begin(app, "GET", "/", **asking(c)) as call:
        await call.head()
        assert await call.exactly(1) == b"x"
        await call.send(b"y")
        with pytest.raises(Broken):
            while await call.read():
                pass
            raise AssertionError("a clean end")


@case(each=[403, 404, 426])
async def upgrade_refused(c, status):
    """Upgrades: refused by the app, it is an ordinary exchange."""
    async def app(exchange):
        await exchange.answer(status, [("x-why", "no")], b"refused")

    async with c.begin(app, "GET", "/", **asking(c)) as call:
        answer = await call.head()
        assert (answer.status, answer.value("x-why")) == (status, b"no")
        assert await call.body() == b"refused"


@case(caller=1, app=1, because="in HTTP/2, 200 accepts")
async def upgrade_ignored(c):
    """Upgrades: ignored by the app, it is an ordinary exchange."""
    async def app(exchange):
        await exchange.answer(200, [], b"plain")

    async with c.begin(app, "GET", "/", **asking(c)) as call:
        assert (await call.head()).status == 200
        assert await call.body() == b"plain"


@case(caller=1, app=1, because="only HTTP/1.1 can refuse an upgrade and stay what it is")
async def connection_goes_on_after_a_refusal(c):
    """Upgrades: refused, the next request is served on the same connection."""
    async def app(exchange):
        await exchange.answer(403, [], b"refused")

    async with c.connect() as connection:
        async with c.begin(app, "GET", "/", connection=connection, **asking(c)) as call:
            await call.head()
            assert await call.body() == b"refused"
        answer, _ = await c.call("POST", "/", body=b"next", connection=connection)
        assert answer.body == b"next"


@case(caller=1, tunnel=True, because="a plain origin has nobody who would configure it")
async def upgrade_nobody_configured(c):
    """Upgrades: tokens that are not configured are no upgrade, and neither is h2c."""
    for token, more in (("nobody-knows", []), ("h2c", [("HTTP2-Settings", "AAMAAABkAAQAAP__")])):
        async def app(exchange):
            seen.append((exchange.upgrade, exchange.value("upgrade"), exchange.value("http2-settings")))
            await exchange.answer(200, [], b"plain")

        seen = []
        async with c.begin(app, "GET", "/", more, upgrade=token) as call:
            assert (await call.head()).status == 200
            assert await call.body() == b"plain"
        assert seen == [(None, None, None)]
