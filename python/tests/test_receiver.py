"""Our receiver in front of a local app, behind an independent version-1 gateway (protocol.md, section 2)."""

import asyncio
import contextlib
import hashlib

import pytest

import binary
import http11
from binary import soon
from peers import frames, gateway
from peers.gateway import Broken, Gateway

pytestmark = pytest.mark.asyncio
BIG = bytes(range(256)) * 6000


async def echo(head, reader, writer):
    """Answers with the body that came, and head and length in x- fields."""
    body = b"".join([part async for part in http11.read_body(reader, head, request=True)])
    target = head.line.split(" ")[1]
    fields = [("x-line", head.line), ("x-length", head.value("content-length") or "none"), ("x-target", target)]
    writer.write(http11.response(200, fields, body))


@contextlib.asynccontextmanager
async def behind(handler=echo, quirks=None, *more):
    """A Python gateway, our receiver and an app with `handler`: (gateway, tunnel, proxy, app)."""
    async with Gateway(quirks) as peer, http11.App(handler) as app:
        async with binary.receiver(peer.url, app.url, *more) as proxy:
            tunnel = await soon(peer.connected.get())
            yield peer, tunnel, proxy, app


def field(fields, name):
    return [value for key, value in fields if key == name]


async def test_request_and_answer():
    async with behind() as (peer, tunnel, _, app):
        fields = [(b"host", b"public.example"), (b"x-a", b"1"), (b"content-length", b"99")]
        status, answer, body = await soon(peer.request("POST", "/a%20b/%E2%98%95?q=1%202&z=", fields, b"hello"))
        assert (status, body) == (200, b"hello")
        assert field(answer, b"x-line") == [b"POST /a%20b/%E2%98%95?q=1%202&z= HTTP/1.1"]
        assert field(answer, b"x-length") == [b"5"]
        seen = app.requests.get_nowait()
        assert seen.values("host") == ["public.example"]
        assert seen.values("x-a") == ["1"]
        assert "anpx.v1" in [token.strip() for token in tunnel.offer.split(",")]
        assert peer.faults == []


@pytest.mark.parametrize(
    "quirks",
    [
        gateway.Quirks(),
        gateway.Quirks(path="/ws"),
        gateway.Quirks(strict_tags=True),
        gateway.Quirks(final_width=4),
        gateway.Quirks(spread_chunks=True),
        gateway.Quirks(chunk_size=5000),
        gateway.Quirks(answer_subprotocol=False),
    ],
    ids=lambda q: repr(q)[7:-1],
)
async def test_big_bodies_both_ways_under_every_quirk(quirks):
    async with behind(echo, quirks) as (peer, _, _, _):
        bodies = [BIG + bytes([n]) for n in range(4)]
        answers = await soon(asyncio.gather(*(peer.request("POST", f"/{n}", body=body) for n, body in enumerate(bodies))))
        for (status, _, body), sent in zip(answers, bodies, strict=True):
            assert status == 200
            assert hashlib.sha256(body).digest() == hashlib.sha256(sent).digest()
        assert peer.faults == []
        assert len(peer.tunnels) == 1
        assert peer.connected.empty()


async def test_http_port_serves_callers_beside_the_tunnel():
    async with behind(echo, gateway.Quirks(path="/ws")) as (peer, _, _, _):
        async with http11.Caller(f"127.0.0.1:{peer.port}") as caller:
            head, _ = await soon(caller.call("GET", "/x?a=1"))
        assert (head.status, head.value("x-target")) == (200, "/x?a=1")


async def test_a_ping_comes_at_once():
    async with behind() as (_, tunnel, _, _):
        assert await soon(tunnel.pings.get())


async def test_pings_keep_a_tunnel_that_requires_them():
    async with behind(echo, gateway.Quirks(ping_required=12)) as (peer, tunnel, _, _):
        for _ in range(2):
            await soon(tunnel.pings.get())
        assert not tunnel.closed.done()
        assert (await soon(peer.request("POST", "/", body=b"x")))[2] == b"x"


