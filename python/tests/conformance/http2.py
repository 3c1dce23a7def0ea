"""HTTP/2 over plaintext for both ends of a case, by the `h2` package, which judges what it reads."""

import asyncio
import contextlib

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated, DataReceived, InformationalResponseReceived, RequestReceived, ResponseReceived,
    StreamEnded, StreamReset, TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from .message import OPEN, Answer, Broken, Head, has_no_body, raw


def split(headers):
    """Pseudo-headers as a dict, and fields with names as text."""
    pseudo = {name.decode(): value for name, value in headers if name[:1] == b":"}
    return pseudo, [(name.decode(), value) for name, value in headers if name[:1] != b":"]


def lower(fields):
    """Fields as `h2` takes them."""
    return [(name.lower().encode(), raw(value)) for name, value in fields]


class Peer:
    """One connection, either side; `streams` by id."""

    def __init__(self, reader, writer, client):
        self.reader, self.writer, self.client = reader, writer, client
        self.h2 = H2Connection(H2Configuration(
            client_side=client, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False, normalize_inbound_headers=False,
        ))
        self.streams = {}
        self.ended = None
        self._moved = asyncio.Event()
        self.settled = asyncio.Event()

    def start(self):
        """Writes the preface and grants a wide window to the connection, so that only streams hold back."""
        if not self.client:
            # What is set later is sent later.
            first = {**self.h2.local_settings, SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
            self.h2.local_settings = Settings(client=False, initial_values=first)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 30)
        self.flush()
        self._running = asyncio.ensure_future(self._run())

    def flush(self):
        """Writes what the package has to say."""
        if data := self.h2.data_to_send():
            self.writer.write(data)

    def opened(self, event):
        """A request came; only where this side serves."""
        raise NotImplementedError

    async def _run(self):
        try:
            while data := await self.reader.read(1 << 16):
                self.take(data)
        except (ConnectionError, ProtocolError) as error:
            self.ended = self.ended or Broken(f"connection: {error!r}")
            self.flush()
            self.writer.transport.abort()
        self.ended = self.ended or Broken("the connection ended")
        for stream in self.streams.values():
            stream.lost(self.ended)
        self._move()
        self.settled.set()

    def take(self, data):
        """Reads bytes of the other side."""
        for event in self.h2.receive_data(data):
            self.settled.set()
            if isinstance(event, RequestReceived):
                self.streams[event.stream_id] = self.opened(event)
            elif isinstance(event, ConnectionTerminated):
                self.ended = Broken(f"GOAWAY {event.error_code!r} {event.additional_data!r}")
            elif (stream := self.streams.get(getattr(event, "stream_id", None))) is not None:
                stream.event(event)
        self._move()
        self.flush()

    def _move(self):
        self._moved.set()
        self._moved = asyncio.Event()

    async def moved(self):
        """Returns when something was read."""
        await self._moved.wait()

    async def drain(self):
        """Waits until the kernel has taken what was written."""
        try:
            await self.writer.drain()
        except ConnectionError as error:
            raise Broken(str(error)) from None

    async def close(self):
        """Ends the connection at once."""
        self.writer.transport.abort()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


