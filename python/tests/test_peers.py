"""The two Python peers against each other: what each quirk test against the binary rests on."""

import asyncio
import hashlib

import pytest

import http11
from peers import frames, gateway, receiver
from peers.gateway import Gateway
from peers.receiver import Receiver, Response

pytestmark = pytest.mark.asyncio
BIG = bytes(range(256)) * 1500


async def echo(request):
    """Answers what came in, with the headers that came in as x- fields."""
    return Response(200, [(b"content-type", b"text/plain"), (b"x-target", request.target.encode())], request.body)


async def pair(g, r):
    """The tunnel, once the gateway has it."""
    return await asyncio.wait_for(g.connected.get(), 10)


async def test_request_and_answer():
    async with Gateway() as g, Receiver(g.url, echo) as r:
        await pair(g, r)
        status, fields, body = await g.request("POST", "/a%20b?q=1", [(b"host", b"h")], b"hello")
        assert (status, body) == (200, b"hello")
        assert (b"x-target", b"/a%20b?q=1") in fields
        assert r.subprotocol == "anpx.v1"
        assert g.faults == r.faults == []


@pytest.mark.parametrize(
    "quirks",
    [
        receiver.Quirks(),
        receiver.Quirks(final_width=4),
        receiver.Quirks(mark_final=False),
        receiver.Quirks(meta="first"),
        receiver.Quirks(meta="every"),
        receiver.Quirks(one_frame=True),
        receiver.Quirks(one_at_a_time=True),
        receiver.Quirks(strict_tags=True),
        receiver.Quirks(offer=None),
        receiver.Quirks(chunk_size=1000),
    ],
    ids=lambda q: repr(q)[7:-1],
)
async def test_receiver_quirks(quirks):
    async with Gateway() as g, Receiver(g.url, echo, quirks) as r:
        await pair(g, r)
        answers = await asyncio.gather(*(g.request("POST", f"/{n}", body=BIG + bytes([n])) for n in range(5)))
        for n, (status, _, body) in enumerate(answers):
            assert status == 200
            assert hashlib.sha256(body).digest() == hashlib.sha256(BIG + bytes([n])).digest()
        assert set(g.faults) <= {"final_chunk is not one byte"}
        assert r.faults == []


@pytest.mark.parametrize(
    "quirks",
    [
        gateway.Quirks(answer_subprotocol=False),
        gateway.Quirks(path="/ws"),
        gateway.Quirks(strict_tags=True),
        gateway.Quirks(final_width=4),
        gateway.Quirks(spread_chunks=True),
        gateway.Quirks(chunk_size=1000),
    ],
    ids=lambda q: repr(q)[7:-1],
)
async def test_gateway_quirks(quirks):
    async with Gateway(quirks) as g, Receiver(g.url, echo) as r:
        await pair(g, r)
        _, _, body = await g.request("POST", "/", body=BIG)
        assert body == BIG
        assert r.subprotocol == ("anpx.v1" if quirks.answer_subprotocol else None)


async def test_http_port_serves_requests_beside_the_tunnel():
    async with Gateway(gateway.Quirks(path="/ws")) as g, Receiver(g.url, echo) as r:
        await pair(g, r)
        async with http11.Caller(f"127.0.0.1:{g.port}") as caller:
            head, _ = await caller.call("GET", "/x?a=1")
        assert head.status == 200
        assert head.value("x-target") == "/x?a=1"


async def test_chunks_spread_over_two_tunnels_break_a_request():
    async with Gateway(gateway.Quirks(spread_chunks=True)) as g, Receiver(g.url, echo) as a:
        await pair(g, a)
        async with Receiver(g.url, echo) as b:
            await pair(g, b)
            await g.start("POST", "/", body=BIG)
            assert "chunk 1" in (await asyncio.wait_for(b.broken.get(), 10))[1]


async def test_streamed_chunks_arrive_before_the_end():
    go = asyncio.Queue()

    async def tokens():
        for n in range(3):
            await go.get()
            yield b"token %d" % n

    async def handler(_request):
        return Response(200, [], tokens())

    async with Gateway() as g, Receiver(g.url, handler, receiver.Quirks(meta="first")) as r:
        await pair(g, r)
        exchange = await g.start("GET", "/")
        for n in range(3):
            go.put_nowait(None)
            frame = await asyncio.wait_for(exchange.frames.get(), 10)
            assert (frame.index, frame.body) == (n, b"token %d" % n)
            assert (frame.meta is not None) == (n == 0)
        assert (await exchange.response())[2] == b"token 0token 1token 2"


async def test_streamed_upload_has_no_total():
    async def parts():
        yield b"a"
        yield b"b"

    async with Gateway() as g, Receiver(g.url, echo) as r:
        await pair(g, r)
        exchange = await g.start("POST", "/", body=parts())
        assert (await exchange.response())[2] == b"ab"
        assert all(frame.total is None for frame in r.frames)


async def test_half_sent_request_is_cancelled_and_never_run():
    async def never(_request):
        raise AssertionError("ran a cancelled request")

    async with Gateway() as g, Receiver(g.url, never) as r:
        tunnel = await pair(g, r)
        exchange = await g.start("POST", "/", body=BIG, pause_after=2)
        assert tunnel.taken == 1
        await exchange.cancel()
        assert await asyncio.wait_for(r.gateway_errors.get(), 10) == (exchange.request_id, "the caller left")
        assert (await exchange.response())[0] == 500
        assert tunnel.taken == 0
        assert r.seen_ids == []


async def test_places_run_out_and_come_back():
    release = asyncio.Event()

    async def wait(_request):
        await release.wait()
        return Response()

    async with Gateway(gateway.Quirks(places=2)) as g, Receiver(g.url, wait) as r:
        await pair(g, r)
        open_ones = [await g.start("GET", "/") for _ in range(2)]
        with pytest.raises(gateway.NoPlace):
            await g.start("GET", "/")
        release.set()
        await asyncio.gather(*(e.response() for e in open_ones))
        assert (await g.request("GET", "/"))[0] == 200


async def test_pong_has_the_same_number_and_silence_is_closed():
    async with Gateway(gateway.Quirks(ping_required=0.3)) as g:
        async with Receiver(g.url, echo, receiver.Quirks(ping_interval=3600)) as r:
            tunnel = await pair(g, r)
            sent = await asyncio.wait_for(tunnel.pings.get(), 10)
            assert await asyncio.wait_for(r.pongs.get(), 10) == sent
            assert await asyncio.wait_for(r.closed, 10) == (1000, "no ping")


async def test_a_killed_receiver_breaks_its_exchanges():
    async def forever(_request):
        await asyncio.Event().wait()

    async with Gateway() as g, Receiver(g.url, forever) as r:
        await pair(g, r)
        exchange = await g.start("GET", "/")
        r.abort()
        with pytest.raises(gateway.Broken):
            await exchange.response()


async def test_faults_are_seen():
    async with Gateway() as g, Receiver(g.url, echo) as r:
        await pair(g, r)
        await r.send_frame(frames.Frame(frames.RESPONSE, "0d9f1c5e-7a43-4b52-9c1e-3f6a2b8d4e01", meta={"status": 200}))
        await g.request("GET", "/")
        assert g.faults == ["unasked answer to 0d9f1c5e-7a43-4b52-9c1e-3f6a2b8d4e01"]
