"""A gateway that takes the place of another: nothing is lost."""

import asyncio
import contextlib
import os
import signal
import socket
import stat

import pytest

import binary
import http11
from binary import soon

pytestmark = pytest.mark.asyncio
REPLACEMENTS = 20
HALF = b"x" * 100_000


def gateway(public, tunnel, control, *more):
    """A gateway on these addresses that can be replaced."""
    return binary.Proxy(
        "gateway", "--listen", public, "--tunnel-listen", tunnel, "--set", f"gateway.control_socket={control}", *more,
    )


class App:
    """Echoes uploads; a stream under /events ends when the test says so."""

    def __init__(self):
        self.go = asyncio.Event()

    async def __call__(self, head, reader, writer):
        if "/events" in head.line:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(http11.chunk(b"data: first\n\n"))
            await writer.drain()
            await self.go.wait()
            writer.write(http11.chunk(b"data: last\n\n") + http11.chunk(b""))
            return
        body = b"".join([part async for part in http11.read_body(reader, head, request=True)])
        writer.write(http11.response(200, (), body or b"empty"))


class Crowd:
    """Callers that send one request after the other, on a connection as long as it lasts."""

    def __init__(self, public):
        self.public = public
        self.done = 0
        self.over = False

    async def call(self, number):
        """Requests without a pause; anything but the right answer fails the test."""
        while not self.over:
            async with http11.Caller(self.public) as caller:
                kept = True
                while kept and not self.over:
                    if number % 2:
                        head, body = await soon(caller.call("POST", "/", body=b"hello"))
                        assert (head.status, body) == (200, b"hello"), (head, body)
                    else:
                        head, body = await soon(caller.call("GET", "/"))
                        assert (head.status, body) == (200, b"empty"), (head, body)
                    kept = head.value("connection") != "close"
                    self.done += 1


@contextlib.asynccontextmanager
async def first(directory):
    """A gateway that nobody came before: `(gateway, public address, tunnel address, control socket)`."""
    control = directory / "gateway.sock"
    async with gateway("127.0.0.1:0", "127.0.0.1:0", control) as running:
        yield running, await running.address("public"), await running.address("tunnel"), control


async def take_over(public, tunnel, control):
    """A started gateway that was told that the one before drains."""
    stack = contextlib.AsyncExitStack()
    next_one = await stack.enter_async_context(gateway(public, tunnel, control, "--replace"))
    await next_one.line(message="took over the listeners; the gateway before drains")
    return stack, next_one


@pytest.mark.parametrize("tunnels", [2, 1])
async def test_replacements_in_a_row_lose_nothing(tmp_path, tunnels):
    control = tmp_path / "gateway.sock"
    app = App()
    times = REPLACEMENTS if tunnels > 1 else 2
    async with http11.App(app) as local, contextlib.AsyncExitStack() as all_of_them:
        running = await all_of_them.enter_async_context(gateway("127.0.0.1:0", "127.0.0.1:0", control))
        public, tunnel = await running.address("public"), await running.address("tunnel")
        receiver = binary.receiver(f"ws://{tunnel}", local.url, "--set", f"receiver.tunnels={tunnels}")
        receiver = await all_of_them.enter_async_context(receiver)
        await receiver.ready()
        crowd = Crowd(public)
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(crowd.call(number))
            for _ in range(times):
                app.go.clear()
                async with http11.Caller(public) as events, http11.Caller(public) as upload:
                    await events.send("GET", "/events")
                    parts = http11.read_body(events.reader, await soon(events.head()))
                    assert await soon(anext(parts)) == b"data: first\n\n"
                    await upload.send("POST", "/upload", [("Content-Length", str(2 * len(HALF)))])
                    upload.writer.write(HALF)
                    stack, successor = await take_over(public, tunnel, control)
                    all_of_them.push_async_exit(stack)
                    # The new one serves, and the old one what was under way.
                    async with http11.Caller(public) as caller:
                        assert (await soon(caller.call("POST", "/", body=b"new")))[1] == b"new"
                    app.go.set()
                    assert [part async for part in parts] == [b"data: last\n\n"]
                    upload.writer.write(HALF)
                    head = await soon(upload.head())
                    body = b"".join([part async for part in http11.read_body(upload.reader, head)])
                    assert (head.status, body == HALF + HALF) == (200, True)
                assert await running.exit() == 0
                running = successor
            before = crowd.done
            crowd.over = True
        assert crowd.done >= before > 0


async def test_replacements_at_once_lose_nothing(tmp_path):
    control = tmp_path / "gateway.sock"
    async with http11.App(App()) as local, contextlib.AsyncExitStack() as all_of_them:
        running = await all_of_them.enter_async_context(gateway("127.0.0.1:0", "127.0.0.1:0", control))
        public, tunnel = await running.address("public"), await running.address("tunnel")
        receiver = await all_of_them.enter_async_context(binary.receiver(f"ws://{tunnel}", local.url))
        await receiver.ready()
        crowd = Crowd(public)
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(crowd.call(number))
            for _ in range(4):
                # The one before may not have a tunnel yet.
                stack, running = await take_over(public, tunnel, control)
                all_of_them.push_async_exit(stack)
            before = crowd.done
            async with asyncio.timeout(20):
                while crowd.done < before + 20:
                    await asyncio.sleep(0)
            crowd.over = True


