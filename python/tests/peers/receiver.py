"""A version-1 receiver: keeps a tunnel to a gateway and answers requests from a Python handler."""

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from . import frames, mapping


@dataclass
class Request:
    """One whole request as the handler sees it; `meta` is the http_meta it came from."""

    request_id: str
    method: str
    target: str
    fields: list
    body: bytes
    meta: dict

    def header(self, name):
        """The values of a header field, in order."""
        return [value for key, value in self.fields if key == name]


@dataclass
class Response:
    """A handler's answer; `body` is bytes, or an async iterator of bytes that is streamed."""

    status: int = 200
    fields: list = field(default_factory=list)
    body: object = b""


@dataclass
class Quirks:
    """How this receiver deviates (protocol.md 2.2); the defaults are a plain good peer."""

    final_width: int = 1
    """Bytes of final_chunk, 1 or 4 (number 1)."""
    mark_final: bool = True
    """False leaves final_chunk out and relies on chunk_tot."""
    meta: str = "last"
    """Which chunks have resp_meta: first, last or every (number 4)."""
    one_frame: bool = False
    """Answer a body of any size in one frame (number 5)."""
    one_at_a_time: bool = False
    """Handle one request at a time (number 6)."""
    strict_tags: bool = False
    """Fail on unknown tags (number 2)."""
    offer: tuple | None = ("anpx.v1",)
    """Subprotocols offered in the handshake; None offers nothing."""
    ping_interval: float = 10.0
    """Seconds between JSON pings; the first goes at once."""
    chunk_size: int = frames.CHUNK_SIZE
    """Bytes of body in a chunk."""


class Receiver:
    """`async with Receiver(url, handler)`; `handler` is an async function of a `Request`.

    `gateway_errors` is a queue of (request id, text) of error frames; `pongs` one of the
    timestamps answered, as JSON source text; `frames` holds what was read and `arrived` is set
    at the first; `faults` lists what the gateway did wrong.
    """

    def __init__(self, url, handler, quirks=None, headers=None):
        self.url = url
        self.handler = handler
        self.quirks = quirks or Quirks()
        self.headers = headers
        self.faults = []
        self.frames = []
        self.arrived = asyncio.Event()
        self.seen_ids = []
        self.gateway_errors = asyncio.Queue()
        self.broken = asyncio.Queue()
        self.pongs = asyncio.Queue()
        self.closed = asyncio.get_event_loop().create_future()
        self._turn = asyncio.Semaphore(1 if self.quirks.one_at_a_time else 10_000)
        self._tasks = set()
        self._reassembly = frames.Reassembly()

    async def __aenter__(self):
        self.socket = await connect(
            self.url, subprotocols=self.quirks.offer, max_size=None, proxy=None, additional_headers=self.headers
        )
        self.subprotocol = self.socket.subprotocol
        self.extensions = list(self.socket.protocol.extensions)
        self._spawn(self._read())
        self._spawn(self._ping())
        return self

    async def __aexit__(self, *_):
        await self.socket.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abort(self):
        """End the tunnel as a killed process does: the socket goes, no Close frame."""
        self.socket.transport.abort()

    async def send_frame(self, frame):
        """Send any frame, whatever it breaks."""
        await self.socket.send(frames.encode(frame, self.quirks.final_width))

    def _spawn(self, work):
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ping(self):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.socket.send(json.dumps({"type": "ping", "timestamp": time.time()}))
                await asyncio.sleep(self.quirks.ping_interval)

    async def _read(self):
        with contextlib.suppress(ConnectionClosed):
            async for data in self.socket:
                if isinstance(data, str):
                    message = json.loads(data, parse_float=str, parse_int=str)
                    if message.get("type") == "pong":
                        self.pongs.put_nowait(message["timestamp"])
                    continue
                self._frame(data)
        if not self.closed.done():
            self.closed.set_result((self.socket.close_code, self.socket.close_reason))

    def _frame(self, data):
        try:
            frame = frames.decode(data, self.quirks.strict_tags)
        except frames.FrameError as error:
            self.faults.append(str(error))
            return
        self.faults += frames.faults(data, frame)
        self.frames.append(frame)
        self.arrived.set()
        if frame.kind == frames.ERROR:
            self._reassembly.forget(frame.request_id)
            self.gateway_errors.put_nowait((frame.request_id, frame.body.decode()))
        elif frame.kind == frames.RESPONSE:
            self.faults.append("a response from the gateway")
        else:
            try:
                whole = self._reassembly.read(frame)
            except frames.FrameError as error:
                self.broken.put_nowait((frame.request_id, str(error)))
                self._spawn(self._answer_broken(frame.request_id))
                return
            if whole:
                self._spawn(self._answer(whole))

    async def _answer_broken(self, request_id):
        await self.send_frame(frames.Frame(frames.ERROR, request_id, body=b"the request broke"))

    async def _answer(self, whole):
        if whole.request_id in self.seen_ids:
            self.faults.append("a request id came twice")
        self.seen_ids.append(whole.request_id)
        method, target, fields = mapping.meta_to_request(whole.meta)
        request = Request(whole.request_id, method, target, fields, whole.body, whole.meta)
        with contextlib.suppress(ConnectionClosed):
            async with self._turn:
                response = await self.handler(request)
                await self._respond(request, response)

    async def _respond(self, request, response):
        meta = mapping.response_to_meta(request.method, response.status, response.fields)
        if not isinstance(response.body, bytes):
            await self._stream(request.request_id, meta, response.body)
            return
        size = self.quirks.chunk_size
        if self.quirks.one_frame or len(response.body) <= size:
            await self.send_frame(frames.Frame(frames.RESPONSE, request.request_id, meta=meta, body=response.body))
            return
        parts = frames.split(response.body, size)
        for index, part in enumerate(parts):
            await self._chunk(request.request_id, meta, part, index, index == len(parts) - 1, len(parts))

    async def _stream(self, request_id, meta, body):
        index = 0
        async for part in body:
            await self._chunk(request_id, meta, part, index, False)
            index += 1
        await self._chunk(request_id, meta, b"", index, True)

    async def _chunk(self, request_id, meta, part, index, last, total=None):
        place = self.quirks.meta
        has_meta = place == "every" or (place == "first" and index == 0) or (place == "last" and last)
        await self.send_frame(
            frames.Frame(
                frames.RESPONSE, request_id, chunked=True, meta=meta if has_meta else None, body=part,
                index=index, total=total, final=last and (self.quirks.mark_final or total is None),
            )
        )
