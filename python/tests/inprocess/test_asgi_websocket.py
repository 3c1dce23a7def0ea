"""ASGI's rules for WebSockets, with `websockets` as the caller."""

import asyncio
import logging
import socket

import pytest
from binary import soon
from http11 import read_head
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.asyncio


def websocket(handler):
    """An app of `handler`, which gets the socket after its connect event."""

    async def app(scope, receive, send):
        assert scope["type"] == "websocket"
        assert await receive() == {"type": "websocket.connect"}
        await handler(scope, receive, send)

    return app


async def accept(send, **more):
    """Accept the handshake."""
    await send({"type": "websocket.accept", **more})


async def echo(_scope, receive, send):
    """Accept, and send back what comes until the caller closes."""
    await accept(send)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def call(served, path="/", **more):
    """A caller's WebSocket."""
    return connect(served.ws_url + path, max_size=None, proxy=None, compression=None, **more)


async def test_texts_and_bytes_of_any_size_come_back(serve):
    served = await serve(websocket(echo))
    async with call(served) as caller:
        for message in ("hello", "", "ünï", b"\x00\xff", b"x" * 70_000, "y" * (1 << 20)):
            await soon(caller.send(message))
            assert await soon(caller.recv()) == message


async def test_the_scope_says_what_the_caller_offers(serve):
    seen = asyncio.Queue()

    async def handler(scope, _receive, send):
        seen.put_nowait(scope)
        await accept(send, subprotocol="b", headers=[(b"X-Extra", b"1")])
        await send({"type": "websocket.close"})

    served = await serve(websocket(handler))
    async with call(served, "/chat%20room?x=1", subprotocols=["a", "b"]) as caller:
        assert caller.subprotocol == "b"
        assert caller.response.headers["x-extra"] == "1"
    scope = await soon(seen.get())
    assert (scope["scheme"], scope["path"], scope["query_string"]) == ("ws", "/chat room", b"x=1")
    assert scope["subprotocols"] == ["a", "b"]
    assert "websocket.http.response" in scope["extensions"] and "method" not in scope
    names = [name for name, _ in scope["headers"]]
    assert b"sec-websocket-key" in names and b"upgrade" in names


async def test_a_caller_that_closes_tells_code_and_reason(serve):
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await accept(send)
        seen.put_nowait(await receive())
        try:
            await send({"type": "websocket.send", "text": "late"})
        except OSError as error:
            seen.put_nowait(type(error))

    served = await serve(websocket(handler))
    async with call(served) as caller:
        await caller.close(4001, "enough")
    assert await soon(seen.get()) == {"type": "websocket.disconnect", "code": 4001, "reason": "enough"}
    assert await soon(seen.get()) is ConnectionResetError


async def test_a_caller_that_vanishes_is_1006(serve):
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await accept(send)
        seen.put_nowait(await receive())

    served = await serve(websocket(handler))
    async with call(served) as caller:
        caller.transport.abort()
    assert (await soon(seen.get()))["code"] == 1006


@pytest.mark.parametrize("code, reason", [(1000, ""), (3999, "ünï" * 50)])
async def test_an_app_that_closes_tells_code_and_reason(serve, code, reason):
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await accept(send)
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", "code": code, "reason": reason})
        for event in ({"type": "websocket.send", "text": "more"}, {"type": "websocket.close"}):
            with pytest.raises(RuntimeError):
                await send(event)
        seen.put_nowait((await receive())["type"])

    served = await serve(websocket(handler))
    async with call(served) as caller:
        assert await soon(caller.recv()) == "last"
        with pytest.raises(ConnectionClosed):
            await soon(caller.recv())
    assert caller.close_code == code
    assert reason.startswith(caller.close_reason) and len(caller.close_reason.encode()) <= 123
    assert await soon(seen.get()) == "websocket.disconnect"


async def test_a_handshake_may_be_refused(serve):
    async def handler(scope, _receive, send):
        if scope["path"] == "/close":
            return await send({"type": "websocket.close"})
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"1")]})
        await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"you"})

    served = await serve(websocket(handler))
    for path, status, body in (("/close", 403, b""), ("/response", 401, b"not you")):
        with pytest.raises(InvalidStatus) as refused:
            async with call(served, path):
                pass
        assert (refused.value.response.status_code, refused.value.response.body) == (status, body)


