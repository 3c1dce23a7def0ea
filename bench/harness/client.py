"""A raw HTTP/1.1 caller over blocking sockets: fast on bulk, exact about broken messages."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import wire
from .wire import Broken, Headers, Malformed

Address = tuple[str, int]


@dataclass
class Head:
    """A response head; `size` is its length in bytes."""

    status: int
    headers: Headers
    size: int


class Call:
    """One request on a connection of its own, and the answer to it as it arrives."""

    def __init__(self, address: Address, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(wire.IDLE_SECONDS)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
        self._authority = f"{address[0]}:{address[1]}"
        self._reader = wire.Reader(self.socket)

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send_head(self, method: str, target: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Writes the request head, Host first."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._authority}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send_body(self, blocks: Iterable[bytes | memoryview]) -> None:
        """Writes body bytes as they are."""
        for block in blocks:
            self.socket.sendall(block)

    def abort(self) -> None:
        """Leaves with a TCP reset."""
        wire.reset(self.socket)

    def read_head(self) -> Head:
        """Reads the final response head; informational ones before it are skipped."""
        while True:
            found = self._reader.head()
            if found is None:
                raise Broken("the connection ended before a response head")
            first, headers, size = found
            parts = first.split(" ", 2)
            if len(parts) < 2 or parts[0] != "HTTP/1.1" or not parts[1].isdigit():
                raise Malformed(f"not an HTTP/1.1 status line: {first!r}")
            if int(parts[1]) >= 200:
                return Head(int(parts[1]), headers, size)

    def read_body(self, head: Head) -> Iterator[memoryview]:
        """The body's pieces. Each is valid until the next is asked for. Raises Broken on an early end."""
        if head.status in (204, 304):
            return iter(())
        return self._reader.body(head.headers, to_end=True)

    def read_whole(self, head: Head) -> bytes:
        """The whole body of a small answer."""
        return b"".join(bytes(piece) for piece in self.read_body(head))


def fetch(address: Address, target: str, tls: ssl.SSLContext | None = None) -> tuple[Head, bytes]:
    """GETs a small thing whole."""
    with Call(address, tls=tls) as call:
        call.send_head("GET", target)
        head = call.read_head()
        return head, call.read_whole(head)


def is_answering(address: Address, target: str, body: bytes, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a GET is answered 200 with this body now."""
    try:
        head, found = fetch(address, target, tls)
    except (OSError, Broken):
        return False
    return head.status == 200 and found == body


def download(
    address: Address, target: str, digest: bool, tls: ssl.SSLContext | None = None
) -> tuple[float, int, str]:
    """GETs a large thing. Returns seconds from connect to last byte, bytes, and SHA-256 if asked for."""
    hasher = hashlib.sha256()
    total = 0
    start = time.perf_counter()
    with Call(address, tls=tls) as call:
        call.send_head("GET", target)
        head = call.read_head()
        if head.status != 200:
            raise Malformed(f"GET {target} was answered {head.status}")
        for piece in call.read_body(head):
            total += len(piece)
            if digest:
                hasher.update(piece)
        seconds = time.perf_counter() - start
    return seconds, total, hasher.hexdigest() if digest else ""


def upload(
    address: Address,
    target: str,
    blocks: Iterable[bytes | memoryview],
    length: int,
    tls: ssl.SSLContext | None = None,
) -> tuple[float, bytes]:
    """POSTs a large thing. Returns seconds from connect to the end of the answer, and the answer's body."""
    start = time.perf_counter()
    with Call(address, tls=tls) as call:
        call.send_head("POST", target, [("Content-Length", str(length))])
        call.send_body(blocks)
        head = call.read_head()
        if head.status != 200:
            raise Malformed(f"POST {target} was answered {head.status}")
        answer = call.read_whole(head)
        seconds = time.perf_counter() - start
    return seconds, answer
