"""ASGI's rules for HTTP, by apps written out event by event."""

import asyncio
import json
import logging

import pytest
from binary import soon
from http11 import BrokenMessage, read_body, read_head

pytestmark = pytest.mark.asyncio


async def start(send, status=200, headers=(), **more):
    """Begin a response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers), **more})


async def body(send, data=b"", more=False):
    """A piece of a response."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


def http(handler):
    """An app of `handler`, without a lifespan."""

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await handler(scope, receive, send)

    return app


async def whole(receive):
    """The request's body, read to its end."""
    parts = []
    while True:
        event = await receive()
        assert event["type"] == "http.request"
        parts.append(event["body"])
        if not event["more_body"]:
            return b"".join(parts)


async def is_broken_off(served):
    """Whether a GET gets no whole answer of the app: one cut short, or 502 where none had gone out."""
    try:
        return (await served.get())[0] == 502
    except (BrokenMessage, ConnectionError):
        return True


async def test_the_scope_says_what_the_caller_sent(serve):
    async def handler(scope, _receive, send):
        scope = {key: value for key, value in scope.items() if key != "headers"} | {
            "host": [v.decode() for k, v in scope["headers"] if k == b"host"],
            "x": [v.decode() for k, v in scope["headers"] if k == b"x-a"],
        }
        scope["raw_path"] = scope["raw_path"].decode()
        scope["query_string"] = scope["query_string"].decode()
        await start(send)
        await body(send, json.dumps(scope).encode())

    served = await serve(http(handler), root_path="/mounted/")
    _, _, data = await served.get("/a%2Fb/%C3%BC%FF?x=%zz&y", fields=[("X-A", "1"), ("x-a", "2"), ("Host", "app.example:81")])
    scope = json.loads(data)
    assert scope.pop("client")[0] == "127.0.0.1"
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "root_path": "/mounted",
        "path": "/mounted/a/b/ü\ufffd",
        "raw_path": "/mounted/a%2Fb/%C3%BC%FF",
        "query_string": "x=%zz&y",
        "server": ["app.example", 81],
        "extensions": {"http.response.trailers": {}},
        "host": ["app.example:81"],
        "x": ["1", "2"],
    }


async def test_one_piece_has_a_length_and_many_have_none(serve):
    async def handler(scope, _receive, send):
        await start(send, 201, [(b"X-Upper", b"kept"), (b"connection", b"close")])
        if scope["path"] == "/many":
            await body(send, b"one,", True)
        await body(send, bytearray(b"last"))

    served = await serve(http(handler))
    status, head, data = await served.get("/one")
    assert (status, data, head.value("content-length"), head.value("x-upper")) == (201, b"last", "4", "kept")
    status, head, data = await served.get("/many")
    assert (data, head.value("content-length")) == (b"one,last", None)


@pytest.mark.parametrize("length", [None, 3 << 20])
async def test_a_large_upload_arrives_whole(serve, length):
    data = bytes(range(256)) * (3 << 12)

    async def handler(scope, receive, send):
        names = dict(scope["headers"])
        assert (b"transfer-encoding" in names) == (length is None)
        same = await whole(receive) == data
        await start(send)
        await body(send, str(same).encode())

    served = await serve(http(handler))
    async with served.caller() as caller:
        field = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        await caller.send("POST", "/", [field])
        for at in range(0, len(data), 1 << 16):
            part = data[at : at + (1 << 16)]
            caller.writer.write(b"%x\r\n%s\r\n" % (len(part), part) if length is None else part)
            await soon(caller.writer.drain())
        if length is None:
            caller.writer.write(b"0\r\n\r\n")
        head = await soon(read_head(caller.reader))
        assert head.status == 200
        assert b"".join([part async for part in read_body(caller.reader, head)]) == b"True"


async def test_an_app_that_does_not_read_holds_its_caller_back(serve):
    go = asyncio.Event()

    async def handler(scope, receive, send):
        if scope["method"] == "POST":
            await go.wait()
            await whole(receive)
        await start(send)
        await body(send, b"done")

    served = await serve(http(handler))
    async with served.caller() as caller:
        size = 32 << 20
        await caller.send("POST", "/", [("Content-Length", str(size))])

        async def upload():
            for _ in range(size >> 20):
                caller.writer.write(bytes(1 << 20))
                await caller.writer.drain()

        uploading = asyncio.ensure_future(upload())
        # Others are served meanwhile, and as long as they are the upload stands still.
        for _ in range(20):
            assert (await served.get())[2] == b"done"
        assert not uploading.done()
        go.set()
        await soon(uploading)
        assert (await soon(read_head(caller.reader))).status == 200