class Side:
    """What both ends of an exchange do with its bodies."""

    def __init__(self, peer, stream_id):
        self.peer, self.stream_id = peer, stream_id
        self.trailers = []
        self.reset = None
        self._queue = asyncio.Queue()
        self._gone = asyncio.Event()
        self._done = False
        self.whole_read = False

    def event(self, event):
        """Takes an event of the package."""
        if isinstance(event, DataReceived):
            self._queue.put_nowait((event.data, event.flow_controlled_length))
        elif isinstance(event, TrailersReceived):
            self.trailers = split(event.headers)[1]
        elif isinstance(event, StreamEnded):
            self.whole_read = True
            self._queue.put_nowait(None)
        elif isinstance(event, StreamReset):
            self.lost(Broken(f"RST_STREAM {event.error_code!r}"))

    def lost(self, why):
        """The stream is over, whole or not."""
        self.reset = self.reset or why
        self._queue.put_nowait(why)
        self._gone.set()

    async def gone(self):
        """Returns once the other end has given up the exchange."""
        await self._gone.wait()

    async def read(self):
        """The next part of the body, b"" at its end; reading it gives the window back."""
        while not self._done:
            got = await self._queue.get()
            if got is None:
                self._done = True
            elif isinstance(got, Broken):
                raise got
            else:
                part, size = got
                if size and self.reset is None and self.peer.ended is None:
                    self.peer.h2.acknowledge_received_data(size, self.stream_id)
                    self.peer.flush()
                if part:
                    return part
        return b""

    async def body(self):
        """What is left of the body."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    async def exactly(self, count):
        """So many bytes of the body; parts must not reach beyond them."""
        got = b""
        while len(got) < count:
            part = await self.read()
            if not part:
                raise Broken(f"ended after {got!r}")
            got += part
        return got

    async def send(self, part):
        """Writes a part of the body as the other side's window allows."""
        h2 = self.peer.h2
        while part:
            if self.reset or self.peer.ended:
                raise self.reset or self.peer.ended
            size = min(h2.local_flow_control_window(self.stream_id), h2.max_outbound_frame_size, len(part))
            if size > 0:
                h2.send_data(self.stream_id, part[:size])
                part = part[size:]
                self.peer.flush()
                await self.peer.drain()
            else:
                await self.peer.moved()

    async def end(self, trailers=()):
        """Ends this side's half."""
        if self.reset or self.peer.ended:
            raise self.reset or self.peer.ended
        if trailers:
            self.peer.h2.send_headers(self.stream_id, lower(trailers), end_stream=True)
        else:
            self.peer.h2.end_stream(self.stream_id)
        self.peer.flush()
        await self.peer.drain()

    def cancel(self, code=ErrorCodes.CANCEL):
        """Gives the exchange up."""
        if not (self.reset or self.peer.ended):
            self.peer.h2.reset_stream(self.stream_id, code)
            self.peer.flush()

    def abort(self):
        """Breaks the message off."""
        self.cancel(ErrorCodes.INTERNAL_ERROR)


class Call(Side):
    """A caller's side of one exchange."""

    def __init__(self, peer, stream_id, connect):
        super().__init__(peer, stream_id)
        self._connect = connect
        self._heads = asyncio.Queue()
        self._informs = []
        self.answer = None

    def event(self, event):
        if isinstance(event, (ResponseReceived, InformationalResponseReceived)):
            pseudo, fields = split(event.headers)
            self._heads.put_nowait(Answer(int(pseudo[":status"]), fields))
        else:
            super().event(event)

    def lost(self, why):
        super().lost(why)
        self._heads.put_nowait(why)

    async def inform(self):
        """The next informational response."""
        return await self._next()

    async def _next(self):
        got = await self._heads.get()
        if isinstance(got, Broken):
            raise got
        if got.status < 200:
            self._informs.append(got)
        else:
            got.informs = self._informs
            self.answer = got
        return got

    async def head(self):
        """The final head, informational ones before it in `informs`."""
        while self.answer is None:
            await self._next()
        return self.answer

    async def whole(self, body):
        """Writes a whole body, as far as the other side wants it."""
        with contextlib.suppress(Broken):
            await self.send(body)
            await self.end()

    @property
    def switched(self):
        """True where an extended CONNECT was accepted."""
        return self._connect and self.answer.status == 200


