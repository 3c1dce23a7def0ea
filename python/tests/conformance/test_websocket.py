"""WebSocket by the `websockets` package at both ends: direct, through the tunnel, and over HTTP/2.

Over HTTP/2 (RFC 8441) the package's protocol without its sockets speaks on a stream of an extended
CONNECT.
"""

import asyncio
import contextlib

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode, Opcode

import binary
from binary import soon

from . import http2
from .websocket2 import Over2, Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")
COLUMNS = ["direct-h1", "tunnel-h1", "tunnel-h2"]
BIG = bytes(range(256)) * (64 << 10)
"""16 MiB."""


class Server:
    """The app: what it does is in the path."""

    def __init__(self):
        self.closed = asyncio.Queue()

    async def __call__(self, socket):
        what = socket.request.path.strip("/").split("?")[0]
        if what == "close":
            await socket.close(4321, "enough")
        elif what == "gone":
            socket.transport.abort()
        elif what == "ping":
            await (await socket.ping(b"are you there"))
            await socket.send("there")
        elif what == "request":
            await socket.send("\n".join(f"{name.lower()}: {value}" for name, value in socket.request.headers.raw_items()))
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                await socket.send(message)
        self.closed.put_nowait((socket.close_code, socket.close_reason))

    def refuse(self, connection, request):
        """Answers before the upgrade where the path says so."""
        if request.path == "/refused":
            return connection.respond(403, "not you\n")
        return None

    def choose(self, _connection, offered):
        """The last subprotocol offered."""
        return offered[-1] if offered else None


class Column:
    """Where a test's client connects, and how."""

    def __init__(self, address, over2, server):
        self.address, self.over2, self.server = address, over2, server

    def client(self, path, fields=(), **more):
        """`async with`: a client; `websockets`' own, or one over HTTP/2."""
        more.setdefault("compression", None)
        if self.over2:
            return Over2.connect(self.address, path, list(fields), **more)
        return connect(f"ws://{self.address}{path}", additional_headers=list(fields), max_size=None, proxy=None,
                       user_agent_header=None, **more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table():
    """All columns by name."""
    app = Server()
    async with serve(app, "127.0.0.1", 0, process_request=app.refuse, select_subprotocol=app.choose,
                     max_size=None, server_header=None) as server, binary.gateway() as gateway:
        address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", f"http://{address}") as receiver:
            await receiver.ready()
            yield dict(zip(COLUMNS, [Column(address, False, app), Column(public, False, app), Column(public, True, app)],
                           strict=True))


@pytest.fixture(params=COLUMNS)
def column(table, request):
    """One column."""
    return table[request.param]


async def test_text_and_binary(column):
    async with column.client("/echo") as client:
        for message in ("", "text", "caf\u00e9 ☕" * 1000, b"", b"\0\xff" * 40_000, "x" * 125, "x" * 126, b"x" * 65_536):
            await client.send(message)
            assert await soon(client.recv()) == message


async def test_sixteen_mebibytes(column):
    async with column.client("/echo") as client:
        sending = asyncio.ensure_future(client.send(BIG))
        assert await soon(client.recv()) == BIG
        await sending


async def test_pings_of_the_caller(column):
    async with column.client("/echo") as client:
        waiter = await client.ping(b"hello")
        if column.over2:
            frame = await soon(client.frame())
            assert (frame.opcode, bytes(frame.data)) == (Opcode.PONG, b"hello")
        else:
            await soon(waiter)


async def test_pings_of_the_app(column):
    async with column.client("/ping") as client:
        assert await soon(client.recv()) == "there"


async def test_the_caller_closes(column):
    async with column.client("/echo") as client:
        await client.send("x")
        assert await soon(client.recv()) == "x"
        while not column.server.closed.empty():
            column.server.closed.get_nowait()
        await soon(client.close(4007, "thanks, bye"))
        assert await soon(column.server.closed.get()) == (4007, "thanks, bye")


async def test_the_app_closes(column):
    async with column.client("/close") as client:
        if column.over2:
            await soon(client.ended())
            assert (client.protocol.close_code, client.protocol.close_reason) == (4321, "enough")
        else:
            with pytest.raises(ConnectionClosed):
                await soon(client.recv())
            assert (client.close_code, client.close_reason) == (4321, "enough")


async def test_an_app_that_vanishes_says_no_goodbye(column):
    async with column.client("/gone") as client:
        if column.over2:
            with contextlib.suppress(http2.Broken):
                assert await soon(client.frame()) is None
            assert client.protocol.close_rcvd is None
        else:
            with pytest.raises(ConnectionClosed):
                await soon(client.recv())
            assert client.close_code == CloseCode.ABNORMAL_CLOSURE


async def test_subprotocols(column):
    async with column.client("/echo", subprotocols=["other", "chat.v1"]) as client:
        assert client.subprotocol == "chat.v1"
        await client.send("x")
        assert await soon(client.recv()) == "x"


async def test_compression_is_left_to_the_ends(column):
    async with column.client("/request", compression="deflate") as client:
        fields = await soon(client.recv())
        assert "sec-websocket-extensions: permessage-deflate" in fields
        for message in ("again and again " * 10_000, b"\0" * 100_000):
            await client.send(message)
            assert await soon(client.recv()) == message
        assert client.protocol.extensions


async def test_the_app_sees_the_callers_request(column):
    fields = [("x-a", "1"), ("Cookie", "a=1; b=2"), ("x-a", "2"), ("Origin", "http://page.example"), ("Authorization", "Bearer x")]
    async with column.client("/request?q=1", fields) as client:
        lines = (await soon(client.recv())).split("\n")
        for line in ("x-a: 1", "x-a: 2", "cookie: a=1; b=2", "origin: http://page.example", "authorization: Bearer x"):
            assert line in lines
        assert len([line for line in lines if line.startswith("sec-websocket-key: ")]) == 1
        assert f"host: {column.address}" in lines


async def test_a_refusal_is_an_ordinary_answer(column):
    with pytest.raises((InvalidStatus, Refused)) as raised:
        async with column.client("/refused"):
            pass
    if column.over2:
        answer = raised.value.args[0]
        assert (answer.status, answer.body) == (403, b"not you\n")
    else:
        answer = raised.value.response
        assert (answer.status_code, answer.body) == (403, b"not you\n")


async def test_fifty_at_once(column):
    async def one(n):
        async with column.client("/echo") as client:
            for turn in range(10):
                await client.send(f"{n},{turn}")
                assert await client.recv() == f"{n},{turn}"

    await soon(asyncio.gather(*(one(n) for n in range(50))))
