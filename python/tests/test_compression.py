"""Responses that the receiver compresses, through gateway and receiver, decoded by Python's zlib."""

import asyncio
import contextlib
import gzip
import zlib

import pytest

import binary
import http11
from binary import soon

pytestmark = pytest.mark.asyncio
TEXT = b"".join(b"line %d of many\n" % n for n in range(50_000))
ASKED = [("Accept-Encoding", "br;q=0.1, gzip")]


@contextlib.asynccontextmanager
async def tunnel(handler, *more):
    """The public address, with a tunnel ready whose receiver was started with `more`."""
    async with http11.App(handler) as app, binary.gateway() as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", app.url, *more) as receiver:
            await receiver.ready()
            yield public


async def page(head, _reader, writer):
    assert head.value("accept-encoding") == ASKED[0][1]
    body = TEXT if " /large " in head.line else TEXT[:3_000]
    fields = [("Content-Type", "text/plain"), ("ETag", '"v1"'), ("Vary", "Origin")]
    writer.write(http11.response(200, fields, body))


async def ask(public, target):
    async with http11.Caller(public) as caller:
        return await soon(caller.call("GET", target, ASKED))


@pytest.mark.parametrize("target", ["/small", "/large"])
async def test_bodies_come_back_whole(target):
    plain = TEXT if target == "/large" else TEXT[:3_000]
    async with tunnel(page, "--compress", "zstd,br,gzip") as public:
        head, body = await ask(public, target)
        assert head.values("content-encoding") == ["gzip"]
        assert head.values("etag") == ['W/"v1"']
        assert head.values("vary") == ["Origin, accept-encoding"]
        assert len(body) < len(plain) / 3
        assert gzip.decompress(body) == plain
    async with tunnel(page) as public:
        head, body = await ask(public, target)
        assert head.values("content-encoding") == []
        assert (head.values("etag"), head.values("vary")) == (['"v1"'], ["Origin"])
        assert body == plain


async def test_each_event_is_decoded_before_the_next_is_made():
    go = asyncio.Queue()

    async def tokens(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for n in range(5):
            await go.get()
            writer.write(http11.chunk(b"data: %d\n\n" % n))
            await writer.drain()
        writer.write(http11.chunk(b""))

    async with tunnel(tokens, "--compress", "gzip") as public, http11.Caller(public) as caller:
        await caller.send("GET", "/events", ASKED)
        head = await soon(caller.head())
        assert head.values("content-encoding") == ["gzip"]
        parts = http11.read_body(caller.reader, head)
        decoder = zlib.decompressobj(wbits=31)
        for n in range(5):
            go.put_nowait(None)
            event = b""
            while event != b"data: %d\n\n" % n:
                event += decoder.decompress(await soon(anext(parts)))
        async for part in parts:
            assert decoder.decompress(part) == b""
        assert decoder.eof


async def test_a_body_that_breaks_off_ends_neither_the_message_nor_its_coding():
    seen = asyncio.Event()

    async def half(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100000\r\n\r\nhalf")
        await writer.drain()
        await seen.wait()
        raise ConnectionError("the app dies")

    async with tunnel(half, "--compress", "gzip") as public, http11.Caller(public) as caller:
        await caller.send("GET", "/", ASKED)
        parts = http11.read_body(caller.reader, await soon(caller.head()))
        decoder = zlib.decompressobj(wbits=31)
        body = b""
        while body != b"half":
            body += decoder.decompress(await soon(anext(parts)))
        seen.set()
        with pytest.raises(http11.BrokenMessage):
            async for part in parts:
                decoder.decompress(part)
        assert not decoder.eof
