"""Responses: what an app sends, event by event, and what its caller gets."""

import asyncio

from binary import soon
from http11 import Caller, read_head

from .case import Case, add, answer, ask, attempt, body, case, read_answer, request, start, whole

ARRIVED = object()
"""Among events: the app goes on once some of the body arrived."""
BEGIN = {"type": "http.response.start", "status": 200, "headers": []}


def response_case(name, events, expected, method="GET", told=(), names=(), more_fields=(), **settings):
    """A case where the app sends `events`, notes what it is told by exceptions, and ends by the
    first. The caller's view: status, body, framing, whether it is whole, the values of `names`."""

    def make(seen):
        begun = asyncio.Event()

        async def app(_scope, _receive, send):
            for event in events:
                if event is ARRIVED:
                    await begun.wait()
                    continue
                try:
                    await send(event)
                except Exception as error:
                    seen.append(attempt(error))
                    raise

        async def caller(place):
            got = await ask(place, request(b"/", method.encode(), *more_fields), method, begun)
            values = [[value for key, value in got.fields if key == name] for name in names]
            return [got.status, got.body, got.framing, got.whole, *values]

        return app, caller

    add(Case(f"response_{name}", make, (list(told), expected), settings))


def begin(status=200, *headers, **more):
    """A start event."""
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def piece(data=b"", more=False):
    """A body event."""
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(number):
    """A length field."""
    return (b"content-length", b"%d" % number)


response_case("with_length", [begin(200, length(4)), piece(b"data")], [200, b"data", "length", True])
response_case("without_length", [begin(), piece(b"data")], [200, b"data", "length", True])
response_case("in_pieces", [begin(), piece(b"one", True), piece(b"two")], [200, b"onetwo", "chunked", True])
response_case("in_pieces_with_length", [begin(200, length(6)), piece(b"one", True), piece(b"two")], [200, b"onetwo", "length", True])
response_case("ended_by_nothing", [begin(), piece(b"one", True), piece()], [200, b"one", "chunked", True])
response_case("empty", [begin(200, length(0)), piece()], [200, b"", "length", True])
response_case("empty_without_length", [begin(), piece()], [200, b"", "length", True])
response_case("empty_pieces", [begin(), piece(b"", True), piece(b"a", True), piece(b"", True), piece()], [200, b"a", "chunked", True])
response_case("204", [begin(204), piece()], [204, b"", "none", True])
response_case("304", [begin(304, (b"etag", b'"x"')), piece()], [304, b"", "none", True, ['"x"']], names=["etag"])
response_case("head", [begin(200, length(4)), piece()], [200, b"", "none", True, ["4"]], "HEAD", names=["content-length"])
response_case("head_with_body", [begin(200, length(4)), piece(b"data")], [200, b"", "none", True, ["4"]], "HEAD", names=["content-length"])
response_case("head_without_length", [begin(), piece()], [200, b"", "none", True, []], "HEAD", names=["content-length"])
response_case("large", [begin(), *[piece(b"x" * (1 << 20), True)] * 4, piece()], [200, b"x" * (4 << 20), "chunked", True])
response_case("large_at_once", [begin(200, length(4 << 20)), piece(b"y" * (4 << 20))], [200, b"y" * (4 << 20), "length", True])
response_case("of_all_bytes", [begin(200, length(256)), piece(bytes(range(256)))], [200, bytes(range(256)), "length", True])
for status in (201, 299, 418, 404, 500, 503, 599):
    response_case(f"status_{status}", [begin(status, length(0)), piece()], [status, b"", "length", True])
