"""Our gateway with an independent version-1 receiver behind it (protocol.md, section 2)."""

import asyncio
import contextlib
import hashlib
import json

import pytest
from websockets.exceptions import InvalidStatus

import binary
import http11
from binary import soon
from peers import frames, receiver
from peers.receiver import Receiver, Response

pytestmark = pytest.mark.asyncio
BIG = bytes(range(256)) * 6000


async def echo(request):
    """Answers with the body that came and the target it came to."""
    return Response(200, [(b"content-type", b"text/plain"), (b"x-target", request.target.encode())], request.body)


@contextlib.asynccontextmanager
async def served(handler=echo, quirks=None):
    """Our gateway and a Python receiver with `handler`: (proxy, public address, receiver)."""
    async with binary.gateway() as proxy:
        public, tunnel = await proxy.address("public"), await proxy.address("tunnel")
        async with Receiver(f"ws://{tunnel}", handler, quirks) as peer:
            await soon(peer.pongs.get())
            yield proxy, public, peer


async def call(public, method="GET", target="/", fields=(), body=None):
    """One exchange on a connection of its own."""
    async with http11.Caller(public) as caller:
        return await soon(caller.call(method, target, fields, body))


async def test_request_and_answer():
    async with served() as (_, public, peer):
        head, body = await call(public, "POST", "/a%20b/%E2%98%95?q=1%202&z=", [("X-One", "1")], b"hello")
        assert (head.status, body) == (200, b"hello")
        assert head.value("x-target") == "/a%20b/%E2%98%95?q=1%202&z="
        assert head.value("content-type") == "text/plain"
        meta = peer.frames[0].meta
        assert (meta["method"], meta["path"]) == ("POST", "/a b/☕")
        assert dict(meta["query"]) == {"q": "1 2", "z": ""}
        headers = {name.lower(): value for name, value in meta["headers"]}
        assert headers["x-one"] == "1"
        assert headers["host"] == public
        assert not set(headers) & {"transfer-encoding", "connection"}
        assert headers.get("content-length", "5") == "5"
        assert peer.faults == []


@pytest.mark.parametrize(
    "quirks",
    [
        receiver.Quirks(),
        receiver.Quirks(final_width=4),
        receiver.Quirks(final_width=4, mark_final=False),
        receiver.Quirks(meta="first"),
        receiver.Quirks(meta="every"),
        receiver.Quirks(one_frame=True),
        receiver.Quirks(one_at_a_time=True),
        receiver.Quirks(strict_tags=True),
        receiver.Quirks(offer=None),
        receiver.Quirks(chunk_size=5000),
    ],
    ids=lambda q: repr(q)[7:-1],
)
async def test_big_bodies_both_ways_under_every_quirk(quirks):
    async with served(echo, quirks) as (_, public, peer):
        bodies = [BIG + bytes([n]) for n in range(4)]
        answers = await asyncio.gather(*(call(public, "POST", f"/{n}", body=body) for n, body in enumerate(bodies)))
        for (head, body), sent in zip(answers, bodies, strict=True):
            assert head.status == 200
            assert hashlib.sha256(body).digest() == hashlib.sha256(sent).digest()
        assert peer.faults == []


@pytest.mark.parametrize("meta", ["first", "every"])
async def test_each_token_arrives_before_the_next_is_made(meta):
    go = asyncio.Queue()

    async def tokens():
        for n in range(5):
            await go.get()
            yield b"data: %d\n\n" % n

    async def handler(_request):
        return Response(200, [(b"content-type", b"text/event-stream")], tokens())

    async with served(handler, receiver.Quirks(meta=meta)) as (_, public, _peer), http11.Caller(public) as caller:
        await caller.send("GET", "/events")
        go.put_nowait(None)
        head = await soon(caller.head())
        assert head.value("content-type") == "text/event-stream"
        parts = http11.read_body(caller.reader, head)
        for n in range(5):
            assert await soon(anext(parts)) == b"data: %d\n\n" % n
            go.put_nowait(None)
        with pytest.raises(StopAsyncIteration):
            await soon(anext(parts))


async def test_resp_meta_last_still_answers():
    async def parts():
        yield b"one "
        yield b"two"

    async def handler(_request):
        return Response(201, [(b"x-late", b"yes")], parts())

    async with served(handler, receiver.Quirks(meta="last")) as (_, public, _peer):
        head, body = await call(public)
        assert (head.status, head.value("x-late"), body) == (201, "yes", b"one two")


