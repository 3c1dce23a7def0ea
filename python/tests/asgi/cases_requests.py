"""Bodies of requests, and callers that leave."""

import asyncio

from binary import soon
from http11 import Caller

from .case import Case, add, answer, ask, body, case, read_answer, request, start, whole

MIB = 1 << 20


def body_case(name, sent, expected, status=200, **more):
    """A case where the app notes the whole body, or its length where that is large."""

    def make(seen):
        async def app(_scope, receive, send):
            data = await whole(receive)
            seen.append(data if data is None or len(data) < 100 else (len(data), data[:3], data[-3:]))
            await answer(send, b"")

        async def caller(place):
            return (await ask(place, sent)).status

        return app, caller

    add(Case(f"body_{name}", make, ([expected], status), more))


LARGE = b"abc" + b"x" * MIB + b"xyz"
CHUNKED = b"Transfer-Encoding: chunked"
body_case("small", request(b"/", b"POST", b"Content-Length: 4", body=b"data"), b"data")
body_case("of_a_get", request(b"/", b"GET", b"Content-Length: 4", body=b"data"), b"data")
body_case("of_a_delete", request(b"/", b"DELETE", b"Content-Length: 4", body=b"data"), b"data")
body_case("of_length_0", request(b"/", b"POST", b"Content-Length: 0"), b"")
body_case("none", request(b"/", b"GET"), b"")
body_case("none_of_a_post", request(b"/", b"POST"), b"")
body_case("chunked", request(b"/", b"POST", CHUNKED, body=b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), b"onetwo")
body_case("chunked_get", request(b"/", b"GET", CHUNKED, body=b"3\r\none\r\n0\r\n\r\n"), b"one")
body_case("chunked_empty", request(b"/", b"POST", CHUNKED, body=b"0\r\n\r\n"), b"")
body_case("chunked_with_extension", request(b"/", b"POST", CHUNKED, body=b"3;a=b\r\none\r\n0\r\n\r\n"), b"one")
body_case("chunked_with_trailers", request(b"/", b"POST", CHUNKED, body=b"3\r\none\r\n0\r\nX-T: 1\r\n\r\n"), b"one")
body_case("large", request(b"/", b"POST", b"Content-Length: %d" % len(LARGE), body=LARGE), (len(LARGE), b"abc", b"xyz"))
body_case(
    "large_chunked", request(b"/", b"POST", CHUNKED, body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(LARGE), LARGE)),
    (len(LARGE), b"abc", b"xyz"),
)
body_case("of_all_bytes", request(b"/", b"PUT", b"Content-Length: 256", body=bytes(range(256))), (256, b"\0\1\2", b"\xfd\xfe\xff"))


@case(([True, False], 200))
def body_fields_tell_its_length(seen):
    """`content-length` stays; `transfer-encoding` is not there beside it."""

    async def app(scope, receive, send):
        names = [name for name, _ in scope["headers"]]
        seen.extend([b"content-length" in names, b"transfer-encoding" in names])
        await whole(receive)
        await answer(send)

    async def caller(place):
        return (await ask(place, request(b"/", b"POST", b"Content-Length: 4", body=b"data"))).status

    return app, caller


@case(([(b"", False), "http.disconnect"], 200))
def receive_after_the_body_waits_for_the_end(seen):
    async def app(_scope, receive, send):
        event = await receive()
        seen.append((event.get("body"), event.get("more_body", False)))
        after = asyncio.ensure_future(receive())
        await answer(send)
        seen.append((await after)["type"])

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request())
            return (await read_answer(caller.reader)).status

    return app, caller


@case((["http.disconnect"], 200))
def receive_after_the_response_is_a_disconnect(seen):
    async def app(_scope, receive, send):
        await answer(send)
        seen.append((await receive())["type"])

    async def caller(place):
        return (await ask(place, request())).status

    return app, caller


@case((["one", "two", "end"], 200))
def body_arrives_as_it_is_sent(seen):
    """The caller sends a piece once the app has the one before."""
    has = asyncio.Event()

    async def app(_scope, receive, send):
        while (event := await receive())["more_body"]:
            if event["body"]:
                seen.append(event["body"].decode())
                has.set()
        seen.append(event["body"].decode() or "end")
        await answer(send)

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request(b"/", b"POST", CHUNKED))
            for part in (b"one", b"two"):
                has.clear()
                await caller.send_chunk(part)
                await soon(has.wait())
            await caller.send_chunk(b"")
            return (await read_answer(caller.reader)).status

    return app, caller