response_case(
    "cookies", [begin(200, length(0), (b"set-cookie", b"a=1"), (b"x-a", b"1"), (b"set-cookie", b"b=2")), piece()],
    [200, b"", "length", True, ["a=1", "b=2"], ["1"]], names=["set-cookie", "x-a"],
)
response_case("upper_case_names", [begin(200, length(0), (b"X-UPPER", b"Value")), piece()], [200, b"", "length", True, ["Value"]], names=["x-upper"])
response_case("value_bytes", [begin(200, length(0), (b"x-a", b"caf\xe9")), piece()], [200, b"", "length", True, ["café"]], names=["x-a"])
response_case("empty_value", [begin(200, length(0), (b"x-a", b"")), piece()], [200, b"", "length", True, [""]], names=["x-a"])
response_case("headers_tuple", [{**BEGIN, "headers": (length(0), (b"x-a", b"1"))}, piece()], [200, b"", "length", True, ["1"]], names=["x-a"])
response_case("header_lists", [{**BEGIN, "headers": [list(length(0)), [b"x-a", b"1"]]}, piece()], [200, b"", "length", True, ["1"]], names=["x-a"])
response_case("no_headers_key", [{"type": "http.response.start", "status": 200}, piece(b"a", True), piece()], [200, b"a", "chunked", True])
response_case("no_body_key", [begin(200, length(0)), {"type": "http.response.body"}], [200, b"", "length", True])
response_case("of_the_connection", [begin(200, (b"connection", b"close"), length(1)), piece(b"a")], [200, b"a", "length", True])
response_case("chunked_by_the_app", [begin(200, (b"transfer-encoding", b"chunked")), piece(b"a", True), piece(b"b")], [200, b"ab", "chunked", True])
response_case("early_hint_of_trailers", [begin(200, length(1), (b"trailer", b"x-t")), piece(b"a")], [200, b"a", "length", True])

FAILED = [500, b"Internal Server Error", "length", True]
response_case("body_first", [piece(b"a")], FAILED, told=["RuntimeError"])
response_case("start_twice", [begin(), begin()], FAILED, told=["RuntimeError"])
response_case("after_the_end", [begin(200, length(1)), piece(b"a"), piece(b"b")], [200, b"a", "length", True], told=["RuntimeError"])
response_case("unknown_event", [{"type": "http.nonsense"}], FAILED, told=["RuntimeError"])
response_case("websocket_event", [{"type": "websocket.accept"}], FAILED, told=["RuntimeError"])
response_case("line_feed_in_a_value", [begin(200, (b"x-a", b"1\r\nx-evil: 1")), piece()], FAILED, told=["ValueError"])
response_case("space_in_a_name", [begin(200, (b"x a", b"1")), piece()], FAILED, told=["ValueError"])
response_case("text_for_bytes", [begin(200, ("x-a", "1")), piece()], FAILED, told=["TypeError"])
response_case("bad_length", [begin(200, (b"content-length", b"-1")), piece()], FAILED, told=["ValueError"])
response_case("longer_than_its_length", [begin(200, length(3)), piece(b"four")], FAILED, told=["RuntimeError"])
response_case("shorter_than_its_length", [begin(200, length(5)), piece(b"four")], FAILED, told=["RuntimeError"])
response_case("shorter_in_pieces", [begin(200, length(5)), piece(b"fo", True), ARRIVED, piece(b"ur")], [200, b"fo", "length", False], told=["RuntimeError"])
response_case("none", [], FAILED)
response_case("head_only", [begin()], FAILED)
response_case("part_only", [begin(), piece(b"part", True), ARRIVED], [200, b"part", "chunked", False])


def trailers_case(name, method, expected):
    """A case of an app that sends trailers where the scope says that it may."""

    def make(seen):
        async def app(scope, _receive, send):
            able = "http.response.trailers" in (scope.get("extensions") or {})
            seen.append(able)
            await send(begin(200, trailers=able))
            await send(piece(b"data"))
            if able:
                await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"6")], "more_trailers": False})
            seen.append("done")

        async def caller(place):
            got = await ask(place, request(b"/", method.encode(), b"TE: trailers"), method)
            return [got.status, got.body, got.framing, got.trailers, got.whole]

        return app, caller

    add(Case(f"trailers_{name}", make, ([True, "done"], expected)))


trailers_case("of_a_get", "GET", [200, b"data", "chunked", [("x-sum", "6")], True])
trailers_case("of_a_head", "HEAD", [200, b"", "none", [], True])


