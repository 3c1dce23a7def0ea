"""The local app behind the tunnel: a small threaded HTTP/1.1 server that behaves well or badly on request.

`python3 -m harness.app` serves on an ephemeral loopback port, prints it, and runs until it is killed.

| target | what it does |
|---|---|
| `GET /` | answers `hello, anpx!` |
| `GET /bytes?n=N` | answers N bytes of `pattern`, with `&chunked=1` without a length |
| `GET /drip?id=I` | answers a head and then 64 bytes each 20 ms until the caller has gone |
| `GET /tokens?n=N` | answers N server-sent events, one each 20 ms, and the last one `[DONE]` |
| `GET /die?n=N&id=I` | announces a megabyte, sends N bytes of it and resets when released; `&chunked=1` as above |
| `GET /work?ms=N` | answers `hello, anpx!` after N milliseconds |
| `GET /reset` | resets the connection instead of answering |
| `ANY /hang?id=I` | reads the head and answers nothing until the other side leaves |
| `POST /count?id=I` | reads the body, answers its length; with `&digest=1` length and SHA-256 |
| `POST /ignore?id=I` | never reads the body and answers nothing until the other side leaves |
"""

from __future__ import annotations

import hashlib
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from . import wire
from .processes import BenchError

GREETING = b"hello, anpx!"
_BLOCK = random.Random(7).randbytes(1 << 20)


def pattern(length: int) -> Iterator[memoryview]:
    """`length` bytes that look random, in blocks of up to 1 MiB; the same for the same length."""
    view = memoryview(_BLOCK)
    # Each block starts elsewhere in the source, so that lost or swapped blocks change the checksum.
    shift = 0
    while length:
        piece = view[shift : shift + length]
        yield piece
        length -= len(piece)
        shift = (shift + 4_099) % 65_536


def pattern_digest(length: int) -> str:
    """SHA-256 of `pattern(length)`."""
    hasher = hashlib.sha256()
    for block in pattern(length):
        hasher.update(block)
    return hasher.hexdigest()


class _Record:
    """What happened to the requests of one id."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.arrived = threading.Event()
        self.left = threading.Event()
        self.left_at = 0.0
        self.released = threading.Event()


class App:
    """Serves on a loopback port until closed. Keeps what happened, by the `id` in the query."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1024)
        self.port: int = self._listener.getsockname()[1]
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()
        self._open = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_arrived(self, key: str, seconds: float = 10.0) -> None:
        """Waits for the head of a request with this id."""
        if not self._record(key).arrived.wait(seconds):
            raise BenchError(f"request {key} did not reach the app in {seconds:.0f} s")

    def wait_left(self, key: str, seconds: float = 10.0) -> float:
        """Waits until the app knows that the caller of this id is gone. Returns when (time.monotonic)."""
        record = self._record(key)
        if not record.left.wait(seconds):
            raise BenchError(f"the app did not learn in {seconds:.0f} s that the caller of {key} left")
        return record.left_at

    def arrivals(self, key: str) -> int:
        """How many requests with this id came."""
        return self._record(key).arrivals

    def release(self, key: str) -> None:
        """Lets a `/die` with this id do so."""
        self._record(key).released.set()

    def open_calls(self) -> int:
        """Requests that have come and are not over."""
        return self._open

    def serve_for_ever(self) -> None:
        """Waits until the process is ended."""
        threading.Event().wait()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = wire.Reader(connection)
        try:
            while (found := reader.head()) is not None:
                self._exchange(connection, reader, found[0], found[1])
        except (OSError, wire.Broken, wire.Malformed):
            pass
        finally:
            connection.close()

    def _exchange(self, connection: socket.socket, reader: wire.Reader, first: str, headers: wire.Headers) -> None:
        parts = urlsplit(first.split(" ")[1])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        record = self._record(query.get("id", ""))
        with self._lock:
            self._open += 1
            record.arrivals += 1
        record.arrived.set()
        left = False
        try:
            left = not self._answer(connection, reader, parts.path, query, headers)
        except (OSError, wire.Broken):
            left = True
            raise
        finally:
            with self._lock:
                self._open -= 1
            if left:
                record.left_at = time.monotonic()
                record.left.set()
        if left:
            raise wire.Broken("the caller left")

    def _answer(
        self,
        connection: socket.socket,
        reader: wire.Reader,
        path: str,
        query: dict[str, str],
        headers: wire.Headers,
    ) -> bool:
        """Answers as the table says; False if the other side left first."""
        if path == "/drip":
            _drip(connection)
            return False
        if path == "/tokens":
            _tokens(connection, int(query["n"]))
            return True
        if path in ("/hang", "/ignore"):
            _wait_for_end(connection)
            return False
        if path == "/work":
            time.sleep(int(query["ms"]) / 1000)
            connection.sendall(_whole(GREETING))
        elif path == "/reset":
            wire.reset(connection)
        elif path == "/die":
            _send_bytes(connection, 1_000_000, int(query["n"]), "chunked" in query)
            self._record(query["id"]).released.wait()
            wire.reset(connection)
        elif path == "/bytes":
            length = int(query["n"])
            _send_bytes(connection, length, length, "chunked" in query)
        elif path == "/count":
            connection.sendall(_whole(_count(reader, headers, "digest" in query)))
        else:
            for _ in reader.body(headers, to_end=False):
                pass
            connection.sendall(_whole(GREETING))
        return True

    def _record(self, key: str) -> _Record:
        with self._lock:
            return self._records.setdefault(key, _Record())


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _send_bytes(connection: socket.socket, announced: int, sent: int, chunked: bool) -> None:
    """A head that announces one length and `sent` bytes of it."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {announced}"
    connection.sendall(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
    for block in pattern(sent):
        if chunked:
            connection.sendall(b"%x\r\n" % len(block))
        connection.sendall(block)
        if chunked:
            connection.sendall(b"\r\n")
    if chunked and sent == announced:
        connection.sendall(b"0\r\n\r\n")


def _count(reader: wire.Reader, headers: wire.Headers, digest: bool) -> bytes:
    hasher = hashlib.sha256()
    total = 0
    for piece in reader.body(headers, to_end=False):
        total += len(piece)
        if digest:
            hasher.update(piece)
    return f"{total} {hasher.hexdigest()}".encode() if digest else str(total).encode()


def _drip(connection: socket.socket) -> None:
    """Sends a little again and again; returns once the other side has left."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        ready, _, _ = select.select([connection], [], [], 0.02)
        try:
            if ready and not connection.recv(65536):
                return
            connection.sendall(b"40\r\n" + b"." * 64 + b"\r\n")
        except OSError:
            return


def _tokens(connection: socket.socket, count: int) -> None:
    """Sends `count` events and ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(count):
        time.sleep(0.02)
        data = b"data: [DONE]\n\n" if number == count - 1 else b"data: token %d\n\n" % number
        connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
    connection.sendall(b"0\r\n\r\n")


def _wait_for_end(connection: socket.socket) -> None:
    """Returns once the other side has left, without reading anything."""
    # POLLRDHUP and POLLHUP tell the end even while unread bytes wait.
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    poller.poll()


if __name__ == "__main__":
    app = App()
    print(app.port, flush=True)
    app.serve_for_ever()