class Connection:
    """A caller's connection, with prior knowledge (RFC 9113, 3.3) or over TLS."""

    def __init__(self, address, tls=None):
        self.address, self.tls = address, tls

    async def __aenter__(self):
        host, port = self.address.rsplit(":", 1)
        self.peer = Peer(*await asyncio.open_connection(host, int(port), ssl=self.tls), client=True)
        self.peer.start()
        return self

    async def __aexit__(self, *_):
        await self.peer.close()

    async def begin(self, method, target, fields=(), body=None, authority=None, upgrade=None):
        """Writes a request; returns its `Call`. Upgrades are extended CONNECTs (RFC 8441)."""
        peer = self.peer
        # How much a server lets a caller do is in its SETTINGS.
        await peer.settled.wait()
        if peer.ended:
            raise peer.ended
        pseudo = [(":method", "CONNECT" if upgrade else method), (":scheme", "https" if self.tls else "http"),
                  (":authority", authority or self.address), (":path", target)]
        if upgrade:
            pseudo.insert(1, (":protocol", upgrade))
        elif body is not None and body is not OPEN:
            fields = [*fields, ("content-length", str(len(body)))]
        stream_id = peer.h2.get_next_available_stream_id()
        call = peer.streams[stream_id] = Call(peer, stream_id, bool(upgrade))
        peer.h2.send_headers(stream_id, lower([*pseudo, *fields]), end_stream=not body and not upgrade)
        peer.flush()
        if body and body is not OPEN:
            call.sending = asyncio.ensure_future(call.whole(body))
        return call


class Exchange(Side, Head):
    """An app's side of one exchange."""

    version = 2
    reusable = True

    def __init__(self, peer, event):
        pseudo, fields = split(event.headers)
        Side.__init__(self, peer, event.stream_id)
        # As a server does that has one field for cookies (RFC 9113, 8.2.3).
        crumbs = [value for name, value in fields if name == "cookie"]
        if crumbs:
            at = next(n for n, (name, _) in enumerate(fields) if name == "cookie")
            fields = [field for field in fields if field[0] != "cookie"]
            fields.insert(at, ("cookie", b"; ".join(crumbs)))
        Head.__init__(self, fields)
        self.method, self.target = pseudo[":method"].decode(), pseudo[":path"].decode("latin-1")
        self.authority = pseudo.get(":authority") or self.value("host")
        self.upgrade = pseudo[":protocol"].decode() if ":protocol" in pseudo else None
        self.finished = False

    def _send_head(self, status, fields, end=False):
        if self.reset or self.peer.ended:
            raise self.reset or self.peer.ended
        self.peer.h2.send_headers(self.stream_id, lower([(":status", str(status)), *fields]), end_stream=end)
        self.peer.flush()

    async def inform(self, status, fields=()):
        """Writes an informational response."""
        self._send_head(status, fields)

    async def start(self, status, fields=(), close=False):
        """Writes the head."""
        self._send_head(status, fields)

    async def end(self, trailers=()):
        """Ends the response."""
        await Side.end(self, trailers)
        self.finished = True

    async def answer(self, status=200, fields=(), body=b"", trailers=()):
        """A whole response, with content-length unless it has trailers."""
        bodiless = has_no_body(status, self.method)
        length = [] if bodiless or trailers else [("content-length", str(len(body)))]
        alone = (bodiless or not body) and not trailers
        self._send_head(status, [*fields, *length], end=alone)
        if alone:
            self.finished = True
            return
        if body and not bodiless:
            await self.send(body)
        await self.end(trailers)

    def leave(self):
        """Says that the rest of the request is not wanted (RFC 9113, 8.1)."""
        if self.finished and not self.whole_read:
            self.cancel(ErrorCodes.NO_ERROR)

    async def switch(self, fields=()):
        """Accepts an extended CONNECT."""
        self._send_head(200, fields)


class Server(Peer):
    """An app's connection; `serve(exchange)` is called for each request."""

    def __init__(self, reader, writer, serve):
        super().__init__(reader, writer, client=False)
        self._serve = serve
        self._tasks = set()

    def opened(self, event):
        exchange = Exchange(self, event)
        task = asyncio.ensure_future(self._serve(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return exchange

    async def run(self, first):
        """Serves until the connection ends; `first` was read already."""
        self.start()
        self.take(first)
        await self._running
