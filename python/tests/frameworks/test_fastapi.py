"""FastAPI and Starlette: event streams, WebSockets, uploads, work behind a response, dependencies."""

import asyncio
import contextlib
import hashlib

import httpx2
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from websockets.asyncio.client import connect

from binary import soon
from http11 import read_body, read_head

pytestmark = pytest.mark.asyncio


def made(told):
    """A FastAPI app that tells the queue what happens in it."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        told.put_nowait("started")
        yield {"model": "small"}
        told.put_nowait("stopped")

    app = FastAPI(lifespan=lifespan)

    async def session():
        told.put_nowait("session open")
        try:
            yield "session"
        finally:
            told.put_nowait("session closed")

    @app.get("/tokens")
    async def tokens(request: Request, opened: str = Depends(session)):
        async def words():
            try:
                number = 0
                while True:
                    yield f"data: {request.state.model} {number}\n\n"
                    number += 1
                    await asyncio.sleep(0.005)
            finally:
                told.put_nowait("generation ended")

        return StreamingResponse(words(), media_type="text/event-stream")

    @app.get("/waits")
    async def waits():
        async def words():
            try:
                yield "data: one\n\n"
                await asyncio.Event().wait()
            finally:
                told.put_nowait("generation ended")

        behind = BackgroundTask(told.put_nowait, "work behind it is done")
        return StreamingResponse(words(), media_type="text/event-stream", background=behind)

    @app.post("/upload")
    async def upload(file: UploadFile):
        digest = hashlib.sha256()
        while part := await file.read(1 << 16):
            digest.update(part)
        return {"name": file.filename, "size": file.size, "sha256": digest.hexdigest()}

    @app.post("/later", response_class=PlainTextResponse)
    async def later(tasks: BackgroundTasks):
        tasks.add_task(told.put_nowait, "worked later")
        return "accepted"

    @app.get("/in-a-thread/{number}")
    def in_a_thread(number: int):
        return {"doubled": number * 2}

    @app.get("/fails")
    async def fails():
        raise ValueError("on purpose")

    @app.websocket("/chat/{room}")
    async def chat(socket: WebSocket, room: str):
        await socket.accept(subprotocol="chat")
        try:
            while True:
                message = await socket.receive_json()
                await socket.send_json({"room": room, **message})
        except WebSocketDisconnect as left:
            told.put_nowait(f"left with {left.code}")

    return app


@pytest.fixture
def told():
    """What happened in an app."""
    return asyncio.Queue()


def client(served, **more):
    """An HTTP client of the gateway."""
    return httpx2.AsyncClient(base_url=served.gateway.url, trust_env=False, **more)


async def test_an_event_stream_ends_when_its_caller_leaves(serve, told):
    served = await serve(made(told))
    assert await soon(told.get()) == "started"
    async with served.caller() as caller:
        await caller.send("GET", "/tokens")
        head = await soon(read_head(caller.reader))
        assert head.value("content-type").startswith("text/event-stream")
        parts = read_body(caller.reader, head)
        assert await soon(anext(parts)) == b"data: small 0\n\n"
        assert await soon(anext(parts)) == b"data: small 1\n\n"
        assert await soon(told.get()) == "session open"
    ended = {await soon(told.get()), await soon(told.get())}
    assert ended == {"generation ended", "session closed"}
    await soon(served.receiver.stop())
    assert await soon(told.get()) == "stopped"


async def test_a_stream_that_waits_for_something_else_ends_when_its_caller_leaves(serve, told):
    served = await serve(made(told))
    assert await soon(told.get()) == "started"
    async with served.caller() as caller:
        await caller.send("GET", "/waits")
        head = await soon(read_head(caller.reader))
        assert await soon(anext(read_body(caller.reader, head))) == b"data: one\n\n"
    ended = {await soon(told.get()), await soon(told.get())}
    assert ended == {"generation ended", "work behind it is done"}


async def test_a_websocket_of_json(serve, told):
    served = await serve(made(told))
    await soon(told.get())
    async with connect(f"{served.ws_url}/chat/blue", subprotocols=["chat"], proxy=None) as caller:
        assert caller.subprotocol == "chat"
        await caller.send('{"say": "hi"}')
        assert await soon(caller.recv()) == '{"room":"blue","say":"hi"}'
        await caller.close(4000)
    assert await soon(told.get()) == "left with 4000"


async def test_an_upload_of_a_form(serve, told):
    data = bytes(range(256)) * 12_345
    async with client(await serve(made(told))) as caller:
        answer = await caller.post("/upload", files={"file": ("ünï.bin", data)})
    assert answer.json() == {"name": "ünï.bin", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


async def test_work_behind_the_response_and_calls_in_threads(serve, told):
    async with client(await serve(made(told))) as caller:
        await soon(told.get())
        assert (await caller.post("/later")).text == "accepted"
        assert await soon(told.get()) == "worked later"
        assert (await caller.get("/in-a-thread/21")).json() == {"doubled": 42}
        assert (await caller.get("/in-a-thread/x")).status_code == 422
        assert (await caller.get("/fails")).status_code == 500
        assert (await caller.get("/openapi.json")).json()["openapi"]


async def test_starlette_with_middleware_sessions_files_and_mounts(serve, tmp_path):
    (tmp_path / "file.txt").write_text("0123456789" * 1000)

    async def count(request):
        request.session["visits"] = request.session.get("visits", 0) + 1
        return JSONResponse({"visits": request.session["visits"], "url": str(request.url_for("count"))})

    async def file(_request):
        return FileResponse(tmp_path / "file.txt")

    async def stamp(request, call_next):
        answer = await call_next(request)
        answer.headers["x-stamp"] = "1"
        return answer

    app = Starlette(
        routes=[Mount("/in", routes=[Route("/count", count, name="count")]), Route("/file", file)],
        middleware=[
            Middleware(SessionMiddleware, secret_key="only for tests"), Middleware(GZipMiddleware, minimum_size=500),
            Middleware(BaseHTTPMiddleware, dispatch=stamp),
        ],
    )
    served = await serve(app)
    async with client(served) as caller:
        assert [(await caller.get("/in/count")).json()["visits"] for _ in range(3)] == [1, 2, 3]
        whole = await caller.get("/file")
        assert (whole.text, whole.headers["content-encoding"], whole.headers["x-stamp"]) == ("0123456789" * 1000, "gzip", "1")
        part = await caller.get("/file", headers={"range": "bytes=5-14", "accept-encoding": "identity"})
        assert (part.status_code, part.text, part.headers["content-range"]) == (206, "5678901234", "bytes 5-14/10000")
        head = await caller.head("/file", headers={"accept-encoding": "identity"})
        assert (head.headers["content-length"], head.content) == ("10000", b"")
