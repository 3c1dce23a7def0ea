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
        # What was received and not yet given out: buffer[start:end].
        self._start = 0
        self._end = 0

    def head(self) -> tuple[str, Headers, int] | None:
        """The first line, the headers (names in lower case) and the head's size; None at a clean end."""
        if self._start == self._end and not self._receive():
            return None
        data = self._until(b"\r\n\r\n")
        first, *rest = data.decode("latin-1").split("\r\n")
        headers = []
        for line in rest:
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        return first, headers, len(data) + 4

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

    def _receive(self) -> bool:
        """Reads what there is behind what is held; False at the end of the connection."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == READ_BYTES:
            held = self._buffer[self._start : self._end]
            if len(held) == READ_BYTES:
                raise Malformed(f"a line or head is longer than {READ_BYTES} bytes")
            self._buffer[: len(held)] = held
            self._start, self._end = 0, len(held)
        try:
            count = self._source.recv_into(memoryview(self._buffer)[self._end :])
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Broken(f"the connection broke: {error.strerror}") from error
        except TimeoutError as error:
            raise Malformed(f"no byte in {self._source.gettimeout()} s") from error
        self._end += count
        return count > 0

    def _until(self, mark: bytes) -> bytes:
        """What comes before the next mark, which is taken as well."""
        while (found := self._buffer.find(mark, self._start, self._end)) < 0:
            if not self._receive():
                raise Broken("the connection ended inside a head or before the last chunk")
        data = bytes(self._buffer[self._start : found])
        self._start = found + len(mark)
        return data

    def _take(self, most: int) -> memoryview:
        """Up to `most` bytes, received if none are held; empty at the end of the connection."""
        if self._start == self._end and not self._receive():
            return memoryview(b"")
        start = self._start
        self._start = min(self._end, start + most)
        return memoryview(self._buffer)[start : self._start]

    def _exactly(self, length: int) -> Iterator[memoryview]:
        left = length
        while left:
            view = self._take(left)
            if not view:
                raise Broken(f"the connection ended {left} bytes before the end of {length}")
            left -= len(view)
            yield view

    def _chunks(self) -> Iterator[memoryview]:
        while True:
            line = self._until(b"\r\n").split(b";")[0]
            try:
                size = int(line, 16)
            except ValueError as error:
                raise Malformed(f"not a chunk size: {line!r}") from error
            if size == 0:
                while self._until(b"\r\n"):
                    pass
                return
            yield from self._exactly(size)
            if self._until(b"\r\n"):
                raise Malformed("a chunk is longer than its size")

    def _rest(self) -> Iterator[memoryview]:
        while view := self._take(READ_BYTES):
            yield view


def find(headers: Headers, name: str) -> str | None:
    """The first value of a header, its name in lower case."""
    return next((value for key, value in headers if key == name), None)


def reset(connection: socket.socket) -> None:
    """Ends a connection with a TCP reset, as a peer that crashes does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