async def test_streamed_answer_leaves_as_the_app_makes_it():
    go = asyncio.Queue()

    async def handler(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for n in range(4):
            await go.get()
            writer.write(http11.chunk(b"data: %d\n\n" % n))
            await writer.drain()
        writer.write(http11.chunk(b""))

    async with behind(handler) as (peer, _, _, _):
        exchange = await peer.start("GET", "/events")
        index = 0
        for n in range(4):
            go.put_nowait(None)
            got = b""
            while got != b"data: %d\n\n" % n:
                frame = await soon(exchange.frames.get())
                assert frame.index == index
                index, got = index + 1, got + frame.body
        status, fields, body = await soon(exchange.response())
        assert (status, field(fields, b"content-type")) == (200, [b"text/event-stream"])
        assert body == b"".join(b"data: %d\n\n" % n for n in range(4))
        assert peer.faults == []


async def test_streamed_upload_reaches_the_app_whole():
    async def parts():
        yield b"a" * 100_000
        yield b"b"
        yield b"c" * 5

    async with behind() as (peer, _, _, _):
        exchange = await peer.start("POST", "/", body=parts())
        assert (await soon(exchange.response()))[2] == b"a" * 100_000 + b"b" + b"c" * 5


async def test_every_cookie_has_a_key_of_its_own():
    async def handler(_head, _reader, writer):
        writer.write(http11.response(200, [("Set-Cookie", f"c{n}={n}") for n in range(10)] + [("vary", "a"), ("vary", "b")]))

    async with behind(handler) as (peer, _, _, _):
        exchange = await peer.start("GET", "/")
        meta = (await soon(exchange.frames.get())).meta
        keys = "set-cookie Set-cookie sEt-cookie SEt-cookie seT-cookie SeT-cookie sET-cookie SET-cookie set-Cookie Set-Cookie"
        assert [(k, v) for k, v in meta["headers"] if k.lower() == "set-cookie"] == [
            (key, f"c{n}={n}") for n, key in enumerate(keys.split())
        ]
        assert ("vary", "a, b") in meta["headers"]
        names = {key.lower(): value for key, value in meta["headers"]}
        assert not set(names) & {"transfer-encoding", "connection", "keep-alive"}
        assert names.get("content-length", "0") == "0"


async def test_head_and_304_keep_their_length():
    async def handler(head, _reader, writer):
        status = 304 if "/304" in head.line else 200
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 1234\r\n\r\n".encode())

    async with behind(handler) as (peer, _, _, _):
        status, fields, _ = await soon(peer.request("HEAD", "/"))
        assert (status, field(fields, b"content-length")) == (200, [b"1234"])
        status, fields, _ = await soon(peer.request("GET", "/304"))
        assert (status, field(fields, b"content-length")) == (304, [b"1234"])


async def test_header_bytes_are_latin1_at_a_receiver():
    async def handler(head, _reader, writer):
        writer.write(http11.response(200, [("x-back", head.value("x-name")), ("x-utf8", "caf\u00c3\u00a9")]))

    async with behind(handler) as (peer, _, _, app):
        exchange = await peer.start("GET", "/", [(b"x-name", b"caf\xe9")])
        headers = dict((await soon(exchange.frames.get())).meta["headers"])
        assert (headers["x-back"], headers["x-utf8"]) == ("café", "cafÃ©")
        assert app.requests.get_nowait().value("x-name") == "caf\xe9"


async def test_unknown_tags_are_skipped():
    async with behind() as (peer, _, _, _):
        tunnel = peer.tunnels[0]
        send = tunnel.send

        async def send_more(frame):
            frame.extra = [(0x7E, b"later"), (0xF0, b"")]
            await send(frame)

        tunnel.send = send_more
        assert (await soon(peer.request("POST", "/", body=BIG)))[2] == BIG


async def test_every_place_comes_back():
    async with behind() as (peer, tunnel, _, _):
        for _ in range(3):
            answers = await soon(asyncio.gather(*(peer.request("POST", "/", body=b"x") for _ in range(100))))
            assert [status for status, _, _ in answers] == [200] * 100
        assert tunnel.taken == 0
        assert peer.faults == []


async def test_an_app_that_is_not_there_is_502():
    async with Gateway() as peer:
        async with http11.App(echo) as app:
            pass
        async with binary.receiver(peer.url, app.url):
            tunnel = await soon(peer.connected.get())
            status, _, _ = await soon(peer.request("POST", "/", body=b"x"))
            assert (status, tunnel.taken) == (502, 0)
            assert peer.errors.empty()


async def test_an_app_that_hangs_up_is_502():
    async def handler(_head, _reader, writer):
        writer.transport.abort()

    async with behind(handler) as (peer, _, _, _):
        assert (await soon(peer.request("POST", "/", body=b"x")))[0] == 502
        assert peer.errors.empty()


async def test_an_app_that_breaks_off_gets_an_error_frame():
    async def handler(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + http11.chunk(b"first"))
        await writer.drain()
        await broke.wait()
        writer.transport.abort()

    broke = asyncio.Event()
    async with behind(handler, gateway.Quirks(error_text=False)) as (peer, tunnel, _, app):
        exchange = await peer.start("GET", "/")
        while (await soon(exchange.frames.get())).body != b"first":
            pass
        broke.set()
        with pytest.raises(Broken):
            await soon(exchange.response())
        _, text = await soon(peer.errors.get())
        assert text and str(app.port) not in text
        assert tunnel.taken == 0
        assert peer.faults == []


async def test_a_cancelled_call_leaves_the_app_and_is_answered_once():
    left = asyncio.Event()

    async def handler(head, reader, writer):
        if "/next" in head.line:
            await echo(head, reader, writer)
            return
        await reader.read()
        left.set()

    async with behind(handler) as (peer, tunnel, _, app):
        exchange = await peer.start("GET", "/slow")
        await soon(app.requests.get())
        await exchange.cancel()
        await soon(left.wait())
        await soon(asyncio.wait([exchange.result]))
        assert tunnel.taken == 0
        assert (await soon(peer.request("POST", "/next", body=b"on")))[2] == b"on"
        assert peer.faults == []


async def test_a_half_sent_request_never_runs_and_is_answered_once():
    async with behind() as (peer, tunnel, _, app):
        exchange = await peer.start("POST", "/", body=BIG, pause_after=2)
        await exchange.cancel()
        await soon(asyncio.wait([exchange.result]))
        assert tunnel.taken == 0
        assert (await soon(peer.request("POST", "/next", body=b"on")))[2] == b"on"
        assert app.requests.qsize() == 1
        assert peer.faults == []


@pytest.mark.parametrize("second", [0, 2, 0xFFFFFFFF], ids=["repeat", "gap", "far"])
async def test_a_broken_request_never_runs(second):
    async with behind() as (peer, tunnel, _, app):
        exchange = await peer.start("POST", "/", body=BIG, pause_after=1)
        exchange.sent_all = True
        await exchange.send(frames.Frame(frames.REQUEST, exchange.request_id, chunked=True, index=second, final=True))
        await soon(asyncio.wait([exchange.result]))
        assert exchange.result.result()[0] >= 400
        assert tunnel.taken == 0
        assert (await soon(peer.request("POST", "/next", body=b"on")))[2] == b"on"
        assert app.requests.qsize() == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"method": "GET /x"},
        {"method": "GET\r\nx: y"},
        {"method": ""},
        {"headers": [("x-a", "1\r\nx-b: 2")]},
        {"headers": [("x-a", "1\0")]},
        {"headers": [("x a", "1")]},
        {"headers": [("x\r\ny", "1")]},
        {"method": None},
        {"path": 5},
    ],
    ids=str,
)
async def test_a_request_that_is_no_http_never_reaches_the_app(bad):
    async with behind() as (peer, tunnel, _, app):
        meta = {"method": "GET", "path": "/", "headers": [("host", "h")], "query": [], **bad}
        exchange = await peer.start_raw(meta)
        status, _, _ = await soon(exchange.response())
        assert status >= 400
        assert tunnel.taken == 0
        assert (await soon(peer.request("POST", "/next", body=b"on")))[2] == b"on"
        assert app.requests.qsize() == 1