@case(([], (200, 200)))
def body_that_nobody_reads_is_no_request(seen):
    """The connection may end or go on; what follows on it is a request of its own."""

    async def app(scope, _receive, send):
        await answer(send, scope["method"].encode())

    async def caller(place):
        inside = request(b"/inside", b"DELETE")
        first = await ask(place, request(b"/", b"POST", b"Content-Length: %d" % len(inside), body=inside))
        second = await ask(place, request())
        assert (first.body, second.body) in ((b"POST", b"GET"),)
        return first.status, second.status

    return app, caller


@case((["http.disconnect"], None))
def disconnect_in_the_middle_of_a_body(seen):
    told, begun = asyncio.Event(), asyncio.Event()

    async def app(_scope, receive, _send):
        begun.set()
        while (event := await receive())["type"] == "http.request":
            pass
        seen.append(event["type"])
        told.set()

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request(b"/", b"POST", b"Content-Length: 10", body=b"part"))
            await soon(begun.wait())
        await soon(told.wait())

    return app, caller


@case((["http.disconnect", "http.disconnect"], None))
def disconnect_while_receive_waits(seen):
    told, begun = asyncio.Event(), asyncio.Event()

    async def app(_scope, receive, _send):
        await whole(receive)
        begun.set()
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])
        told.set()

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request())
            await soon(begun.wait())
        await soon(told.wait())

    return app, caller


@case((["http.disconnect", "OSError"], None))
def send_after_a_disconnect(seen):
    told, begun = asyncio.Event(), asyncio.Event()

    async def app(_scope, receive, send):
        await whole(receive)
        await start(send)
        await body(send, b"first", True)
        begun.set()
        seen.append((await receive())["type"])
        try:
            await body(send, b"more", True)
            seen.append("nothing")
        except Exception as error:
            seen.append("OSError" if isinstance(error, OSError) else type(error).__name__)
        told.set()

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request())
            await soon(begun.wait())
        await soon(told.wait())

    return app, caller


@case((["stopped"], True))
def send_without_end_to_a_caller_that_leaves(seen):
    """A generation that nobody reads stops: by an exception of `send`, or because the app looks."""
    told = asyncio.Event()

    async def app(_scope, receive, send):
        await whole(receive)
        gone = asyncio.ensure_future(receive())
        await start(send)
        try:
            while not gone.done():
                await body(send, bytes(1 << 14), True)
                await asyncio.sleep(0)
        except OSError:
            pass
        gone.cancel()
        seen.append("stopped")
        told.set()

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request())
            got = await soon(caller.reader.readexactly(1 << 16))
        await soon(told.wait())
        return len(got) == 1 << 16

    return app, caller


def expecting(reads):
    """A caller that waits for 100 before it sends its body."""

    def make(seen):
        async def app(_scope, receive, send):
            if reads:
                seen.append(await whole(receive))
            await answer(send)

        async def caller(place):
            async with Caller(place.address) as caller:
                caller.writer.write(request(b"/", b"POST", b"Content-Length: 4", b"Expect: 100-continue"))
                first = await soon(caller.reader.readuntil(b"\r\n\r\n"))
                status = int(first.split(b" ")[1])
                if status == 100:
                    caller.writer.write(b"data")
                    return [100, (await read_answer(caller.reader)).status]
                return [status]

        return app, caller

    return make


add(Case("expect_100_of_an_app_that_reads", expecting(True), ([b"data"], [100, 200])))
add(Case("expect_100_of_an_app_that_does_not_read", expecting(False), ([], [200])))


@case((["before the end"], (200, b"early")))
def answer_before_the_body_is_whole(seen):
    async def app(_scope, receive, send):
        event = await receive()
        seen.append("before the end" if event["more_body"] else "after it")
        await answer(send, b"early")

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(request(b"/", b"POST", b"Content-Length: 1000000", body=b"part"))
            return (await read_answer(caller.reader)).brief()

    return app, caller


def bad_case(name, sent, expected=([], 400)):
    """A request that is none: the app is not called, or not given a whole one."""

    def make(seen):
        async def app(_scope, receive, send):
            if await whole(receive) is None:
                return
            seen.append("called")
            await answer(send)

        async def caller(place):
            return (await ask(place, sent)).status

        return app, caller

    add(Case(f"bad_{name}", make, expected))


bad_case("both_lengths", request(b"/", b"POST", b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"))
bad_case("two_lengths", request(b"/", b"POST", b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"))
bad_case("length", request(b"/", b"POST", b"Content-Length: 5x", body=b"hello"))
bad_case("name_with_a_space", request(b"/", b"GET", b"X A: 1"))
bad_case("nul_in_a_value", request(b"/", b"GET", b"X-A: a\0b"))
bad_case("version", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n")
bad_case("no_host", b"GET / HTTP/1.1\r\n\r\n")
bad_case("no_request_line", b"\0\1\2\r\n\r\n")
body_case("of_first_slashes", request(b"//evil.example/a"), b"")