def raising(after):
    """An app that raises after so many of its events."""

    def make(seen):
        begun = asyncio.Event()

        async def app(_scope, _receive, send):
            for event in [begin(), piece(b"part", True)][:after]:
                await send(event)
            if after == 2:
                await begun.wait()
            seen.append("raises")
            raise ValueError("on purpose")

        async def caller(place):
            got = await ask(place, request(), begun=begun)
            return [got.status, got.body, got.framing, got.whole]

        return app, caller

    return make


add(Case("exception_before_the_start", raising(0), (["raises"], FAILED)))
add(Case("exception_after_the_start", raising(1), (["raises"], FAILED)))
add(Case("exception_after_a_part", raising(2), (["raises"], [200, b"part", "chunked", False])))


@case(([], [b"one", b"two", b"three"]))
def each_send_leaves_at_once(seen):
    """The app sends a piece once the caller has the one before."""
    has = asyncio.Queue()

    async def app(_scope, _receive, send):
        await start(send)
        for data in (b"one", b"two", b"three"):
            await body(send, data, True)
            await has.get()
        await body(send)

    async def caller(place):
        got = []
        async with Caller(place.address) as caller:
            caller.writer.write(request())
            await soon(read_head(caller.reader))
            while size := int(await soon(caller.reader.readline()), 16):
                got.append(await soon(caller.reader.readexactly(size)))
                await caller.reader.readexactly(2)
                has.put_nowait(None)
        return got

    return app, caller


@case(([], 200))
def head_leaves_with_an_empty_piece(seen):
    """The specification's way to send a head before there is a body."""
    go = asyncio.Event()

    async def app(_scope, _receive, send):
        await start(send)
        await body(send, b"", True)
        await go.wait()
        await body(send)

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request())
            head = await soon(read_head(caller.reader))
            go.set()
            return head.status

    return app, caller


@case((["after"], (200, b"done")))
def work_after_the_response_delays_nobody(seen):
    go, ended = asyncio.Event(), asyncio.Event()

    async def app(_scope, _receive, send):
        await answer(send, b"done")
        await go.wait()
        seen.append("after")
        ended.set()

    async def caller(place):
        got = await ask(place, request())
        go.set()
        await soon(ended.wait())
        return got.brief()

    return app, caller


@case(([], [b"/1", b"/2", b"/3"]))
def connections_are_reused(seen):
    async def app(scope, receive, send):
        await whole(receive)
        await answer(send, scope["path"].encode())

    async def caller(place):
        got = []
        async with Caller(place.address) as caller:
            for number in range(1, 4):
                caller.writer.write(request(b"/%d" % number, b"POST", b"Content-Length: 1", body=b"x"))
                got.append((await read_answer(caller.reader)).body)
        return got

    return app, caller


@case(([], [b"/1", b"/2", b"/3"]))
def pipelined_requests_are_answered_in_order(seen):
    async def app(scope, _receive, send):
        await answer(send, scope["path"].encode())

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(b"".join(request(b"/%d" % number) for number in range(1, 4)))
            return [(await read_answer(caller.reader)).body for _ in range(3)]

    return app, caller


@case(([], [b"/%d" % number for number in range(50)]))
def many_at_once_get_their_own_answers(seen):
    async def app(scope, _receive, send):
        await asyncio.sleep(0)
        await start(send)
        await body(send, scope["path"].encode(), True)
        await asyncio.sleep(0)
        await body(send)

    async def caller(place):
        calls = [ask(place, request(b"/%d" % number)) for number in range(50)]
        return [got.body for got in await asyncio.gather(*calls)]

    return app, caller


@case((["bytearray", "memoryview"], [b"one", b"two"]))
def bodies_may_be_any_bytes(seen):
    async def app(scope, _receive, send):
        data = bytearray(b"one") if scope["path"] == "/1" else memoryview(b"two")
        seen.append(type(data).__name__)
        await answer(send, data)

    async def caller(place):
        return [(await ask(place, request(path))).body for path in (b"/1", b"/2")]

    return app, caller