async def test_pings_are_answered_while_the_app_does_not_read(serve):
    go = asyncio.Event()

    async def handler(_scope, _receive, send):
        await accept(send)
        await go.wait()
        await send({"type": "websocket.close"})

    served = await serve(websocket(handler))
    async with call(served) as caller:
        await soon(await caller.ping(b"there?"))
        go.set()
        with pytest.raises(ConnectionClosed):
            await soon(caller.recv())


async def test_of_pings_whose_caller_does_not_read_the_last_is_answered(serve):
    many = 1 << 17
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await accept(send)
        seen.put_nowait(await receive())
        await receive()

    served = await serve(websocket(handler))
    async with served.caller() as caller:
        caller.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        caller.writer.write(HANDSHAKE)
        await soon(read_head(caller.reader))
        pings = (b"\x89\xfd" + MASK + number.to_bytes(125, "big") for number in range(many))
        caller.writer.write(b"".join(pings) + b"\x82\x80" + MASK)
        assert (await soon(seen.get()))["bytes"] == b""
        answers = 0
        while True:
            pong = await soon(caller.reader.readexactly(127))
            assert pong[:2] == b"\x8a\x7d"
            answers += 1
            if int.from_bytes(pong[2:], "big") == many - 1:
                break
        assert answers < many


async def test_an_app_that_raises_closes_with_1011(serve, caplog):
    async def handler(scope, _receive, send):
        if scope["path"] == "/open":
            await accept(send)
        raise ValueError("on purpose")

    served = await serve(websocket(handler))
    with caplog.at_level(logging.ERROR, "anp_proxy"):
        async with call(served, "/open") as caller:
            with pytest.raises(ConnectionClosed):
                await soon(caller.recv())
        assert caller.close_code == 1011
        with pytest.raises(InvalidStatus) as refused:
            async with call(served, "/early"):
                pass
        assert refused.value.response.status_code == 500
    assert len([record for record in caplog.records if record.exc_info]) == 2


async def test_an_app_that_returns_closes_with_1000(serve):
    async def handler(_scope, _receive, send):
        await accept(send)

    served = await serve(websocket(handler))
    async with call(served) as caller:
        with pytest.raises(ConnectionClosed):
            await soon(caller.recv())
    assert caller.close_code == 1000


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASK = b"\0\0\0\0"


@pytest.mark.parametrize(
    "frame, code",
    [
        (b"\x81\x05hello", 1002),  # no mask
        (b"\xc1\x80" + MASK, 1002),  # a reserved bit
        (b"\x83\x80" + MASK, 1002),  # a reserved opcode
        (b"\x81\x81" + MASK + b"\xff", 1007),  # no UTF-8
        (b"\x82\xff" + (2048).to_bytes(8, "big") + MASK, 1009),  # above max_message
        (b"\x82\xff" + b"\xff" * 8 + MASK, None),  # a length that is none
        (b"\x09\x80" + MASK, 1002),  # a fragmented ping
    ],
)
async def test_frames_that_break_the_rules_close_the_socket(serve, frame, code):
    seen = asyncio.Queue()

    async def handler(_scope, receive, send):
        await accept(send)
        seen.put_nowait((await receive())["type"])

    served = await serve(websocket(handler), max_message=1024)
    async with served.caller() as caller:
        caller.writer.write(HANDSHAKE)
        head = await soon(read_head(caller.reader))
        assert head.value("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        caller.writer.write(frame)
        closed = await soon(caller.reader.readexactly(4))
        assert closed[:2] == b"\x88\x02"
        if code is not None:
            assert int.from_bytes(closed[2:], "big") == code
    assert await soon(seen.get()) == "websocket.disconnect"


async def test_a_caller_that_does_not_read_suspends_send(serve):
    sent, ended = [], asyncio.Event()

    async def handler(scope, receive, send):
        if scope["path"] == "/echo":
            return await echo(scope, receive, send)
        await accept(send)
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(64 << 10)})
                sent.append(64 << 10)
        except OSError:
            ended.set()
            raise

    served = await serve(websocket(handler))
    async with served.caller() as caller, call(served, "/echo") as other:
        caller.writer.write(HANDSHAKE)
        await soon(read_head(caller.reader))
        before = None
        while before != len(sent):
            before = len(sent)
            for _ in range(100):
                await soon(other.send("still there"))
                await soon(other.recv())
        assert sum(sent) < 64 << 20
        caller.leave()
        await soon(ended.wait())
