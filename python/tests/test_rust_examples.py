"""The Rust examples of crates/anp-receiver, as the comments at their top tell people to run them."""

import asyncio
import contextlib

import grpc
import pytest

import binary
from binary import soon
from http11 import Caller, read_body, read_head

pytestmark = pytest.mark.asyncio
EXAMPLES = binary.PATH.parent / "examples"


@contextlib.asynccontextmanager
async def running(example):
    """The example beside a gateway, whose public address this gives."""
    program = EXAMPLES / example
    if not program.exists():
        pytest.skip(f"{program} is missing: cargo build --workspace --examples")
    async with binary.gateway() as gateway:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(program, f"ws://{await gateway.address('tunnel')}", stdout=pipe)
        try:
            assert example in (await soon(process.stdout.readline())).decode()
            await gateway.ready()
            yield await gateway.address("public")
        finally:
            process.kill()
            await process.wait()


async def test_axum_greets_and_streams():
    async with running("axum") as address:
        async with Caller(address) as caller:
            _, body = await soon(caller.call("GET", "/"))
            assert body == b"Hello, 127.0.0.1.\n" or body.startswith(b"Hello, 127.0.0.1:")
        async with Caller(address) as caller:
            await caller.send("GET", "/tokens")
            head = await soon(read_head(caller.reader))
            assert head.value("content-type") == "text/event-stream"
            assert await soon(anext(read_body(caller.reader, head))) == b"data: a\n\n"


async def test_tonic_answers_a_health_check():
    async with running("tonic") as address, grpc.aio.insecure_channel(address) as channel:
        # HealthCheckRequest without a service, and HealthCheckResponse with status SERVING.
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await soon(check(b"")) == b"\x08\x01"
