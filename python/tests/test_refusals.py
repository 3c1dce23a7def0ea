"""Whoever is turned away stands in the gateway's log, with the reason."""

import pytest

import binary
import http11
from binary import soon

pytestmark = pytest.mark.asyncio
NOBODY = "sha256:" + "A" * 43


async def status(public, *headers):
    async with http11.Caller(public) as caller:
        head, _ = await soon(caller.call("GET", "/", headers))
        return head.status


async def test_a_receiver_that_no_endpoint_names():
    named = 'gateway.endpoints=[{name="a",receivers=["lab-1"]}]'
    async with binary.gateway("--set", named) as front:
        tunnel = await front.address("tunnel")
        async with binary.receiver(f"ws://{tunnel}", "http://127.0.0.1:9", "--name", "lab"):
            line = await front.line(message="tunnel refused")
            assert line["reason"] == 'no endpoint names this receiver: receiver "lab"'


async def test_callers_who_are_not_known():
    secret = f'gateway.callers={{basic=[{{name="ann",hash="{NOBODY}"}}]}}'
    async with binary.gateway("--set", secret) as front:
        public = await front.address("public")
        assert await status(public) == 401
        assert (await front.line(message="caller refused"))["reason"] == "it shows no name and secret"
        assert await status(public, ("Authorization", "Basic YW5uOndyb25n")) == 401
        reason = "no user of callers.basic has this name and secret"
        await front.line(message="caller refused", reason=reason)


async def test_callers_from_elsewhere():
    async with binary.gateway("--set", 'gateway.callers={networks=["192.0.2.0/24"]}') as front:
        assert await status(await front.address("public")) == 403
        await front.line(message="caller refused", reason="callers.networks does not hold its address")