async def test_chunked_upload_is_streamed_without_total():
    async with served() as (_, public, peer), http11.Caller(public) as caller:
        await caller.send("POST", "/", [("Transfer-Encoding", "chunked")])
        for part in (b"a" * 70_000, b"b", b"c" * 100_000, b""):
            await caller.send_chunk(part)
        head = await soon(caller.head())
        body = b"".join([part async for part in http11.read_body(caller.reader, head)])
        assert body == b"a" * 70_000 + b"b" + b"c" * 100_000
        chunks = [frame for frame in peer.frames if frame.kind == frames.REQUEST]
        assert [frame.index for frame in chunks] == list(range(len(chunks)))
        assert all(frame.chunked and frame.total is None for frame in chunks)
        assert peer.faults == []


async def test_body_of_a_get_is_carried():
    async with served() as (_, public, _peer):
        assert (await call(public, "GET", "/", body=b'{"q":1}'))[1] == b'{"q":1}'


async def test_every_cookie_arrives():
    async def handler(_request):
        return Response(200, [(b"set-cookie", b"c%d=%d" % (n, n)) for n in range(20)])

    async with served(handler) as (_, public, _peer):
        head, _ = await call(public)
        assert head.values("set-cookie") == [f"c{n}={n}" for n in range(20)]


async def test_framing_headers_of_the_receiver_mean_nothing():
    wrong = {"Content-Length": "3", "transfer-encoding": "chunked", "connection": "close, x-hop", "x-hop": "1", "x-ok": "1"}

    async with served() as (_, public, peer):
        peer._answer = lambda whole: peer.send_frame(
            frames.Frame(
                frames.RESPONSE, whole.request_id, meta={"status": 200, "headers": list(wrong.items())}, body=b"hello"
            )
        )
        async with http11.Caller(public) as caller:
            for _ in range(2):
                head, body = await soon(caller.call("GET", "/"))
                assert body == b"hello"
                assert head.values("content-length") in (["5"], [])
                assert (head.value("x-hop"), head.value("x-ok")) == (None, "1")


async def test_head_and_304_keep_their_length():
    async def handler(request):
        return Response(304 if request.target == "/304" else 200, [(b"content-length", b"1234"), (b"etag", b'"1"')])

    async with served(handler) as (_, public, _peer), http11.Caller(public) as caller:
        head, _ = await soon(caller.call("HEAD", "/"))
        assert (head.status, head.value("content-length")) == (200, "1234")
        head, _ = await soon(caller.call("GET", "/304"))
        assert (head.status, head.value("content-length")) == (304, "1234")


async def test_header_bytes_are_utf8_at_a_gateway():
    async with served() as (_, public, peer):
        await call(public, "GET", "/", [("x-utf8", "caf\u00c3\u00a9"), ("x-latin1", "caf\u00e9")])
        headers = dict(peer.frames[0].meta["headers"])
        assert (headers["x-utf8"], headers["x-latin1"]) == ("café", "café")


async def test_repeated_request_headers_are_joined():
    async with served() as (_, public, peer):
        await call(public, "GET", "/?a=1&a=2", [("accept", "a/b"), ("cookie", "a=1"), ("accept", "c/d"), ("cookie", "b=2")])
        headers = dict(peer.frames[0].meta["headers"])
        assert (headers["accept"], headers["cookie"]) == ("a/b, c/d", "a=1; b=2")
        assert peer.frames[0].meta["query"] == [("a", "2")]


async def test_gateway_answers_expect_itself():
    async with served() as (_, public, _peer), http11.Caller(public) as caller:
        await caller.send("POST", "/", [("Expect", "100-continue"), ("Content-Length", "2")])
        assert (await soon(http11.read_head(caller.reader))).status == 100
        caller.writer.write(b"ok")
        head = await soon(caller.head())
        assert b"".join([p async for p in http11.read_body(caller.reader, head)]) == b"ok"


async def test_caller_that_leaves_cancels():
    started, never = asyncio.Event(), asyncio.Event()

    async def handler(request):
        if request.target == "/next":
            return Response(200, [], b"fine")
        started.set()
        await never.wait()

    async with served(handler) as (_, public, peer):
        async with http11.Caller(public) as caller:
            await caller.send("GET", "/slow")
            await soon(started.wait())
        request_id, _ = await soon(peer.gateway_errors.get())
        assert request_id == peer.seen_ids[0]
        assert (await call(public, "GET", "/next"))[1] == b"fine"


