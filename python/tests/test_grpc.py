"""gRPC by its own library: through the tunnel as without one."""

import asyncio
import contextlib

import grpc
import pytest
import pytest_asyncio

import binary
from binary import soon

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIZES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
FOUR_MIB = bytes(range(256)) * (16 << 10)


class Service:
    """A service without a schema: messages are bytes."""

    def __init__(self):
        self.cancelled = asyncio.Queue()
        self.seen = asyncio.Queue()

    def handlers(self):
        """What the server is to serve."""
        return grpc.method_handlers_generic_handler("t.T", {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailMidway": grpc.unary_stream_rpc_method_handler(self.fail_midway),
            "Meta": grpc.unary_unary_rpc_method_handler(self.meta),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "Tokens": grpc.unary_stream_rpc_method_handler(self.tokens),
        })

    async def unary(self, request, _context):
        return request

    async def down(self, request, _context):
        for n in range(int(request)):
            yield b"%d" % n

    async def up(self, requests, _context):
        return b"|".join([request async for request in requests])

    async def both(self, requests, _context):
        async for request in requests:
            yield request[::-1]

    async def fail(self, request, context):
        code, _, details = request.decode().partition(":")
        await context.abort(grpc.StatusCode[code], details, (("x-why", "because"), ("x-why-bin", b"\xff\0")))

    async def fail_midway(self, _request, context):
        yield b"one"
        yield b"two"
        await context.abort(grpc.StatusCode.DATA_LOSS, "midway, 50 % gone, caf\u00e9")

    async def meta(self, _request, context):
        got = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
        await context.send_initial_metadata([("x-initial-bin", b"\0\1\xfe"), ("x-initial", "1")])
        context.set_trailing_metadata([*got, ("x-last", "1")])
        return b""

    async def wait(self, request, context):
        self.seen.put_nowait(context.time_remaining())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.put_nowait(request)
            raise

    async def tokens(self, request, _context):
        n = 0
        try:
            while True:
                yield b"%d" % n
                await self.seen.get()
                n += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.put_nowait(request)
            raise


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["direct", "tunnel"])
async def called(request):
    """`(service, channel)`: the channel leads to the server itself, or to the public port of a gateway."""
    async with contextlib.AsyncExitStack() as stack:
        service = Service()
        server = grpc.aio.server(options=SIZES)
        server.add_generic_rpc_handlers((service.handlers(),))
        target = "127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, None)
        if request.param == "tunnel":
            gateway = await stack.enter_async_context(binary.gateway())
            public, inner = await gateway.address("public"), await gateway.address("tunnel")
            receiver = await stack.enter_async_context(binary.receiver(f"ws://{inner}", f"h2c://{target}"))
            await receiver.ready()
            target = public
        yield service, await stack.enter_async_context(grpc.aio.insecure_channel(target, options=SIZES))


async def test_unary(called):
    _, channel = called
    for message in (b"", b"x", b"hello" * 1000):
        assert await soon(channel.unary_unary("/t.T/Unary")(message)) == message


async def test_server_streams(called):
    _, channel = called
    assert [part async for part in channel.unary_stream("/t.T/Down")(b"200")] == [b"%d" % n for n in range(200)]
    assert [part async for part in channel.unary_stream("/t.T/Down")(b"0")] == []


async def test_client_streams(called):
    _, channel = called

    async def parts():
        for n in range(200):
            yield b"%d" % n

    assert await soon(channel.stream_unary("/t.T/Up")(parts())) == b"|".join(b"%d" % n for n in range(200))


async def test_both_stream_in_turns(called):
    _, channel = called
    call = channel.stream_stream("/t.T/Both")()
    for n in range(50):
        await call.write(b"<%d>" % n)
        assert await soon(call.read()) == (b"<%d>" % n)[::-1]
    await call.done_writing()
    assert await soon(call.read()) is grpc.aio.EOF
    assert await call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize("code", ["NOT_FOUND", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"])
async def test_a_failure_without_a_message_is_trailers_only(called, code):
    _, channel = called
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await soon(channel.unary_unary("/t.T/Fail")(f"{code}:caf\u00e9 at 50 %\n".encode()))
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode[code], "caf\u00e9 at 50 %\n")
    trailers = dict(raised.value.trailing_metadata())
    assert (trailers["x-why"], trailers["x-why-bin"]) == ("because", b"\xff\0")


async def test_a_method_nobody_has(called):
    _, channel = called
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await soon(channel.unary_unary("/t.T/Nothing")(b""))
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_failure_midway(called):
    _, channel = called
    got = []
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for part in channel.unary_stream("/t.T/FailMidway")(b""):
            got.append(part)
    assert got == [b"one", b"two"]
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.DATA_LOSS, "midway, 50 % gone, caf\u00e9")


async def test_metadata_both_ways(called):
    _, channel = called
    sent = [("x-a", "1"), ("x-data-bin", bytes(range(256))), ("x-a", "2"), ("x-empty", "")]
    call = channel.unary_unary("/t.T/Meta")(b"", metadata=sent)
    await soon(call)
    initial = list(await call.initial_metadata())
    assert ("x-initial-bin", b"\0\1\xfe") in initial and ("x-initial", "1") in initial
    back = [(key, value) for key, value in await call.trailing_metadata()]
    assert [item for item in back if item[0] == "x-a"] == [("x-a", "1"), ("x-a", "2")]
    assert ("x-data-bin", bytes(range(256))) in back and ("x-empty", "") in back and ("x-last", "1") in back


async def test_a_deadline_reaches_the_server(called):
    service, channel = called
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await soon(channel.unary_unary("/t.T/Wait")(b"deadline", timeout=1))
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < await soon(service.seen.get()) < 10
    assert await soon(service.cancelled.get()) == b"deadline"


async def test_cancelling_reaches_the_server(called):
    service, channel = called
    call = channel.unary_unary("/t.T/Wait")(b"cancelled")
    sending = asyncio.ensure_future(call.wait_for_connection())
    await soon(service.seen.get())
    call.cancel()
    assert await soon(service.cancelled.get()) == b"cancelled"
    await asyncio.gather(sending, return_exceptions=True)


async def test_cancelling_a_stream_reaches_the_server(called):
    service, channel = called
    call = channel.unary_stream("/t.T/Tokens")(b"stream")
    for n in range(5):
        assert await soon(call.read()) == b"%d" % n
        service.seen.put_nowait(None)
    call.cancel()
    assert await soon(service.cancelled.get()) == b"stream"
    while not service.seen.empty():
        service.seen.get_nowait()


async def test_messages_of_four_mebibytes(called):
    _, channel = called
    assert await soon(channel.unary_unary("/t.T/Unary")(FOUR_MIB)) == FOUR_MIB
    call = channel.stream_stream("/t.T/Both")()
    await call.write(FOUR_MIB)
    assert await soon(call.read()) == FOUR_MIB[::-1]
    await call.done_writing()


async def test_fifty_calls_at_once(called):
    _, channel = called
    unary, both = channel.unary_unary("/t.T/Unary"), channel.stream_stream("/t.T/Both")

    async def stream(n):
        async def parts():
            for part in range(10):
                yield b"%d,%d" % (n, part)

        assert [part async for part in both(parts())] == [(b"%d,%d" % (n, part))[::-1] for part in range(10)]

    async def one(n):
        message = b"%d " % n * 5000
        assert await unary(message) == message

    await soon(asyncio.gather(*((stream if n % 2 else one)(n) for n in range(50))))