async def test_each_piece_leaves_when_it_is_sent(serve):
    pieces = asyncio.Queue()

    async def handler(_scope, _receive, send):
        await start(send)
        while (piece := await pieces.get()) is not None:
            await body(send, piece, True)
        await body(send)

    served = await serve(http(handler))
    async with served.caller() as caller:
        await caller.send("GET", "/")
        pieces.put_nowait(b"first")
        head = await soon(read_head(caller.reader))
        parts = read_body(caller.reader, head)
        assert await soon(anext(parts)) == b"first"
        for piece in (b"second", b"third"):
            pieces.put_nowait(piece)
            assert await soon(anext(parts)) == piece
        pieces.put_nowait(None)
        with pytest.raises(StopAsyncIteration):
            await soon(anext(parts))


async def test_a_caller_that_does_not_read_suspends_send(serve):
    sent, ended = [], asyncio.Event()

    async def handler(scope, _receive, send):
        await start(send)
        if scope["path"] == "/other":
            return await body(send)
        try:
            while True:
                await body(send, bytes(64 << 10), True)
                sent.append(64 << 10)
        except OSError:
            ended.set()
            raise

    served = await serve(http(handler))
    async with served.caller() as caller:
        await caller.send("GET", "/")
        head = await soon(read_head(caller.reader))
        assert head.status == 200
        before = None
        # What the sockets between take is a few MiB; then nothing moves while others are served.
        while before != len(sent):
            before = len(sent)
            for _ in range(20):
                await served.get("/other")
        assert sum(sent) < 64 << 20
    await soon(ended.wait())


@pytest.mark.parametrize("begun", [False, True])
async def test_a_caller_that_leaves_is_told_to_receive_at_once(serve, begun):
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await whole(receive)
        if begun:
            await start(send)
            await body(send, b"some", True)
        seen.put_nowait("waits")
        seen.put_nowait((await receive())["type"])
        try:
            await body(send, b"more", True) if begun else await start(send)
        except OSError as error:
            seen.put_nowait(type(error).__name__)

    served = await serve(http(handler))
    async with served.caller() as caller:
        await caller.send("POST", "/", body=b"whole")
        assert await soon(seen.get()) == "waits"
    assert await soon(seen.get()) == "http.disconnect"
    assert await soon(seen.get()) == "ConnectionResetError"


async def test_a_task_that_listens_may_end_the_one_that_sends(serve):
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await whole(receive)
        await start(send)

        async def sends():
            try:
                while True:
                    await body(send, b"more", True)
                    await asyncio.sleep(0)
            except BaseException as error:
                seen.put_nowait(type(error).__name__)
                raise

        sending = asyncio.create_task(sends())
        assert (await receive())["type"] == "http.disconnect"
        sending.cancel()

    served = await serve(http(handler))
    for _ in range(20):
        async with served.caller() as caller:
            await caller.send("GET", "/")
            await soon(read_head(caller.reader))
        assert await soon(seen.get()) == "CancelledError"


async def test_an_event_stream_is_open_before_its_first_event(serve):
    opened = asyncio.Event()

    async def handler(_scope, _receive, send):
        headers = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await opened.wait()
        await body(send, b"data: first\n\n")

    served = await serve(http(handler))
    async with served.caller() as caller:
        await caller.send("GET", "/")
        head = await soon(read_head(caller.reader))
        assert (head.status, head.value("content-type")) == (200, "text/event-stream; charset=utf-8")
        opened.set()
        assert b"".join([part async for part in read_body(caller.reader, head)]) == b"data: first\n\n"


async def test_receive_after_the_response_is_a_disconnect(serve):
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await start(send)
        await body(send)
        seen.put_nowait((await receive())["type"])

    served = await serve(http(handler))
    await served.get()
    assert await soon(seen.get()) == "http.disconnect"