async def test_half_sent_upload_is_cancelled_and_never_run():
    async with served() as (_, public, peer):
        async with http11.Caller(public) as caller:
            await caller.send("POST", "/", [("Content-Length", "1000000")])
            caller.writer.write(b"x" * 200_000)
            await caller.writer.drain()
            await soon(peer.arrived.wait())
        request_id, why = await soon(peer.broken.get())
        assert (await soon(peer.gateway_errors.get()))[0] == request_id
        assert "is next" in why
        last = [frame for frame in peer.frames if frame.kind == frames.REQUEST][-1]
        assert last.final
        assert peer.seen_ids == []
        assert (await call(public, "POST", "/", body=b"next"))[1] == b"next"


async def test_receiver_killed_before_its_answer_is_502():
    async def handler(_request):
        peer.abort()
        await asyncio.Event().wait()

    async with served(handler) as (_, public, peer):
        head, _ = await call(public, "POST", "/", body=b"x")
        assert head.status == 502
        assert head.value("content-type") == "application/problem+json"


async def test_receiver_killed_in_its_answer_breaks_the_message():
    go = asyncio.Event()

    async def parts():
        yield b"first"
        await go.wait()
        peer.abort()
        await asyncio.Event().wait()

    async def handler(_request):
        return Response(200, [], parts())

    async with served(handler, receiver.Quirks(meta="first")) as (_, public, peer), http11.Caller(public) as caller:
        await caller.send("GET", "/")
        body = http11.read_body(caller.reader, await soon(caller.head()))
        assert await soon(anext(body)) == b"first"
        go.set()
        with pytest.raises((http11.BrokenMessage, ConnectionError)):
            await soon(anext(body))


def answer_with(peer, *made):
    """Make the receiver answer each request with these frames (request_id filled in)."""

    async def answer(whole):
        for frame in made:
            frame.request_id = whole.request_id
            await peer.send_frame(frame)

    peer._answer = answer


GOOD = {"status": 200, "headers": []}


@pytest.mark.parametrize(
    "made",
    [
        [frames.Frame(frames.ERROR, body=b"secret internals")],
        [frames.Frame(frames.RESPONSE, meta={"status": 99999, "headers": []})],
        [frames.Frame(frames.RESPONSE, meta={"status": 99, "headers": []})],
        [frames.Frame(frames.RESPONSE, meta={"status": 101, "headers": []})],
        [frames.Frame(frames.RESPONSE, meta={"status": 200, "headers": [("x", "a\r\nset-cookie: b=1")]})],
        [frames.Frame(frames.RESPONSE, meta={"status": 200, "headers": [("x y", "a")]})],
        [frames.Frame(frames.RESPONSE, body=b"no meta at all")],
        [frames.Frame(frames.RESPONSE, chunked=True, index=1, body=b"x", meta=GOOD)],
        [
            frames.Frame(frames.RESPONSE, chunked=True, index=0, body=b"x"),
            frames.Frame(frames.RESPONSE, chunked=True, index=1, final=True),
        ],
    ],
    ids=["error", "status-99999", "status-99", "status-101", "crlf", "name", "no-meta", "gap", "no-meta-at-end"],
)
async def test_bad_answers_are_502_and_leave_the_tunnel(made):
    async with served() as (_, public, peer):
        good = peer._answer
        answer_with(peer, *made)
        head, body = await call(public)
        assert head.status == 502
        assert head.values("set-cookie") == []
        assert b"secret" not in body
        peer._answer = good
        assert (await call(public, "POST", "/", body=b"on"))[1] == b"on"


@pytest.mark.parametrize(
    "second",
    [
        frames.Frame(frames.RESPONSE, chunked=True, index=2, final=True),
        frames.Frame(frames.RESPONSE, chunked=True, index=0, body=b"again"),
        frames.Frame(frames.RESPONSE, chunked=True, index=0xFFFFFFFF, body=b"far"),
        frames.Frame(frames.RESPONSE, chunked=True, index=1, total=4, final=True),
        frames.Frame(frames.ERROR, body=b"upstream lost"),
    ],
    ids=["gap", "repeat", "far", "early-final", "error"],
)
async def test_an_answer_that_breaks_never_looks_complete(second):
    async with served() as (_, public, peer):
        good = peer._answer
        answer_with(peer, frames.Frame(frames.RESPONSE, chunked=True, index=0, body=b"first", meta=GOOD), second)
        async with http11.Caller(public) as caller:
            await caller.send("GET", "/")
            with pytest.raises((http11.BrokenMessage, ConnectionError)):
                head = await soon(caller.head())
                if head.status == 502:
                    raise http11.BrokenMessage("found before anything went out")
                async for _ in http11.read_body(caller.reader, head):
                    pass
        peer._answer = good
        assert (await call(public, "POST", "/", body=b"on"))[1] == b"on"


