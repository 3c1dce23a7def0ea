"""HTTP/2 frame by frame for tests: what a caller sends need not be right."""

import asyncio
import contextlib

from hpack import Encoder, Decoder
from hyperframe.frame import (
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame,
    WindowUpdateFrame,
)

import raw
from binary import soon

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Closed(Exception):
    """The gateway ended the connection; `code` is that of its GOAWAY, or None."""

    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


class Connection:
    """`async with Connection(address)`: the prefaces are exchanged, all else is the test's."""

    def __init__(self, address):
        self.address = address

    async def __aenter__(self):
        self.reader, self.writer = await raw.connect(self.address)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.goaway = None
        self.send(SettingsFrame(), before=PREFACE)
        while not isinstance(frame := await self.frame(), SettingsFrame) or "ACK" in frame.flags:
            pass
        self.settings = frame.settings
        self.send(SettingsFrame(flags=["ACK"]))
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()

    def send(self, *frames, before=b""):
        """Writes frames, which may be bytes."""
        self.writer.write(before + b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames))

    async def flush(self):
        """Waits until the kernel has taken what was written; `Closed` where nobody will."""
        try:
            await self.writer.drain()
        except ConnectionError:
            raise Closed(self.goaway) from None

    def headers(self, stream, fields, end=True, cls=HeadersFrame, whole=True):
        """A HEADERS frame with these fields, as they are."""
        flags = (["END_STREAM"] if end and cls is HeadersFrame else []) + (["END_HEADERS"] if whole else [])
        return cls(stream, self.encoder.encode(fields, huffman=False), flags=flags)

    async def frame(self):
        """The next frame; a GOAWAY is noted, and `Closed` raised at the end."""
        try:
            head = await soon(self.reader.readexactly(9))
            frame, size = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(await soon(self.reader.readexactly(size))))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Closed(self.goaway) from None
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.send(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]))
        if isinstance(frame, GoAwayFrame):
            self.goaway = frame.error_code
        return frame

    async def outcome(self, stream):
        """How a stream ends: `("reset", code)` or `(status, fields, body)`; `Closed` where the connection does."""
        status, fields, body = None, [], b""
        while True:
            frame = await self.frame()
            if isinstance(frame, HeadersFrame | ContinuationFrame):
                # What was encoded must be decoded in order, whatever stream it is of.
                got = [(name, value) for name, value in self.decoder.decode(frame.data, raw=True)]
            if frame.stream_id != stream:
                continue
            if isinstance(frame, RstStreamFrame):
                return ("reset", frame.error_code)
            if isinstance(frame, HeadersFrame):
                status = status or int(dict(got)[b":status"])
                fields += got
            elif isinstance(frame, DataFrame):
                body += frame.data
                if frame.data:
                    self.send(WindowUpdateFrame(0, window_increment=len(frame.data)),
                              WindowUpdateFrame(stream, window_increment=len(frame.data)))
            if "END_STREAM" in frame.flags:
                return (status, fields, body)

    async def closed(self):
        """The code with which the gateway ends the connection."""
        with contextlib.suppress(Closed):
            while True:
                await self.frame()
        return self.goaway

    async def settled(self):
        """Returns when the gateway has read everything before this; `Closed` where it ended the connection."""
        self.send(PingFrame(opaque_data=b"settled!"))
        while not (isinstance(frame := await self.frame(), PingFrame) and frame.opaque_data == b"settled!"):
            pass
