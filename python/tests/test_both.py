"""Our gateway and our receiver, on version 2, with a local app."""

import asyncio
import contextlib
import hashlib

import pytest

import binary
import http11
from binary import soon

pytestmark = pytest.mark.asyncio
BIG = bytes(range(256)) * 40_000


@contextlib.asynccontextmanager
async def tunnel(handler):
    """(gateway, public address, receiver, app), with a tunnel ready."""
    async with http11.App(handler) as app, binary.gateway() as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", app.url) as receiver:
            await receiver.ready()
            yield gateway, public, receiver, app


async def echo(head, reader, writer):
    body = b"".join([part async for part in http11.read_body(reader, head, request=True)])
    writer.write(http11.response(200, [("x-line", head.line), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], body))


async def call(public, *args, **more):
    async with http11.Caller(public) as caller:
        return await soon(caller.call(*args, **more))


async def test_the_app_sees_what_the_caller_sent():
    async with tunnel(echo) as (_, public, _, app):
        target = "/a%2Fb//c%zz?x=1&x=2&y"
        fields = [("X-A", "1"), ("Cookie", "a=1"), ("X-A", "2"), ("X-Bytes", "caf\u00e9")]
        head, body = await call(public, "POST", target, fields, body=b"hello")
        assert head.value("x-line") == f"POST {target} HTTP/1.1"
        assert head.values("set-cookie") == ["a=1", "b=2"]
        assert body == b"hello"
        seen = app.requests.get_nowait()
        assert seen.fields[0] == ("host", public)
        assert (seen.values("x-a"), seen.values("x-bytes")) == (["1", "2"], ["caf\u00e9"])


async def test_big_bodies_both_ways():
    async with tunnel(echo) as (_, public, _, _):
        bodies = [BIG + bytes([n]) for n in range(3)]
        answers = await asyncio.gather(*(call(public, "POST", "/", body=body) for body in bodies))
        for (_, body), sent in zip(answers, bodies, strict=True):
            assert hashlib.sha256(body).digest() == hashlib.sha256(sent).digest()


async def test_each_token_arrives_before_the_next_is_made():
    go = asyncio.Queue()

    async def tokens(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for n in range(5):
            await go.get()
            writer.write(http11.chunk(b"data: %d\n\n" % n))
            await writer.drain()
        writer.write(http11.chunk(b""))

    async with tunnel(tokens) as (_, public, _, _), http11.Caller(public) as caller:
        await caller.send("GET", "/events")
        parts = http11.read_body(caller.reader, await soon(caller.head()))
        for n in range(5):
            go.put_nowait(None)
            assert await soon(anext(parts)) == b"data: %d\n\n" % n


async def test_a_caller_that_leaves_is_gone_from_the_app():
    left = asyncio.Event()

    async def slow(_head, reader, _writer):
        await reader.read()
        left.set()

    async with tunnel(slow) as (_, public, _, app):
        async with http11.Caller(public) as caller:
            await caller.send("GET", "/")
            await soon(app.requests.get())
        await soon(left.wait())


async def test_a_killed_receiver_breaks_the_message():
    async def half(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
        await writer.drain()
        await asyncio.Event().wait()

    async with tunnel(half) as (_, public, receiver, _), http11.Caller(public) as caller:
        await caller.send("GET", "/")
        parts = http11.read_body(caller.reader, await soon(caller.head()))
        assert await soon(anext(parts)) == b"first"
        receiver.kill()
        with pytest.raises((http11.BrokenMessage, ConnectionError)):
            await soon(anext(parts))


async def test_a_receiver_comes_back_after_a_restart_of_the_gateway():
    async with tunnel(echo) as (gateway, _, receiver, _):
        inner = await gateway.address("tunnel")
        gateway.kill()
        await gateway.exit()
        ready = sum(line.get("message") == "tunnel ready" for line in receiver.lines)
        async with binary.Proxy("gateway", "--listen", "127.0.0.1:0", "--tunnel-listen", inner) as second:
            public = await second.address("public")
            await receiver.ready(ready + 1)
            assert (await call(public, "POST", "/", body=b"again"))[1] == b"again"
