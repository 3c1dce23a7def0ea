"""A receiver that misbehaves: a WebSocket client that writes whatever it is told to, as fast as it can."""

from __future__ import annotations

import base64
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from . import wire
from .client import Address
from .processes import BenchError

TEXT, BINARY, PING = 0x1, 0x2, 0x9
_CLOSE = 0x8
_REQUEST_BYTES = 256 << 10

#: ANPX version 2 frame types and tags, as docs/protocol.md numbers them.
DATA, WINDOW, RESET, SETTINGS = 0x03, 0x05, 0x06, 0x07
HTTP_BODY, CREDIT, CODE = 0x03, 0x20, 0x21


@dataclass
class Ending:
    """How a flood ended: seconds until it was over, and the WebSocket close code if one came."""

    closed: bool
    seconds: float
    code: int | None


class HostileReceiver:
    """A tunnel that has shaken hands and sent its SETTINGS; from there on it obeys no rule."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, wire.IDLE_SECONDS)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET / HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Protocol: anpx.v2\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            # One byte at a time: what follows the head belongs to the WebSocket.
            byte = self._socket.recv(1)
            if not byte:
                raise BenchError("the gateway closed the handshake of a hostile receiver")
            head += byte
        if not head.startswith(b"HTTP/1.1 101 "):
            raise BenchError(f"the gateway refused a hostile receiver: {head.splitlines()[0]!r}")
        self._over = threading.Event()
        self._over_at = 0.0
        self._code: int | None = None
        threading.Thread(target=self._watch, daemon=True).start()
        self._socket.sendall(message(BINARY, frame(SETTINGS, 0)))

    def flood(self, pieces: Iterable[bytes], most_seconds: float) -> Ending:
        """Writes the pieces, many in a write, until they end, the gateway closes, or the time is up."""
        start = time.monotonic()
        pending = bytearray()
        try:
            for piece in pieces:
                pending += piece
                if len(pending) >= _REQUEST_BYTES:
                    if self._over.is_set() or time.monotonic() - start > most_seconds:
                        break
                    self._socket.sendall(pending)
                    pending.clear()
            else:
                self._socket.sendall(pending)
        except TimeoutError:
            pass
        except OSError:
            self._end()
        self._over.wait(max(0.0, start + most_seconds - time.monotonic()))
        closed = self._over.is_set()
        return Ending(closed, (self._over_at if closed else time.monotonic()) - start, self._code)

    def close(self) -> None:
        """Leaves with a TCP reset."""
        wire.reset(self._socket)

    def _watch(self) -> None:
        """Reads all that comes; the first Close frame, or the end of the connection, is the end."""
        stream = self._socket.makefile("rb")
        try:
            while True:
                opcode, length = stream.read(2)
                if length == 126:
                    (length,) = struct.unpack("!H", stream.read(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", stream.read(8))
                payload = stream.read(length)
                if opcode & 0xF == _CLOSE:
                    self._code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None
                    self._end()
        except (OSError, ValueError, struct.error):
            self._end()

    def _end(self) -> None:
        if not self._over.is_set():
            self._over_at = time.monotonic()
            self._over.set()


def message(opcode: int, payload: bytes, fin: bool = True, announced: int | None = None) -> bytes:
    """One WebSocket frame of a client, masked with zeros; `announced` lies about the length."""
    length = len(payload) if announced is None else announced
    first = opcode | (0x80 if fin else 0)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + bytes(4) + payload


def frame(kind: int, stream: int, *tags: tuple[int, bytes], flags: int = 0) -> bytes:
    """One ANPX version 2 frame with true checksums."""
    body = b"".join(struct.pack("!BI", tag, len(value)) + value for tag, value in tags)
    start = struct.pack("!4sBBBBI", b"ANPX", 2, kind, flags, 0, 24 + len(body))
    rest = struct.pack("!II", zlib.crc32(body), stream)
    return start + struct.pack("!I", zlib.crc32(start + rest)) + rest + body
