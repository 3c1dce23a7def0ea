"""A long road between two ends: a TCP relay that holds back what passes, as distance and a narrow link do.

Each byte leaves the relay `delay` seconds after it came, and no more than `rate` bytes a second leave in either
direction. It takes in no more than such a link would have on its way, so that a sender is held back by it as by the
link. Losses are not made: what one end sends always arrives.
"""

from __future__ import annotations

import collections
import socket
import threading
import time

_PIECE = 64 << 10


class Relay:
    """Listens on a loopback port and passes every connection on to another."""

    def __init__(self, to: int, delay: float, rate: float) -> None:
        self._to, self._delay, self._rate = to, delay, rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((near, far), (far, near)):
                _Way(source, sink, self._delay, self._rate).start()


class _Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, rate: float) -> None:
        self._source, self._sink, self._delay, self._rate = source, sink, delay, rate
        self._held: collections.deque[tuple[float, bytes]] = collections.deque()
        self._size = 0
        # What the link holds when it is full, and a piece at each end.
        self._most = int(delay * rate) + 2 * _PIECE
        self._changed = threading.Condition()

    def start(self) -> None:
        """Begins."""
        for loop in (self._take, self._give):
            threading.Thread(target=loop, daemon=True).start()

    def _take(self) -> None:
        free = time.monotonic()
        while True:
            try:
                piece = self._source.recv(_PIECE)
            except OSError:
                piece = b""
            with self._changed:
                # The link takes one piece after the other, at its rate.
                free = max(free, time.monotonic()) + len(piece) / self._rate
                self._held.append((free + self._delay, piece))
                self._size += len(piece)
                self._changed.notify_all()
                if not piece:
                    return
                self._changed.wait_for(lambda: self._size < self._most)

    def _give(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held)
                due, piece = self._held[0]
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            try:
                if piece:
                    self._sink.sendall(piece)
                else:
                    self._sink.shutdown(socket.SHUT_WR)
            except OSError:
                self._source.close()
                return
            with self._changed:
                self._held.popleft()
                self._size -= len(piece)
                self._changed.notify_all()
            if not piece:
                return