async def test_pong_repeats_the_number_as_written():
    async with served() as (_, _public, peer):
        for number in ("1.50", "-0", "1E+9", "12345678901234567890123", "0"):
            await peer.socket.send('{"type":"ping","timestamp":%s}' % number)
            assert await soon(peer.pongs.get()) == number


async def test_other_control_messages_are_ignored():
    async with served() as (_, public, peer):
        for text in ('{"type":"heartbeat"}', '{"type":"connection_ready","id":1}', '{"type":"x_request"}'):
            await peer.socket.send(text)
        assert (await call(public, "POST", "/", body=b"on"))[1] == b"on"


@pytest.mark.parametrize("offer", [None, ("anpx.v1",), ("other", "anpx.v1")], ids=str)
async def test_subprotocol_choice(offer):
    async with served(echo, receiver.Quirks(offer=offer)) as (_, public, peer):
        assert peer.subprotocol == ("anpx.v1" if offer else None)
        assert peer.extensions == []
        assert (await call(public, "POST", "/", body=b"on"))[1] == b"on"


async def test_an_offer_without_a_known_version_is_refused():
    async with binary.gateway() as proxy:
        tunnel = await proxy.address("tunnel")
        with pytest.raises(InvalidStatus) as refused:
            async with Receiver(f"ws://{tunnel}", echo, receiver.Quirks(offer=("anpx.v9",))):
                pass
        assert refused.value.response.status_code == 400


async def test_an_answer_nobody_asked_for_ends_the_session():
    async with served() as (_, _public, peer):
        await peer.send_frame(frames.Frame(frames.RESPONSE, "0d9f1c5e-7a43-4b52-9c1e-3f6a2b8d4e01", meta=GOOD))
        assert (await soon(peer.closed))[0] == 4000


async def test_bytes_that_are_no_frame_end_the_session():
    async with served() as (_, _public, peer):
        await peer.socket.send(b"ANPX and nothing more")
        assert (await soon(peer.closed))[0] == 4000


async def test_a_second_answer_is_dropped():
    async with served() as (_, public, peer):
        good = peer._answer
        one = [frames.Frame(frames.RESPONSE, meta=GOOD, body=b"%d" % n) for n in range(2)]
        answer_with(peer, *one)
        assert (await call(public))[1] == b"0"
        peer._answer = good
        assert (await call(public, "POST", "/", body=b"on"))[1] == b"on"


async def test_a_hundred_at_once():
    async with served() as (_, public, peer):
        answers = await asyncio.gather(*(call(public, "POST", f"/{n}", body=b"%d" % n) for n in range(100)))
        assert [body for _, body in answers] == [b"%d" % n for n in range(100)]
        assert len(set(peer.seen_ids)) == 100
        assert peer.faults == []


async def test_more_callers_than_places_wait_their_turn():
    inside, most, full = 0, 0, asyncio.Event()

    async def handler(request):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 100:
            full.set()
        await full.wait()
        inside -= 1
        return Response(200, [], request.body)

    async with served(handler) as (_, public, _peer):
        answers = await soon(asyncio.gather(*(call(public, "POST", "/", body=b"%d" % n) for n in range(150))))
        assert [head.status for head, _ in answers] == [200] * 150
        assert most == 100


async def test_an_upgrade_is_refused():
    async with served() as (_, public, peer):
        asked = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        head, body = await call(public, "GET", "/chat", [*asked, ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
        assert (head.status, json.loads(body)["detail"]) == (502, "the receiver cannot carry this request")
        assert peer.frames == []


async def test_without_a_tunnel_it_is_503():
    async with binary.gateway() as proxy:
        head, _ = await call(await proxy.address("public"))
        assert head.status == 503
        assert head.value("retry-after")


async def test_a_new_receiver_takes_over():
    async with served() as (proxy, public, first):
        tunnel = await proxy.address("tunnel")
        first.abort()
        async with Receiver(f"ws://{tunnel}", echo) as second:
            await soon(second.pongs.get())
            assert (await call(public, "POST", "/", body=b"again"))[1] == b"again"


async def test_a_stopping_gateway_finishes_what_is_open():
    started, go = asyncio.Event(), asyncio.Event()

    async def handler(_request):
        started.set()
        await go.wait()
        return Response(200, [], b"done")

    async with served(handler) as (proxy, public, peer):
        answer = asyncio.ensure_future(call(public))
        await soon(started.wait())
        proxy.stop()
        go.set()
        assert (await soon(answer))[1] == b"done"
        assert (await soon(peer.closed))[0] == 1001
        assert await proxy.exit() == 0
