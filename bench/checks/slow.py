"""Callers and receivers that say nothing, or too little: they are closed in time."""

from __future__ import annotations

import socket
import threading
import time

from .setup import Bench, Finding, Promise, expect

#: Seconds after which they must be gone. The gateway's own timer is set to 10 s; a little for its turn.
_LIMIT = 10.5
_SILENT = b""
#: The first bytes of HTTP/2's preface (RFC 9113 section 3.4), which could still be those of a request.
_PREFACE = b"PRI * HT"
_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "


class _Slow(threading.Thread):
    """Says `first`, then a byte of `drip` each second, and notes when the other end has had enough."""

    def __init__(self, port: int, first: bytes, drip: bytes) -> None:
        super().__init__(daemon=True)
        self.seconds: float | None = None
        self._drip = drip
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._began = time.monotonic()
        self._socket.sendall(first)

    def run(self) -> None:
        """Until it is closed; gives up at three times the limit."""
        self._socket.settimeout(1.0)
        while time.monotonic() - self._began < 3 * _LIMIT:
            try:
                if not self._socket.recv(4096):
                    break
            except TimeoutError:
                if self._drip:
                    self._socket.sendall(self._drip)
            except OSError:
                break
        self.seconds = time.monotonic() - self._began


def _slow(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    before = tunnel.gateway.descriptors()
    slow = {
        f"{what} at the {listener} listener": _Slow(port, first, drip)
        for listener, port in (("public", tunnel.public_port), ("tunnel", tunnel.tunnel_port))
        for what, first, drip in (
            ("silence", _SILENT, b""),
            ("a part of HTTP/2's preface", _PREFACE, b""),
            ("a head of a byte a second", _HEAD, b"x"),
        )
    }
    for one in slow.values():
        one.start()
    worst, longest = "", 0.0
    for what, one in slow.items():
        one.join()
        expect(one.seconds is not None, f"{what} was not noticed")
        if (one.seconds or 0.0) > longest:
            worst, longest = what, one.seconds or 0.0
    expect(tunnel.answers(), "a request beside them was not answered")
    tunnel.gateway.wait_until("their descriptors to be closed", lambda: tunnel.gateway.descriptors() <= before)
    return Finding(f"{longest:.1f} s ({worst})", f"{_LIMIT:g} s", longest <= _LIMIT)


PROMISES = [
    Promise(
        "slow-heads",
        "A silent connection, a lone part of HTTP/2's preface and a head of a byte a second, at either listener, are"
        f" closed within {_LIMIT:g} s",
        _slow,
    ),
]
