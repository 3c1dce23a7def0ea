"""A version-1 gateway: accepts tunnels and sends requests that a test makes."""

import asyncio
import contextlib
import json
import uuid
from dataclasses import dataclass

from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response as HttpResponse

from . import frames, mapping


@dataclass
class Quirks:
    """How this gateway deviates (protocol.md 2.2); the defaults are a plain good peer."""

    path: str | None = None
    """Serve the tunnel on this path of the HTTP port; None is a port of its own (number 7)."""
    answer_subprotocol: bool = True
    """Answer the offer of anpx.v1; False leaves every offer without an answer."""
    spread_chunks: bool = False
    """Send the chunks of one request over all tunnels in turn (number 8)."""
    ping_required: float | None = 20.0
    """Close a tunnel that sent no JSON ping for so many seconds (number 9)."""
    places: int = 100
    """Open requests a tunnel (number 10)."""
    error_text: bool = True
    """Answer the caller of a failed request with 500 and the text of the error frame (number 11)."""
    strict_tags: bool = False
    """Fail on unknown tags (number 2)."""
    final_width: int = 1
    """Bytes of final_chunk, 1 or 4 (number 1)."""
    chunk_size: int = frames.CHUNK_SIZE
    """Bytes of body in a chunk."""


class NoPlace(Exception):
    """Every tunnel has all its places taken."""


class Broken(Exception):
    """The tunnel ended, or the answer broke, before the response was whole."""


class Exchange:
    """One request in flight. `frames` is a queue of the answer's frames as they come."""

    def __init__(self, gateway, tunnel, method):
        self.request_id = str(uuid.uuid4())
        self.method = method
        self.frames = asyncio.Queue()
        self.sent_all = False
        self.sent_chunks = 0
        self.result = asyncio.get_event_loop().create_future()
        self._gateway = gateway
        self.tunnel = tunnel

    async def response(self):
        """(status, header fields, body) once the answer is whole; `Broken` if it never will be."""
        return await asyncio.shield(self.result)

    async def send(self, frame):
        """Send a frame of this request, over the next tunnel where chunks are spread."""
        tunnel = self.tunnel
        if self._gateway.quirks.spread_chunks and frame.chunked:
            tunnels = self._gateway.tunnels
            tunnel = tunnels[frame.index % len(tunnels)]
        await tunnel.send(frame)

    async def cancel(self, text=b"the caller left"):
        """Cancel as 2.3 says: skip an index if half sent, then the error frame."""
        if not self.sent_all:
            await self.send(
                frames.Frame(frames.REQUEST, self.request_id, chunked=True, index=self.sent_chunks + 2, final=True)
            )
            self.sent_all = True
        await self.tunnel.send(frames.Frame(frames.ERROR, self.request_id, body=text))


class Tunnel:
    """One connected receiver. `pings` is a queue of the timestamps it sent, as JSON source."""

    def __init__(self, gateway, socket):
        self.gateway = gateway
        self.socket = socket
        self.offer = socket.request.headers.get("Sec-WebSocket-Protocol")
        self.pings = asyncio.Queue()
        self.taken = 0
        self.closed = asyncio.get_event_loop().create_future()
        self._deadline = None

    async def send(self, frame):
        """Send a frame, whatever it breaks."""
        await self.socket.send(frames.encode(frame, self.gateway.quirks.final_width))

    def expect_ping(self):
        """Start the time in which a JSON ping must come again."""
        if self._deadline:
            self._deadline.cancel()
        if self.gateway.quirks.ping_required:
            loop = asyncio.get_event_loop()
            self._deadline = loop.call_later(
                self.gateway.quirks.ping_required,
                lambda: loop.create_task(self.socket.close(1000, "no ping")),
            )

    def end(self):
        """Stop waiting for pings; called when the socket is gone."""
        if self._deadline:
            self._deadline.cancel()
        self.closed.set_result((self.socket.close_code, self.socket.close_reason))


