"""The local app goes away and comes back, and the gateway knows."""

import asyncio

import pytest

import binary
import http11
from binary import soon

pytestmark = pytest.mark.asyncio


async def serve(port=0, status=200):
    """An app that answers everything alike, and its port."""

    async def one(reader, writer):
        try:
            while await http11.read_head(reader):
                writer.write(http11.response(status, (), b"here"))
                await writer.drain()
        except (ConnectionError, http11.BrokenMessage):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", port)
    return server, server.sockets[0].getsockname()[1]


def receiver(tunnel, port, *more):
    # One tunnel: a request that finds the app gone on the first of two may wait for the second, which
    # takes nothing new by then, as long as any request waits.
    return binary.receiver(
        f"ws://{tunnel}", f"http://127.0.0.1:{port}", "--health-path", "/healthz",
        "--set", "receiver.pool_max_idle=0", "--set", "receiver.tunnels=1", *more,
    )


def gateway():
    return binary.gateway("--set", "gateway.queue_timeout=15s", "--set", "gateway.admin_listen=127.0.0.1:0")


async def once(public):
    async with http11.Caller(public) as caller:
        head, body = await caller.call("GET", "/")
        return head.status, body


async def queued(admin):
    """How many requests have had to wait at the gateway."""
    async with http11.Caller(admin) as caller:
        _, body = await soon(caller.call("GET", "/metrics"))
    lines = [line for line in body.decode().splitlines() if line.startswith("anp_gateway_queued_total")]
    assert lines
    return sum(int(line.split()[-1]) for line in lines)


async def waits(public, admin, otherwise):
    """A request that waits at the gateway; those before have the status `otherwise`.

    The gateway may learn of an app's health a moment after the receiver said so in its log.
    """
    while True:
        before = await queued(admin)
        request = asyncio.ensure_future(once(public))
        while not request.done():
            if await queued(admin) > before:
                return request
        assert request.result()[0] == otherwise


async def test_a_request_waits_for_an_app_that_restarts():
    server, port = await serve()
    async with gateway() as front:
        public, tunnel, admin = [await front.address(name) for name in ("public", "tunnel", "admin")]
        async with receiver(tunnel, port, "--set", "receiver.health_interval=1s") as behind:
            await behind.ready()
            assert await soon(once(public)) == (200, b"here")
            server.close()
            assert (await soon(once(public)))[0] == 502
            await behind.line(message="the app is down")
            waiting = await soon(waits(public, admin, otherwise=502))
            server, _ = await serve(port)
            await behind.line(message="the app is back")
            assert await soon(waiting) == (200, b"here")
    server.close()


async def test_a_failed_request_has_the_app_checked_at_once():
    server, port = await serve()
    async with gateway() as front:
        public, tunnel = await front.address("public"), await front.address("tunnel")
        # While the app is well no check comes by itself as long as this test runs.
        async with receiver(tunnel, port, "--set", "receiver.health_interval=1h") as behind:
            await behind.ready()
            assert await soon(once(public)) == (200, b"here")
            server.close()
            assert (await soon(once(public)))[0] == 502
            await behind.line(message="the app is down")
            # An app that has gone down is asked soon and often.
            server, _ = await serve(port)
            await behind.line(message="the app is back")
    server.close()


async def test_requests_go_to_another_receiver():
    sick, sick_port = await serve(status=500)
    well, well_port = await serve()
    async with gateway() as front:
        public, tunnel, admin = [await front.address(name) for name in ("public", "tunnel", "admin")]
        fast = ("--set", "receiver.health_interval=10ms")
        async with receiver(tunnel, sick_port, *fast) as one:
            await one.ready()
            await one.line(message="the app is down")
            waiting = await soon(waits(public, admin, otherwise=500))
            async with receiver(tunnel, well_port, *fast) as other:
                await other.ready()
                assert await soon(waiting) == (200, b"here")
                assert [await soon(once(public)) for _ in range(20)] == [(200, b"here")] * 20
    sick.close()
    well.close()