async def test_bytes_that_are_no_frame_end_the_session_and_it_comes_back():
    async with behind() as (peer, tunnel, _, _):
        await tunnel.socket.send(b"ANPX and nothing more")
        assert (await soon(tunnel.closed))[0] == 4000
        await soon(peer.connected.get())
        assert (await soon(peer.request("POST", "/", body=b"on")))[2] == b"on"


async def test_it_comes_back_after_a_restart_of_the_gateway():
    async with http11.App(echo) as app, Gateway() as first, binary.receiver(first.url, app.url):
        await soon(first.connected.get())
        assert (await soon(first.request("POST", "/", body=b"one")))[2] == b"one"
        await first.close()
        async with Gateway(port=first.port) as second:
            await soon(second.connected.get())
            assert (await soon(second.request("POST", "/", body=b"two")))[2] == b"two"


async def test_a_stopping_receiver_finishes_what_is_open_and_refuses_new():
    inside, go = asyncio.Event(), asyncio.Event()

    async def handler(head, reader, writer):
        inside.set()
        await go.wait()
        await echo(head, reader, writer)

    async with behind(handler) as (peer, tunnel, proxy, app):
        slow = await peer.start("POST", "/slow", body=b"slow")
        await soon(inside.wait())
        proxy.stop()
        await proxy.stopping()
        status, app.requests = None, asyncio.Queue()
        while status is None:
            # The log line may come before the tunnel knows: a request that still got through waits in the app.
            late, reached = await peer.start("GET", "/late"), asyncio.ensure_future(app.requests.get())
            await soon(asyncio.wait([late.result, reached], return_when=asyncio.FIRST_COMPLETED))
            status = late.result.result()[0] if late.result.done() else None
            reached.cancel()
        assert status == 503
        go.set()
        assert (await soon(slow.response()))[2] == b"slow"
        assert (await soon(tunnel.closed))[0] in (1000, 1001)
        assert await proxy.exit() == 0