class Gateway:
    """`async with Gateway(quirks)`; `url` is where receivers connect.

    `tunnels` lists the live tunnels, `connected` is a queue of each as it comes, `faults` lists
    what receivers did wrong. With `Quirks.path`, GET requests to other paths of the port are
    served through the tunnel.
    """

    def __init__(self, quirks=None, port=0):
        self.quirks = quirks or Quirks()
        self.port = port
        self.tunnels = []
        self.connected = asyncio.Queue()
        self.errors = asyncio.Queue()
        self.faults = []
        self._exchanges = {}
        self._ended = set()
        self._reassembly = frames.Reassembly()

    async def __aenter__(self):
        self._server = await serve(
            self._tunnel, "127.0.0.1", self.port, max_size=None, process_request=self._http,
            select_subprotocol=self._select,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        """Stop listening and close every tunnel; the port is free afterwards."""
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self):
        """The WebSocket address."""
        return f"ws://127.0.0.1:{self.port}{self.quirks.path or ''}"

    def _select(self, _connection, offered):
        return "anpx.v1" if self.quirks.answer_subprotocol and "anpx.v1" in offered else None

    async def _http(self, _connection, request):
        if self.quirks.path is None or request.path == self.quirks.path:
            return None
        fields = [(name.encode(), value.encode("latin-1")) for name, value in request.headers.raw_items()]
        status, answer, body = await self.request("GET", request.path, fields)
        headers = Headers([(k.decode(), v.decode("latin-1")) for k, v in answer])
        headers["Content-Length"] = str(len(body))
        return HttpResponse(status, "", headers, body)

    async def request(self, method, target, fields=(), body=b""):
        """Send a request and return (status, header fields, body)."""
        exchange = await self.start(method, target, fields, body)
        return await exchange.response()

    async def start(self, method, target, fields=(), body=b"", pause_after=None):
        """Send a request and return its `Exchange`.

        `body` is bytes or an async iterator (streamed without chunk_tot). With `pause_after`,
        only so many chunks are sent and the request stays half sent.
        """
        exchange = self._exchange(method)
        meta = mapping.request_to_meta(method, target, fields)
        if not isinstance(body, bytes):
            await self._stream(exchange, meta, body)
        elif len(body) <= self.quirks.chunk_size:
            exchange.sent_all = True
            await exchange.send(frames.Frame(frames.REQUEST, exchange.request_id, meta=meta, body=body))
        else:
            parts = frames.split(body, self.quirks.chunk_size)
            for index, part in enumerate(parts[:pause_after]):
                await self._chunk(exchange, meta, part, index, index == len(parts) - 1, len(parts))
        return exchange

    async def start_raw(self, meta):
        """Send a request with this http_meta, whatever it holds, and return its `Exchange`."""
        exchange = self._exchange("GET")
        exchange.sent_all = True
        await exchange.send(frames.Frame(frames.REQUEST, exchange.request_id, meta=meta))
        return exchange

    def _exchange(self, method):
        tunnel = next((t for t in self.tunnels if t.taken < self.quirks.places), None)
        if tunnel is None:
            raise NoPlace
        exchange = Exchange(self, tunnel, method)
        self._exchanges[exchange.request_id] = exchange
        tunnel.taken += 1
        return exchange

    async def _stream(self, exchange, meta, body):
        index = 0
        async for part in body:
            await self._chunk(exchange, meta, part, index, False)
            index += 1
        await self._chunk(exchange, meta, b"", index, True)

    async def _chunk(self, exchange, meta, part, index, last, total=None):
        exchange.sent_chunks = index
        exchange.sent_all = last
        await exchange.send(
            frames.Frame(
                frames.REQUEST, exchange.request_id, chunked=True, meta=meta if index == 0 else None,
                body=part, index=index, total=total, final=last,
            )
        )

    async def _tunnel(self, socket):
        tunnel = Tunnel(self, socket)
        self.tunnels.append(tunnel)
        self.connected.put_nowait(tunnel)
        tunnel.expect_ping()
        try:
            with contextlib.suppress(ConnectionClosed):
                async for data in socket:
                    if isinstance(data, str):
                        await self._text(tunnel, data)
                    else:
                        self._frame(tunnel, data)
        finally:
            self.tunnels.remove(tunnel)
            tunnel.end()
            for exchange in list(self._exchanges.values()):
                if exchange.tunnel is tunnel and not exchange.result.done():
                    self._end(exchange, Broken("the tunnel ended"))

    async def _text(self, tunnel, data):
        message = json.loads(data, parse_float=str, parse_int=str)
        if message.get("type") != "ping":
            return
        tunnel.expect_ping()
        tunnel.pings.put_nowait(message["timestamp"])
        await tunnel.socket.send('{"type":"pong","timestamp":%s}' % message["timestamp"])

    def _frame(self, tunnel, data):
        try:
            frame = frames.decode(data, self.quirks.strict_tags)
        except frames.FrameError as error:
            self.faults.append(str(error))
            return
        self.faults += frames.faults(data, frame)
        if frame.kind == frames.REQUEST:
            self.faults.append("a request from the receiver")
            return
        exchange = self._exchanges.get(frame.request_id)
        if exchange is None:
            self.faults.append(f"{'second' if frame.request_id in self._ended else 'unasked'} answer to {frame.request_id}")
            return
        if not exchange.sent_all:
            self.faults.append("an answer before the request was whole")
        exchange.frames.put_nowait(frame)
        if frame.kind == frames.ERROR:
            text = frame.body.decode()
            self.errors.put_nowait((frame.request_id, text))
            self._end(exchange, (500, [], frame.body) if self.quirks.error_text else Broken(text))
            return
        try:
            whole = self._reassembly.read(frame)
            if whole and whole.meta is None:
                raise frames.FrameError("a response without resp_meta")
        except frames.FrameError as error:
            self.faults.append(str(error))
            self._end(exchange, Broken(str(error)))
            return
        if whole:
            self._end(exchange, (*mapping.meta_to_response(exchange.method, whole.meta), whole.body))

    def _end(self, exchange, result):
        self._exchanges.pop(exchange.request_id, None)
        self._ended.add(exchange.request_id)
        self._reassembly.forget(exchange.request_id)
        if exchange.sent_all:
            exchange.tunnel.taken -= 1
        if isinstance(result, Exception):
            exchange.result.set_exception(result)
            exchange.result.exception()
        else:
            exchange.result.set_result(result)
