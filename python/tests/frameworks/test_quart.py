"""Quart: requests that stream in, responses that stream out, WebSockets, work behind a response."""

import asyncio

import httpx2
import pytest
from quart import Quart, request, session, websocket
from websockets.asyncio.client import connect

from binary import soon
from http11 import read_body, read_head

pytestmark = pytest.mark.asyncio


def made(told):
    """An app that tells the queue what happens in it."""
    app = Quart(__name__)
    app.secret_key = "only for tests"

    @app.before_serving
    async def started():
        told.put_nowait("started")

    @app.after_serving
    async def stopped():
        told.put_nowait("stopped")

    @app.post("/length")
    async def length():
        total = 0
        async for part in request.body:
            total += len(part)
        return {"length": total}

    @app.post("/session")
    async def remember():
        session["name"] = (await request.form)["name"]
        return "", 204

    @app.get("/session")
    async def remembered():
        return session.get("name", "nobody")

    @app.get("/stream")
    async def stream():
        async def parts():
            try:
                while True:
                    yield b"part"
                    await asyncio.sleep(0.005)
            finally:
                told.put_nowait("ended")

        return parts()

    @app.get("/later")
    async def later():
        app.add_background_task(told.put, "worked later")
        return "accepted", 202

    @app.websocket("/echo")
    async def echo():
        while True:
            await websocket.send(await websocket.receive())

    return app


async def test_requests_sessions_and_work_behind_a_response(serve):
    told = asyncio.Queue()
    served = await serve(made(told))
    assert await soon(told.get()) == "started"
    async with httpx2.AsyncClient(base_url=served.gateway.url, trust_env=False) as caller:

        async def parts():
            for _ in range(100):
                yield b"x" * 10_000

        assert (await caller.post("/length", content=parts())).json() == {"length": 1_000_000}
        assert (await caller.post("/session", data={"name": "Ünï"})).status_code == 204
        assert (await caller.get("/session")).text == "Ünï"
        assert (await caller.get("/later")).status_code == 202
        assert await soon(told.get()) == "worked later"
    await soon(served.receiver.stop())
    assert await soon(told.get()) == "stopped"


async def test_a_stream_ends_when_its_caller_leaves(serve):
    told = asyncio.Queue()
    served = await serve(made(told))
    await soon(told.get())
    async with served.caller() as caller:
        await caller.send("GET", "/stream")
        head = await soon(read_head(caller.reader))
        assert (await soon(anext(read_body(caller.reader, head)))).startswith(b"part")
    assert await soon(told.get()) == "ended"


async def test_a_websocket(serve):
    served = await serve(made(asyncio.Queue()))
    async with connect(f"{served.ws_url}/echo", proxy=None) as caller:
        for message in ("text", b"bytes", "x" * 100_000):
            await caller.send(message)
            assert await soon(caller.recv()) == message
