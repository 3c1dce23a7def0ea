"""A receiver with tunnels to several gateways."""

import pytest

import binary
import http11
from binary import soon

pytestmark = pytest.mark.asyncio


async def answer(_head, _reader, writer):
    writer.write(http11.response(200, (), b"here"))


async def get(gateway):
    async with http11.Caller(await gateway.address("public")) as caller:
        return (await soon(caller.call("GET", "/")))[1]


async def test_each_gateway_is_served_and_outlives_the_other():
    async with http11.App(answer) as app, binary.gateway() as one, binary.gateway() as other:
        urls = [f"ws://{await gateway.address('tunnel')}" for gateway in (one, other)]
        async with binary.receiver(urls[0], app.url, "--gateway", urls[1]) as receiver:
            for url in urls:
                await receiver.line(message="tunnel ready", gateway=url)
            assert [await get(one), await get(other)] == [b"here", b"here"]
            one.stop()
            assert await one.exit() == 0
            assert await get(other) == b"here"
            other.kill()
            await other.exit()
            receiver.stop()
            assert await receiver.exit() == 0
