"""HTTP/2 that is not plainly right, and more of it than anybody needs: row 24, and 13, 16 and 18 for HTTP/2.

A request that is malformed (RFC 9113, 8.1.1) never reaches the app; a flood ends its connection and
harms nobody else.
"""

import asyncio
import contextlib
import struct

import pytest
import pytest_asyncio
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

import binary
import frames2
import http11
import raw
from binary import soon
from frames2 import Closed

pytestmark = pytest.mark.asyncio(loop_scope="module")
FLOOD = 200_000
"""Frames after which a flood that nobody ended is a failure."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tunnel():
    """`(public address, app)`."""
    async with raw.Recorder() as app, binary.gateway() as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", app.url) as receiver:
            await receiver.ready()
            yield public, app


def head(name, *more, method="GET", **pseudo):
    """The fields of a plain request; `pseudo` replaces pseudo-headers, None leaves one out."""
    fields = {"method": method, "scheme": "http", "authority": "a", "path": f"/{name}", **pseudo}
    return [(f":{key}", value) for key, value in fields.items() if value is not None] + [("x-mark", name), *more]


async def served(public):
    """Another caller is served as if nothing had happened."""
    async with frames2.Connection(public) as other:
        other.send(other.headers(1, head(raw.number())))
        assert (await other.outcome(1))[::2] == (200, b"ok")


MALFORMED = {
    # What is added to a plain request, or replaces parts of it.
    "name in capitals": ([("X-A", "1")], {}),
    "name with a space": ([("x a", "1")], {}),
    "name with a colon": ([("x:a", "1")], {}),
    "name with CR LF": ([("x-a: 1\r\nx-b", "1")], {}),
    "name with NUL": ([("x\0a", "1")], {}),
    "name that is empty": ([("", "1")], {}),
    "name that is not ASCII": ([("x-\u00e4", "1")], {}),
    "value with CR LF": ([("x-a", "1\r\nx-injected: 1")], {}),
    "value with LF": ([("x-a", "1\nx-injected: 1")], {}),
    "value with CR": ([("x-a", "1\r2")], {}),
    "value with NUL": ([("x-a", "1\x002")], {}),
    "connection": ([("connection", "x-a"), ("x-a", "1")], {}),
    "connection: close": ([("connection", "close")], {}),
    "transfer-encoding": ([("transfer-encoding", "chunked")], {}),
    "keep-alive": ([("keep-alive", "timeout=5")], {}),
    "proxy-connection": ([("proxy-connection", "keep-alive")], {}),
    "upgrade": ([("upgrade", "websocket")], {}),
    "te: gzip": ([("te", "gzip")], {}),
    "te: trailers, gzip": ([("te", "trailers, gzip")], {}),
    "pseudo-header behind fields": ([(":path", "/evil")], {"path": None}),
    "pseudo-header twice": ([], {"twice": None}),
    "pseudo-header nobody knows": ([], {"secret": "1"}),
    "status in a request": ([], {"status": "200"}),
    "no method": ([], {"method": None}),
    "no path": ([], {"path": None}),
    "no scheme": ([], {"scheme": None}),
    "no authority and no host": ([], {"authority": None}),
    "empty path": ([], {"path": ""}),
    "empty authority": ([], {"authority": ""}),
    "empty method": ([], {"method": ""}),
    "method with a space": ([], {"method": "GET /evil HTTP/1.1\r\nx:"}),
    "path without a slash": ([], {"path": "evil"}),
    "path with a space": ([], {"path": "/evil HTTP/1.1"}),
    "path with CR LF": ([], {"path": "/evil HTTP/1.1\r\nx-injected: 1\r\n\r\n"}),
    "path with NUL": ([], {"path": "/evil\0"}),
    "path in absolute-form": ([], {"path": "http://evil/x"}),
    "asterisk on GET": ([], {"path": "*"}),
    "authority with a path": ([], {"authority": "a/b"}),
    "authority with userinfo": ([], {"authority": "u@a"}),
    "authority with CR LF": ([], {"authority": "a\r\nx-injected: 1"}),
    "authority with a space": ([], {"authority": "a b"}),
    "host unlike authority": ([("host", "b")], {}),
    "two hosts": ([("host", "a"), ("host", "b")], {"authority": None}),
    "protocol on GET": ([], {"protocol": "websocket"}),
    "two lengths": ([("content-length", "0"), ("content-length", "1")], {}),
    "length with a plus": ([("content-length", "+0")], {}),
    "length of a body that is not there": ([("content-length", "5")], {}),
}


@pytest.mark.parametrize("label", MALFORMED)
async def test_a_malformed_head_never_reaches_the_app(tunnel, label):
    public, app = tunnel
    more, pseudo = MALFORMED[label]
    name = raw.number()
    pseudo = {key: value and value.replace("evil", "evil-" + name) for key, value in pseudo.items()}
    fields = head(name, *more, **pseudo)
    if "twice" in label:
        fields.insert(0, fields[0])
    async with frames2.Connection(public) as caller:
        caller.send(caller.headers(1, fields))
        with contextlib.suppress(Closed):
            answer = await caller.outcome(1)
            assert answer[0] in ("reset", 400), answer
    await served(public)
    assert not app.heads(name)
    assert not any(b"injected" in bytes(conn) for conn in app.connections)


async def test_connect_without_a_protocol_is_405(tunnel):
    public, app = tunnel
    async with frames2.Connection(public) as caller:
        caller.send(caller.headers(1, [(":method", "CONNECT"), (":authority", "a:443")], end=False))
        answer = await caller.outcome(1)
        assert answer[0] in ("reset", 405)
        caller.send(caller.headers(3, head(raw.number())))
        assert (await caller.outcome(3))[0] == 200


@pytest.mark.parametrize(("length", "body"), [("5", b"hell"), ("5", b"hello!"), ("0", b"x"), ("5", b"")])
async def test_a_body_unlike_its_length_is_never_whole(tunnel, length, body):
    public, app = tunnel
    name = raw.number()
    async with frames2.Connection(public) as caller:
        caller.send(caller.headers(1, head(name, ("content-length", length), method="POST"), end=False))
        caller.send(DataFrame(1, body, flags=["END_STREAM"]))
        with contextlib.suppress(Closed):
            answer = await caller.outcome(1)
            assert answer[0] in ("reset", 400), answer
    await served(public)
    # Of a length of 0 the app has all there is before the body comes that must not.
    assert all(length == "0" and got == b"" for _, got, _ in app.whole(name))


@pytest.mark.parametrize("trailers", [[("X-A", "1")], [("x-a", "1\r\nx-injected: 1")],
                                      [("connection", "close")], [("transfer-encoding", "chunked")]],
                         ids=["capitals", "CR LF", "connection", "transfer-encoding"])
async def test_malformed_trailers_break_the_request(tunnel, trailers):
    public, app = tunnel
    name = raw.number()
    async with frames2.Connection(public) as caller:
        caller.send(caller.headers(1, head(name, method="POST"), end=False), DataFrame(1, b"hello"))
        caller.send(caller.headers(1, trailers))
        with contextlib.suppress(Closed):
            answer = await caller.outcome(1)
            assert answer[0] in ("reset", 400), answer
    await served(public)
    assert not app.whole(name)
    assert not any(b"injected" in bytes(conn) for conn in app.connections)


async def test_what_the_library_drops_never_reaches_the_app(tunnel):
    """docs/http.md, HTTP/2 callers: a fragment, and pseudo-headers among trailers."""
    public, app = tunnel
    name = raw.number()
    async with frames2.Connection(public) as caller:
        caller.send(caller.headers(1, head(name, path=f"/{name}#/../evil")))
        assert (await caller.outcome(1))[0] == 200
        caller.send(caller.headers(3, head(name, method="POST"), end=False), DataFrame(3, b"hello"))
        caller.send(caller.headers(3, [(":path", "/evil"), ("x-a", "1")]))
        assert (await caller.outcome(3))[0] in (200, 400, "reset")
    await served(public)
    got = [(request.split(b" ")[1].decode(), body, trailers) for request, body, trailers in app.whole(name)]
    assert got[0] == (f"/{name}", b"", b"")
    assert got[1:] in ([], [(f"/{name}", b"hello", b"x-a: 1\r\n\r\n")])


LIMITS = {
    "target of 16 KiB and one": (414, [], {"path": "/" + "x" * (16 << 10)}),
    "headers of 70 KiB": (431, [(f"x-{n}", "v" * 7000) for n in range(10)], {}),
    "257 fields": (431, [(f"x-{n}", "1") for n in range(257)], {}),
}


@pytest.mark.parametrize("label", LIMITS)
async def test_limits(tunnel, label):
    public, app = tunnel
    status, more, pseudo = LIMITS[label]
    name = raw.number()
    async with frames2.Connection(public) as caller:
        block = caller.headers(1, head(name, *more, **pseudo)).data
        parts = [block[at:at + 16_384] for at in range(0, len(block), 16_384)]
        frames = [HeadersFrame(1, parts[0], flags=["END_STREAM"])] + [ContinuationFrame(1, part) for part in parts[1:]]
        frames[-1].flags.add("END_HEADERS")
        caller.send(*frames)
        answer = await caller.outcome(1)
        assert answer[0] == status
        assert (b"content-type", b"application/problem+json") in answer[1] or status == 431
        caller.send(caller.headers(3, head(raw.number())))
        assert (await caller.outcome(3))[0] == 200
    assert not app.heads(name)


WRONG = {
    # Frames that end the connection (RFC 9113, 5 and 6).
    "DATA on stream 0": lambda c: [struct.pack(">BHBBI", 0, 1, 0, 0, 0) + b"x"],
    "DATA on an idle stream": lambda c: [DataFrame(5, b"x")],
    "HEADERS on an even stream": lambda c: [c.headers(2, head("even"))],
    "HEADERS on an older stream": lambda c: [c.headers(7, head("newer")), c.headers(5, head("older"))],
    "a frame between HEADERS and CONTINUATION": lambda c: [c.headers(1, head("open"), whole=False), PingFrame()],
    "CONTINUATION alone": lambda c: [ContinuationFrame(1, b"", flags=["END_HEADERS"])],
    "a frame of 16 KiB and one": lambda c: [struct.pack(">BHBBI", 0, 16_385, 6, 0, 0) + b"x" * 16_385],
    "SETTINGS of seven bytes": lambda c: [struct.pack(">BHBBI", 0, 7, 4, 0, 0) + b"x" * 7],
    "SETTINGS with a window above 2^31-1": lambda c: [SettingsFrame(settings={4: 1 << 31})],
    "PING of seven bytes": lambda c: [struct.pack(">BHBBI", 0, 7, 6, 0, 0) + b"x" * 7],
    "a window above 2^31-1": lambda c: [struct.pack(">BHBBII", 0, 4, 8, 0, 0, (1 << 31) - 1)],
    "a window of 0": lambda c: [struct.pack(">BHBBII", 0, 4, 8, 0, 0, 0)],
    "PUSH_PROMISE": lambda c: [struct.pack(">BHBBII", 0, 4, 5, 4, 1, 2)],
    "RST_STREAM on an idle stream": lambda c: [RstStreamFrame(9)],
    "HPACK that is none": lambda c: [HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS", "END_STREAM"])],
    "no HTTP/2": lambda c: [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
}


@pytest.mark.parametrize("label", WRONG)
async def test_a_wrong_frame_ends_the_connection(tunnel, label):
    public, _ = tunnel
    async with frames2.Connection(public) as caller:
        caller.send(*WRONG[label](caller))
        assert await caller.closed() != 0
    await served(public)


async def flood(caller, frames):
    """Sends what `frames(n)` gives until the gateway ends the connection; the code of its GOAWAY."""
    ended = asyncio.ensure_future(caller.closed())
    with contextlib.suppress(Closed):
        for n in range(0, FLOOD, 100):
            if ended.done():
                break
            caller.send(*(frame for more in range(100) for frame in frames(n + more)))
            await caller.flush()
            await asyncio.sleep(0)
        else:
            raise AssertionError(f"{FLOOD} frames and still open")
    return await soon(ended)


async def test_rapid_resets_end_the_connection(tunnel):
    public, _ = tunnel
    async with frames2.Connection(public) as caller:
        await flood(caller, lambda n: [caller.headers(2 * n + 1, head("reset")), RstStreamFrame(2 * n + 1, 8)])
    await served(public)


@pytest.mark.parametrize("part", [b"", b"x" * 1000], ids=["empty", "full"])
async def test_continuations_without_end_end_the_connection(tunnel, part):
    public, app = tunnel
    name = raw.number()
    async with frames2.Connection(public) as caller:
        caller.send(caller.headers(1, head(name), whole=False))
        block = caller.encoder.encode([("x-a", part)], huffman=False) if part else b""
        await flood(caller, lambda _: [ContinuationFrame(1, block)])
    await served(public)
    assert not app.heads(name)


async def test_empty_data_without_end_ends_the_connection(tunnel):
    public, app = tunnel
    name = raw.number()
    async with frames2.Connection(public) as caller:
        caller.send(caller.headers(1, head(name, method="POST"), end=False))
        await flood(caller, lambda _: [DataFrame(1, b"")])
    await served(public)
    assert not app.whole(name)


async def test_a_header_bomb_is_refused(tunnel):
    public, app = tunnel
    name = raw.number()
    async with frames2.Connection(public) as caller:
        # One entry of the table of 4,000 bytes, named by one byte each time: 40 MB in 10 KB.
        first = caller.headers(1, head(name, ("x-bomb", "b" * 3900)))
        caller.send(first)
        assert (await caller.outcome(1))[0] == 200
        bomb = caller.headers(3, head(name + "b", *[("x-bomb", "b" * 3900)] * 10_000))
        assert len(bomb.data) < 16_384
        caller.send(bomb)
        with contextlib.suppress(Closed):
            assert (await caller.outcome(3))[0] in ("reset", 431)
    await served(public)
    assert not app.heads(name + "b")


async def test_streams_beyond_the_limit_are_refused():
    hold = asyncio.Event()
    arrived = asyncio.Semaphore(0)

    async def app(_head, _reader, writer):
        arrived.release()
        await hold.wait()
        writer.write(http11.response(200, [], b"ok"))

    async with http11.App(app) as local, binary.gateway() as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", local.url) as receiver:
            await receiver.ready()
            async with frames2.Connection(public) as caller:
                limit = caller.settings[SettingsFrame.MAX_CONCURRENT_STREAMS]
                assert 1 <= limit <= 1000
                for n in range(limit):
                    caller.send(caller.headers(2 * n + 1, head("held")))
                for _ in range(limit):
                    await soon(arrived.acquire())
                caller.send(caller.headers(2 * limit + 1, head("one-more")))
                assert await caller.outcome(2 * limit + 1) == ("reset", 7)
                hold.set()
                assert (await caller.outcome(1))[0] == 200


async def test_a_stopping_gateway_finishes_what_it_began():
    go = asyncio.Event()

    async def app(_head, _reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + http11.chunk(b"one"))
        await go.wait()
        writer.write(http11.chunk(b"two") + http11.chunk(b""))

    async with http11.App(app) as local, binary.gateway() as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", local.url) as receiver:
            await receiver.ready()
            async with frames2.Connection(public) as caller:
                caller.send(caller.headers(1, head("stream")))
                while not isinstance(await caller.frame(), DataFrame):
                    pass
                gateway.stop()
                while caller.goaway is None:
                    await caller.frame()
                go.set()
                while "END_STREAM" not in (frame := await caller.frame()).flags or frame.stream_id != 1:
                    pass
                assert await caller.closed() == 0
            assert await gateway.exit() == 0
