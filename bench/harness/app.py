"""The local app behind the tunnel: a small threaded HTTP/1.1 server that behaves well or badly on request.

`python3 bench/harness/app.py` serves on an ephemeral loopback port, prints it, and runs until it is killed.

| target | what it does |
|---|---|
| `GET /` | answers `hello, anpx!` |
| `GET /bytes?n=N` | answers N bytes of `pattern`, with `&chunked=1` without a length |
| `GET /drip?id=I` | answers a head and then 64 bytes each 20 ms until the caller has gone |
| `GET /die?n=N` | announces a megabyte, sends N bytes of it and resets; with `&chunked=1` without a length |
| `GET /reset` | resets the connection instead of answering |
| `ANY /hang?id=I` | reads the head and answers nothing until the other side leaves |
| `POST /count` | reads the body, answers its length; with `?digest=1` length and SHA-256 |
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

if __package__:
    from . import wire
else:
    import wire

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


class App:
    """Serves on a loopback port until closed. Keeps what happened, by the `id` in the query."""

    def __init__(self, receive_buffer: int | None = None) -> None:
        self._listener = socket.socket()
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1024)
        self.port: int = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._arrived: dict[str, list[float]] = {}
        self._left: dict[str, float] = {}
        self.open_calls = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stops listening; connections that are open stay."""
        self._listener.close()

    def wait_arrived(self, key: str, seconds: float = 10.0) -> float:
        """Waits for a request with this id. Returns when it came (time.monotonic)."""
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._arrived, seconds):
                raise TimeoutError(f"request {key} did not reach the app in {seconds:.0f} s")
            return self._arrived[key][0]

    def wait_left(self, key: str, seconds: float = 10.0) -> float:
        """Waits until the app knows that the caller of this id is gone. Returns when (time.monotonic)."""
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._left, seconds):
                raise TimeoutError(f"the app did not learn in {seconds:.0f} s that the caller of {key} left")
            return self._left[key]

    def arrivals(self, key: str) -> int:
        """How many requests with this id came."""
        with self._changed:
            return len(self._arrived.get(key, ()))

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
                first, headers, _ = found
                method, target, _ = first.split(" ")
                query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
                key = query.get("id", "")
                with self._changed:
                    self.open_calls += 1
                    self._arrived.setdefault(key, []).append(time.monotonic())
                    self._changed.notify_all()
                try:
                    self._answer(connection, reader, method, urlsplit(target).path, query, headers)
                finally:
                    with self._changed:
                        self.open_calls -= 1
        except (OSError, wire.Broken, wire.Malformed):
            pass
        finally:
            connection.close()

    def _answer(
        self,
        connection: socket.socket,
        reader: wire.Reader,
        method: str,
        path: str,
        query: dict[str, str],
        headers: wire.Headers,
    ) -> None:
        if path == "/drip":
            _drip(connection)
            self._leave(query)
        elif path in ("/hang", "/ignore"):
            _wait_for_end(connection)
            self._leave(query)
        elif path == "/reset":
            wire.reset(connection)
        elif path == "/die":
            _send_bytes(connection, 1_000_000, int(query["n"]), "chunked" in query)
            wire.reset(connection)
        elif path == "/bytes":
            length = int(query["n"])
            _send_bytes(connection, length, length, "chunked" in query)
        elif path == "/count":
            connection.sendall(_whole(_count(reader, headers, "digest" in query)))
        else:
            for _ in reader.body(headers, to_end=False):
                pass
            connection.sendall(_whole(b"" if method == "HEAD" else GREETING))

    def _leave(self, query: dict[str, str]) -> None:
        with self._changed:
            self._left[query.get("id", "")] = time.monotonic()
            self._changed.notify_all()


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
