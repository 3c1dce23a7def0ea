"""A version-2 receiver made of frames: it answers requests with whatever a test wants said.

Encodes and decodes what that takes and checks nothing (protocol.md, section 3).
"""

import asyncio
import struct
import zlib
from dataclasses import dataclass

from websockets.asyncio.client import connect

REQUEST, RESPONSE, DATA, TRAILERS, WINDOW, RESET, SETTINGS, GOAWAY = range(1, 9)
END_STREAM, UPGRADE, INFORMATIONAL = 0x02, 0x04, 0x08
REQUEST_ID, BODY, METHOD, TARGET, HEADERS, STATUS, CODE = 0x01, 0x03, 0x10, 0x11, 0x14, 0x15, 0x21


@dataclass
class Frame:
    """One frame: tags by number, values as bytes."""

    kind: int
    flags: int
    stream: int
    tags: dict


def encode(kind, stream, flags=0, **tags):
    """The bytes of a frame; tags are `body`, `headers` (pairs of bytes), `status`, `code`."""
    parts = b""
    for name, value in tags.items():
        tag = {"body": BODY, "headers": HEADERS, "status": STATUS, "code": CODE}[name]
        if name == "headers":
            value = b"".join(
                struct.pack(">H", len(key)) + key + struct.pack(">H", len(item)) + item for key, item in value)
        elif name != "body":
            value = struct.pack(">H" if name == "status" else ">I", value)
        parts += struct.pack(">BI", tag, len(value)) + value
    start = b"ANPX" + struct.pack(">BBBBI", 2, kind, flags, 0, 24 + len(parts))
    end = struct.pack(">II", zlib.crc32(parts), stream)
    return start + struct.pack(">I", zlib.crc32(start + end)) + end + parts


def decode(data):
    """The frame in `data`."""
    _, kind, flags, _, _, _, _, stream = struct.unpack_from(">BBBBIIII", data, 4)
    tags, at = {}, 24
    while at < len(data):
        tag, length = struct.unpack_from(">BI", data, at)
        tags[tag] = data[at + 5:at + 5 + length]
        at += 5 + length
    return Frame(kind, flags, stream, tags)


class Receiver:
    """`async with Receiver(url, answer)`: sends the frames that `answer(request)` gives, as bytes.

    `frames` is a queue of everything else the gateway sent; `closed` the code of its Close.
    """

    def __init__(self, url, answer):
        self.url, self.answer = url, answer
        self.frames = asyncio.Queue()

    async def __aenter__(self):
        self.socket = await connect(self.url, subprotocols=("anpx.v2",), max_size=None, proxy=None)
        await self.socket.send(encode(SETTINGS, 0))
        self._reading = asyncio.ensure_future(self._read())
        assert (await self.frames.get()).kind == SETTINGS
        # What answers this ping has read what came before it.
        await (await self.socket.ping())
        return self

    async def __aexit__(self, *_):
        await self.socket.close()
        await self._reading

    async def _read(self):
        async for message in self.socket:
            frame = decode(message)
            if frame.kind != REQUEST:
                self.frames.put_nowait(frame)
                continue
            for answer in self.answer(frame):
                await self.socket.send(answer)