async def test_a_receive_that_was_cancelled_took_nothing(serve):
    async def handler(_scope, receive, send):
        waiting = asyncio.create_task(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await start(send)
        await body(send, b"", True)
        await body(send, await whole(receive))

    served = await serve(http(handler))
    async with served.caller() as caller:
        await caller.send("POST", "/", [("Content-Length", "5")])
        head = await soon(read_head(caller.reader))
        caller.writer.write(b"later")
        assert b"".join([part async for part in read_body(caller.reader, head)]) == b"later"


async def test_a_caller_that_waits_is_asked_when_the_app_reads(serve):
    go = asyncio.Event()

    async def handler(_scope, receive, send):
        await go.wait()
        data = await whole(receive)
        await start(send)
        await body(send, data)

    served = await serve(http(handler))
    async with served.caller() as caller:
        await caller.send("POST", "/", [("Expect", "100-continue"), ("Content-Length", "4")])
        asked = asyncio.ensure_future(read_head(caller.reader))
        go.set()
        assert (await soon(asked)).status == 100
        caller.writer.write(b"data")
        head = await soon(read_head(caller.reader))
        assert b"".join([part async for part in read_body(caller.reader, head)]) == b"data"


@pytest.mark.parametrize("begun", [False, True])
async def test_an_app_that_raises_is_500_or_a_broken_response(serve, caplog, begun):
    async def handler(_scope, _receive, send):
        if begun:
            await start(send)
            await body(send, b"part", True)
        raise ValueError("on purpose")

    served = await serve(http(handler))
    with caplog.at_level(logging.ERROR, "anp_proxy"):
        if begun:
            assert await is_broken_off(served)
        else:
            status, _, data = await served.get()
            assert (status, data) == (500, b"Internal Server Error")
    record = next(record for record in caplog.records if record.exc_info)
    assert "GET /" in record.getMessage() and record.exc_info[0] is ValueError
    # Nothing else suffers.
    assert served.receiver.stats().tunnels == 1


@pytest.mark.parametrize("left", ["nothing", "head", "part"])
async def test_an_app_that_returns_early_is_500_or_a_broken_response(serve, caplog, left):
    async def handler(_scope, _receive, send):
        if left != "nothing":
            await start(send)
        if left == "part":
            await body(send, b"part", True)

    served = await serve(http(handler))
    with caplog.at_level(logging.ERROR, "anp_proxy"):
        if left == "part":
            assert await is_broken_off(served)
        else:
            assert (await served.get())[0] == 500
    assert "returned" in caplog.text


def wrong(*events):
    """An app that sends events in a wrong order, and answers with what it was told."""

    async def handler(_scope, _receive, send):
        try:
            for event in events:
                await send(event)
        except (RuntimeError, ValueError, TypeError) as error:
            told = type(error).__name__
            await start(send)
            await body(send, told.encode())

    return http(handler)


START = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.mark.parametrize(
    "events, told",
    [
        ([{"type": "http.response.body", "body": b""}], b"RuntimeError"),
        ([{"type": "websocket.send", "text": ""}], b"RuntimeError"),
        ([{"type": "nonsense"}], b"RuntimeError"),
        ([{"status": 200}], b"ValueError"),
        (["http.response.start"], b"TypeError"),
        ([{**START, "status": 199}], b"ValueError"),
        ([{**START, "headers": [(b"x", b"a\r\nb: c")]}], b"ValueError"),
        ([{**START, "headers": [(b"x y", b"a")]}], b"ValueError"),
        ([{**START, "headers": [("x", "text")]}], b"TypeError"),
        ([{**START, "headers": [(b"content-length", b"-1")]}], b"ValueError"),
    ],
)
async def test_a_wrong_event_is_an_error_to_the_app_and_nothing_is_sent(serve, events, told):
    served = await serve(wrong(*events))
    status, head, data = await served.get()
    assert (status, data, head.values("b")) == (200, told, [])


@pytest.mark.parametrize("length, data", [(3, b"four"), (5, b"four")])
async def test_a_body_unlike_its_length_never_passes_for_whole(serve, caplog, length, data):
    async def handler(_scope, _receive, send):
        await start(send, headers=[(b"content-length", str(length).encode())])
        await body(send, data)

    served = await serve(http(handler))
    assert (await served.get())[0] == 500
    assert "than its content-length" in caplog.text


@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_what_has_no_body_has_none(serve, method, status):
    async def handler(_scope, _receive, send):
        await start(send, status, [(b"x-a", b"1")])
        await body(send, b"body")

    served = await serve(http(handler))
    async with served.caller() as caller:
        for _ in range(2):
            await caller.send(method, "/")
            head = await soon(read_head(caller.reader))
            assert (head.status, head.value("x-a")) == (status, "1")


async def test_trailers_follow_the_body(serve):
    async def handler(_scope, _receive, send):
        await start(send, trailers=True)
        await body(send, b"data")
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"6")], "more_trailers": True})
        await send({"type": "http.response.trailers", "headers": [(b"x-end", b"1")]})

    served = await serve(http(handler))
    async with served.caller() as caller:
        await caller.send("GET", "/", [("TE", "trailers")])
        raw = await soon(caller.reader.readuntil(b"x-end: 1\r\n\r\n"))
        assert b"\r\n4\r\ndata\r\n0\r\nx-sum: 6\r\n" in raw


async def test_many_at_once_get_their_own_answers(serve):
    async def handler(scope, receive, send):
        data = await whole(receive)
        await asyncio.sleep(0)
        await start(send)
        await body(send, scope["path"].encode() + b" " + data)

    served = await serve(http(handler))

    async def one(number):
        text = str(number).encode() * 100
        assert (await served.call("POST", f"/{number}", body=text))[2] == b"/%d " % number + text

    for _ in range(3):
        await soon(asyncio.gather(*(one(number) for number in range(100))))
    stats = served.receiver.stats()
    assert (stats.requests, stats.in_flight) == (300, 0)
