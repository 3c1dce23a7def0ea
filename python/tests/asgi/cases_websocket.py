"""WebSockets, with `websockets` as the caller."""

import asyncio

from binary import soon
from http11 import Caller, read_head
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .case import Case, add, attempt, case, sent_fields

CLOSE_1000 = {"type": "websocket.close"}


def call(place, path="/", **more):
    """A caller's WebSocket."""
    more = {"compression": None, "max_size": None, **more}
    return connect(f"ws://{place.address}{path}", proxy=None, close_timeout=5, **more)


async def opened(receive, send, **more):
    """Take the connect event and accept."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", **more})


async def refusal(place, **more):
    """Status and body of a handshake that is refused; the close code of one that is not."""
    try:
        async with call(place, **more) as caller:
            return await closing(caller)
    except InvalidStatus as refused:
        return refused.response.status_code, bytes(refused.response.body or b"")


async def closing(caller):
    """The close code and reason that come."""
    try:
        while True:
            await soon(caller.recv())
    except ConnectionClosed:
        return caller.close_code, caller.close_reason


def echo_case(name, messages, expected=None, **more):
    """A case where `messages` come back one by one, as they were or as `expected`."""

    def make(seen):
        async def app(_scope, receive, send):
            await opened(receive, send)
            while (event := await receive())["type"] == "websocket.receive":
                text, data = event.get("text"), event.get("bytes")
                seen.append("text" if text is not None else "bytes")
                await send({"type": "websocket.send", "bytes": data} if text is None else {"type": "websocket.send", "text": text})

        async def caller(place):
            got = []
            async with call(place, **more) as caller:
                for message in messages:
                    await soon(caller.send(message))
                    got.append(await soon(caller.recv()))
            return got

        return app, caller

    whole = [joined(message) for message in messages]
    kinds = ["text" if isinstance(message, str) else "bytes" for message in whole]
    add(Case(f"ws_{name}", make, (kinds, expected or whole)))


def joined(message):
    """A message that is sent in fragments, whole."""
    return type(message[0])().join(message) if isinstance(message, list) else message


echo_case("text", ["hello", "again"])
echo_case("bytes", [b"\0\xff", b"x"])
echo_case("text_and_bytes", ["a", b"b", "c"])
echo_case("empty", ["", b""])
echo_case("unicode", ["ünï \U0001f600 \0"])
echo_case("large_text", ["x" * (1 << 20)])
echo_case("large_bytes", [b"x" * (1 << 20)])
echo_case("lengths", [b"x" * number for number in (125, 126, 65535, 65536)])
echo_case("fragments", [["he", "l", "", "lo"], [b"a" * 70_000, b"b"]])
echo_case("many", [str(number) for number in range(200)])


def app_case(name, run, expected, talk=refusal, **settings):
    """A case of an app's part `run(scope, receive, send, seen)` and a caller's `talk(place)`."""

    def make(seen):
        async def app(scope, receive, send):
            await run(scope, receive, send, seen)

        return app, talk

    add(Case(f"ws_{name}", make, expected, settings))


async def scope(scope, receive, send, seen):
    """Note what the scope says."""
    seen.extend([scope["type"], scope["scheme"], scope["path"], scope["raw_path"], scope["query_string"], scope["subprotocols"]])
    seen.append("method" in scope)
    seen.append(sorted(scope.get("extensions") or {}))
    seen.append(await receive())
    await send(CLOSE_1000)


app_case(
    "scope", scope,
    (["websocket", "ws", "/a b", b"/a%20b", b"x=1", ["a", "b"], False, ["websocket.http.response"], {"type": "websocket.connect"}], (403, b"")),
    talk=lambda place: refusal(place, path="/a%20b?x=1", subprotocols=["a", "b"]),
)


async def headers(scope, _receive, send, seen):
    """Note the header fields that a handshake must have."""
    fields = dict(sent_fields(scope))
    seen.extend([fields[b"upgrade"].lower(), fields[b"connection"].lower(), fields[b"sec-websocket-version"], b"sec-websocket-key" in fields])
    await send(CLOSE_1000)


app_case("headers", headers, ([b"websocket", b"upgrade", b"13", True], (403, b"")))


def accept_case(name, accepts, look, expected, **more):
    """A case of what an app accepts with, and what of it the caller sees."""

    async def run(_scope, receive, send, _seen):
        await opened(receive, send, **accepts)
        await send(CLOSE_1000)

    async def talk(place):
        async with call(place, **more) as caller:
            return look(caller)

    app_case(name, run, ([], expected), talk)


accept_case("subprotocol", {"subprotocol": "b"}, lambda caller: caller.subprotocol, "b", subprotocols=["a", "b"])
accept_case("no_subprotocol", {}, lambda caller: caller.subprotocol, None, subprotocols=["a", "b"])
accept_case("subprotocol_none", {"subprotocol": None, "headers": []}, lambda caller: caller.subprotocol, None)
accept_case(
    "accept_headers", {"headers": [(b"X-Extra", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]},
    lambda caller: (caller.response.headers["x-extra"], caller.response.headers.get_all("set-cookie")), ("1", ["a=1", "b=2"]),
)
accept_case(
    "compression", {}, lambda caller: caller.response.headers.get("sec-websocket-extensions"), None, compression="deflate"
)


async def deny(_scope, receive, send, _seen):
    """Refuse with the default."""
    await receive()
    await send(CLOSE_1000)


async def deny_with(_scope, receive, send, _seen):
    """Refuse with a response of two pieces."""
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"1"), (b"content-length", b"7")]})
    await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"you"})


async def raises_at_once(_scope, _receive, _send, _seen):
    """Raise before the answer."""
    raise ValueError("on purpose")


async def returns_at_once(_scope, _receive, _send, _seen):
    """Return before the answer."""


async def raises_open(_scope, receive, send, _seen):
    """Raise behind the answer."""
    await opened(receive, send)
    raise ValueError("on purpose")


async def returns_open(_scope, receive, send, _seen):
    """Return without a close."""
    await opened(receive, send)


app_case("denied", deny, ([], (403, b"")))
app_case("denied_with_a_response", deny_with, ([], (401, b"not you")))
app_case("app_raises_at_once", raises_at_once, ([], (500, b"Internal Server Error")))
app_case("app_returns_at_once", returns_at_once, ([], (500, b"Internal Server Error")))
app_case("app_raises_open", raises_open, ([], (1011, "")))
app_case("app_returns_open", returns_open, ([], (1000, "")))


def close_case(name, event, expected):
    """A case of how the app closes."""

    async def run(_scope, receive, send, seen):
        await opened(receive, send)
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", **event})
        seen.append((await receive())["type"])

    app_case(f"app_closes_{name}", run, (["websocket.disconnect"], expected))


close_case("plainly", {}, (1000, ""))
close_case("with_code", {"code": 4001}, (4001, ""))
close_case("with_code_and_reason", {"code": 1008, "reason": "no more ü"}, (1008, "no more ü"))
close_case("with_reason_none", {"code": 1001, "reason": None}, (1001, ""))


def caller_closes(name, leave, expected):
    """A case of how the caller closes, and what the app is told."""

    def make(seen):
        told = asyncio.Event()

        async def app(_scope, receive, send):
            await opened(receive, send)
            event = await receive()
            seen.append((event["type"], event["code"], event.get("reason") or ""))
            if leave is not vanish:
                seen.append((await receive())["type"])
            try:
                await send({"type": "websocket.send", "text": "late"})
                seen.append("nothing")
            except Exception as error:
                seen.append(attempt(error))
            told.set()

        async def caller(place):
            async with call(place) as caller:
                await leave(caller)
            await soon(told.wait())

        return app, caller

    again = [] if leave is vanish else ["websocket.disconnect"]
    add(Case(f"ws_caller_closes_{name}", make, ([*expected, *again, "OSError"], None)))


async def vanish(caller):
    """End the connection without a word. (A second `receive` never returns from uvicorn then.)"""
    caller.transport.abort()


caller_closes("plainly", lambda caller: caller.close(), [("websocket.disconnect", 1000, "")])
caller_closes("with_code_and_reason", lambda caller: caller.close(4002, "enough ü"), [("websocket.disconnect", 4002, "enough ü")])
caller_closes("by_vanishing", vanish, [("websocket.disconnect", 1006, "")])


def wrong_case(name, events, expected):
    """A case of an app that sends events in a wrong order; it notes what it is told, and ends by it."""

    async def run(_scope, receive, send, seen):
        await receive()
        for event in events:
            try:
                await send(event)
            except Exception as error:
                seen.append(attempt(error))
                raise

    app_case(f"wrong_{name}", run, (["RuntimeError"], expected))


ACCEPT = {"type": "websocket.accept"}
SEND = {"type": "websocket.send", "text": "x"}
wrong_case("send_first", [SEND], (500, b"Internal Server Error"))
wrong_case("accept_twice", [ACCEPT, ACCEPT], (1011, ""))
wrong_case("response_after_accept", [ACCEPT, {"type": "websocket.http.response.start", "status": 200, "headers": []}], (1011, ""))
wrong_case("send_after_close", [ACCEPT, CLOSE_1000, SEND], (1000, ""))
wrong_case("close_twice", [ACCEPT, CLOSE_1000, CLOSE_1000], (1000, ""))
wrong_case("accept_after_denial", [CLOSE_1000, ACCEPT], (403, b""))
wrong_case("http_event", [{"type": "http.response.start", "status": 200, "headers": []}], (500, b"Internal Server Error"))


@case((["alive"], True))
def ws_pings_are_answered_while_the_app_does_something_else(seen):
    go = asyncio.Event()

    async def app(_scope, receive, send):
        await opened(receive, send)
        await go.wait()
        seen.append("alive")
        await send(CLOSE_1000)

    async def caller(place):
        async with call(place) as caller:
            await soon(await caller.ping(b"there?"))
            go.set()
            await closing(caller)
            return True

    return app, caller


@case((["websocket.disconnect"], (1009, True)))
def ws_too_large_a_message(seen):
    async def app(_scope, receive, send):
        await opened(receive, send)
        seen.append((await receive())["type"])

    async def caller(place):
        async with call(place) as caller:
            try:
                await soon(caller.send(bytes((1 << 20) + 1)))
                await soon(caller.recv())
            except ConnectionClosed:
                pass
            return caller.close_code, True

    return app, caller


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame_case(name, frame, code):
    """A case of a frame that breaks the rules: the close code that it gets."""

    def make(seen):
        told = asyncio.Event()

        async def app(_scope, receive, send):
            await opened(receive, send)
            seen.append((await receive())["type"])
            told.set()

        async def caller(place):
            async with Caller(place.address) as caller:
                caller.writer.write(HANDSHAKE)
                assert (await soon(read_head(caller.reader))).status == 101
                caller.writer.write(frame)
                head = await soon(caller.reader.readexactly(2))
                closed = await soon(caller.reader.readexactly(head[1] & 0x7F))
                await soon(told.wait())
                return (head[0], int.from_bytes(closed[:2], "big"))

        return app, caller

    add(Case(f"ws_frame_{name}", make, (["websocket.disconnect"], (0x88, code))))


MASK = b"\0\0\0\0"
frame_case("without_a_mask", b"\x81\x05hello", 1002)
frame_case("with_a_reserved_bit", b"\xc1\x80" + MASK, 1002)
frame_case("with_a_reserved_opcode", b"\x83\x80" + MASK, 1002)
frame_case("of_bad_utf8", b"\x81\x81" + MASK + b"\xff", 1007)
frame_case("that_fragments_a_ping", b"\x09\x80" + MASK, 1002)


@case(([], 400))
def ws_handshake_of_another_version(seen):
    async def app(scope, _receive, send):
        seen.append(scope["type"])
        await send({"type": "http.response.start", "status": 426, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def caller(place):
        async with Caller(place.address) as caller:
            caller.writer.write(HANDSHAKE.replace(b"Version: 13", b"Version: 12"))
            return (await soon(read_head(caller.reader))).status

    return app, caller
