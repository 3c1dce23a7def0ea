"""Reading HTTP/1.1 from a blocking socket: heads, and bodies by length, by chunks or to the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator

#: Bytes a read asks for at most.
READ_BYTES = 1 << 20
#: Seconds without a byte after which a reader gives up.
IDLE_SECONDS = 60.0

Headers = list[tuple[str, str]]


class Broken(Exception):
    """The message ended before its framing said so: what a peer must see when the other end died."""


class Malformed(Exception):
    """What arrived is not what was expected of HTTP/1.1."""


class Reader:
    """Reads messages of one connection, one after the other."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._buffer = bytearray(READ_BYTES)
        self._kept = b""

    def head(self) -> tuple[str, Headers, int] | None:
        """The first line, the headers (names in lower case) and the head's size; None at a clean end."""
        data = self._kept
        while b"\r\n\r\n" not in data:
            piece = self._receive(READ_BYTES)
            if not piece:
                if not data:
                    return None
                raise Broken(f"the connection ended after {len(data)} bytes of a head")
            data += piece
        text, _, self._kept = data.partition(b"\r\n\r\n")
        first, *rest = text.decode("latin-1").split("\r\n")
        headers = []
        for line in rest:
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        return first, headers, len(text) + 4

    def body(self, headers: Headers, to_end: bool) -> Iterator[memoryview]:
        """The body's pieces; each is valid until the next is asked for. Raises Broken on an early end.

        `to_end` says what no framing header means: a body up to the end, or none.
        """
        length = find(headers, "content-length")
        if (find(headers, "transfer-encoding") or "").lower() == "chunked":
            return self._chunks()
        if length is not None:
            return self._exactly(int(length))
        return self._rest() if to_end else iter(())

    def _receive(self, most: int) -> memoryview:
        view = memoryview(self._buffer)
        try:
            count = self._source.recv_into(view[: min(most, READ_BYTES)])
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Broken(f"the connection broke: {error.strerror}") from error
        except TimeoutError as error:
            raise Malformed(f"no byte in {self._source.gettimeout()} s") from error
        return view[:count]

    def _exactly(self, length: int) -> Iterator[memoryview]:
        left = length
        if self._kept and left:
            piece, self._kept = self._kept[:left], self._kept[left:]
            left -= len(piece)
            yield memoryview(piece)
        while left:
            view = self._receive(left)
            if not view:
                raise Broken(f"the connection ended {left} bytes before the end of {length}")
            left -= len(view)
            yield view

    def _line(self) -> bytes:
        while b"\r\n" not in self._kept:
            view = self._receive(READ_BYTES)
            if not view:
                raise Broken("the connection ended before the last chunk")
            self._kept += view
        line, _, self._kept = self._kept.partition(b"\r\n")
        return line

    def _chunks(self) -> Iterator[memoryview]:
        while True:
            line = self._line().split(b";")[0]
            try:
                size = int(line, 16)
            except ValueError as error:
                raise Malformed(f"not a chunk size: {line!r}") from error
            if size == 0:
                while self._line():
                    pass
                return
            yield from self._exactly(size)
            if self._line():
                raise Malformed("a chunk is longer than its size")

    def _rest(self) -> Iterator[memoryview]:
        if self._kept:
            yield memoryview(self._kept)
        while view := self._receive(READ_BYTES):
            yield view


def find(headers: Headers, name: str) -> str | None:
    """The first value of a header, its name in lower case."""
    return next((value for key, value in headers if key == name), None)


def reset(connection: socket.socket) -> None:
    """Ends a connection with a TCP reset, as a peer that crashes does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