async def test_a_successor_that_dies_early_changes_nothing(tmp_path):
    control = tmp_path / "gateway.sock"
    async with http11.App(App()) as local, gateway("127.0.0.1:0", "127.0.0.1:0", control) as running:
        public, tunnel = await running.address("public"), await running.address("tunnel")
        assert stat.S_IMODE(os.stat(control).st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(str(control))
            early.sendall(b"replace\n")
            text, sockets, _, _ = await asyncio.to_thread(socket.recv_fds, early, 4096, 100)
            names = text.split()
            assert (names[-1], set(names[:-1]), len(sockets)) == (b"tunnel", {b"public"}, len(names))
            for number in sockets:
                os.close(number)
        await running.line(message="the listeners were not taken over")
        async with binary.receiver(f"ws://{tunnel}", local.url) as receiver:
            await receiver.ready()
            async with http11.Caller(public) as caller:
                assert (await soon(caller.call("GET", "/")))[1] == b"empty"
        running.stop()
        assert await running.exit() == 0
        assert not control.exists()


async def test_a_successor_that_dies_with_its_socket_in_place_changes_nothing(tmp_path):
    async with first(tmp_path) as (running, public, tunnel, control):
        with socket.socket(socket.AF_UNIX) as early, socket.socket(socket.AF_UNIX) as its_own:
            early.connect(str(control))
            early.sendall(b"replace\n")
            _, sockets, _, _ = await asyncio.to_thread(socket.recv_fds, early, 4096, 100)
            for number in sockets:
                os.close(number)
            its_own.bind(str(tmp_path / "next.sock"))
            os.rename(tmp_path / "next.sock", control)
        await running.line(message="the listeners were not taken over")
        stack, successor = await take_over(public, tunnel, control)
        async with stack:
            assert await running.exit() == 0
            assert list(tmp_path.iterdir()) == [control]
            successor.stop()
            assert await successor.exit() == 0


async def test_a_successor_that_is_stopped_before_it_serves_changes_nothing(tmp_path):
    async with first(tmp_path) as (running, public, tunnel, control):
        running.process.send_signal(signal.SIGSTOP)
        async with gateway(public, tunnel, control, "--replace") as early:
            await early.line(message="asking the running gateway for its listeners")
            early.stop()
            assert await early.exit() == 0
        running.process.send_signal(signal.SIGCONT)
        await running.line(message="the listeners were not taken over")
        stack, _ = await take_over(public, tunnel, control)
        async with stack:
            assert await running.exit() == 0


async def test_of_two_successors_at_once_one_replaces_the_other(tmp_path):
    async with first(tmp_path) as (running, public, tunnel, control):
        running.process.send_signal(signal.SIGSTOP)
        async with (
            gateway(public, tunnel, control, "--replace") as one,
            gateway(public, tunnel, control, "--replace") as other,
        ):
            for successor in (one, other):
                await successor.line(message="asking the running gateway for its listeners")
            running.process.send_signal(signal.SIGCONT)
            for successor in (one, other):
                await successor.line(message="took over the listeners; the gateway before drains")
            assert await running.exit() == 0
            ends = [asyncio.ensure_future(successor.process.wait()) for successor in (one, other)]
            done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert [end.result() for end in done] == [0] and len(left) == 1


async def test_a_successor_that_cannot_start_changes_nothing(tmp_path):
    async with first(tmp_path) as (running, public, tunnel, control):
        before = os.stat(control)
        missing = f"gateway.auth.resolver.ca_file={tmp_path}/missing.pem"
        names = "gateway.auth.public_names=gate.test"
        async with gateway(public, tunnel, control, "--replace", "--set", names, "--set", missing) as wrong:
            assert await wrong.exit() == 2
        assert os.stat(control).st_ino == before.st_ino
        assert list(tmp_path.iterdir()) == [control]
        stack, successor = await take_over(public, tunnel, control)
        async with stack:
            assert await running.exit() == 0
            successor.stop()
            assert await successor.exit() == 0


async def test_without_a_running_gateway_it_starts_as_usual(tmp_path):
    async with gateway("127.0.0.1:0", "127.0.0.1:0", tmp_path / "none.sock", "--replace") as alone:
        await alone.address("public")
        await alone.line(message="no gateway answers here: nothing to replace")
        alone.stop()
        assert await alone.exit() == 0


async def test_listeners_of_a_service_manager_are_used_by_name():
    with socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as tunnel:
        addresses = ["%s:%d" % listener.getsockname() for listener in (public, tunnel)]
        inherit = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "tunnel:public"}
        async with binary.Proxy(
            "gateway", "--listen", addresses[0], "--tunnel-listen", addresses[1], fds=(tunnel, public), env=inherit,
        ) as started, http11.App(App()) as local:
            assert [await started.address(name) for name in ("public", "tunnel")] == addresses
            async with binary.receiver(f"ws://{addresses[1]}", local.url) as receiver:
                await receiver.ready()
                async with http11.Caller(addresses[0]) as caller:
                    assert (await soon(caller.call("GET", "/")))[1] == b"empty"
            started.stop()
            assert await started.exit() == 0


async def test_an_unknown_name_of_a_listener_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        inherit = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "publik"}
        async with binary.Proxy("gateway", fds=(listener,), env=inherit) as started:
            assert await started.exit() == 2
            await asyncio.wait([started._reading])
            assert any("publik" in line["message"] for line in started.lines)
