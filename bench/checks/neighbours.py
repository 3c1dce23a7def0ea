"""One slow end holds back its own caller, not its neighbours and not our memory."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness import client
from harness.app import pattern

from .setup import GIB, MIB, Bench, Finding, Promise, Tunnel, expect, growth

#: Seconds a slow end is left alone while memory is watched.
_WATCH_SECONDS = 5.0
#: Seconds without a byte accepted after which a caller counts as held back.
_STALL_SECONDS = 2.0
_PAIRS = 5
_SIBLING_BYTES = 256 * MIB
_SIBLING_REQUESTS = 1000


@contextmanager
def _slow_reader(tunnel: Tunnel) -> Iterator[None]:
    """A caller that takes 1 KiB a second of a 1 GiB answer while the block runs."""
    call = client.Call(tunnel.address, receive_buffer=16 << 10)
    call.send_head("GET", f"/bytes?n={GIB}")
    call.socket.recv(1024)
    over = threading.Event()

    def drain() -> None:
        while not over.wait(1.0):
            call.socket.recv(1024)

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join()
        call.abort()


def _bulk_rate(tunnel: Tunnel) -> float:
    seconds, total, _ = client.download(tunnel.address, f"/bytes?n={_SIBLING_BYTES}", digest=False)
    return total / seconds / 1e6


def _request_rate(tunnel: Tunnel) -> float:
    """Small requests one after the other on one connection, a second."""
    with client.Call(tunnel.address) as call:
        start = time.perf_counter()
        for _ in range(_SIBLING_REQUESTS):
            call.send_head("GET", "/")
            call.read_whole(call.read_head())
        return _SIBLING_REQUESTS / (time.perf_counter() - start)


def _siblings(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    shares = {}
    for name, rate in (("downloads", _bulk_rate), ("small requests", _request_rate)):
        rate(tunnel)
        alone, beside = [], []
        for _ in range(_PAIRS):
            alone.append(rate(tunnel))
            with _slow_reader(tunnel):
                beside.append(rate(tunnel))
        shares[name] = statistics.median(beside) / statistics.median(alone)
    figure = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return Finding(f"{figure} of their speed alone", "90%", min(shares.values()) >= 0.9)


def _slow_reader_memory(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.resident_kib()
    with _slow_reader(tunnel):
        time.sleep(_WATCH_SECONDS)
        expect(tunnel.answers(), "a small request beside the slow reader was not answered")
    return growth(tunnel.peak_kib() - before, 1)


def _push_until_held_back(call: client.Call) -> int:
    """Sends body bytes until none is accepted for a while. Returns how many were."""
    call.socket.settimeout(_STALL_SECONDS)
    accepted = 0
    for block in pattern(GIB):
        rest = block
        while rest:
            try:
                sent = call.socket.send(rest)
            except TimeoutError:
                return accepted
            accepted += sent
            rest = rest[sent:]
    return accepted


def _unread_upload(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.resident_kib()
    with client.Call(tunnel.address) as call:
        call.send_head("POST", "/ignore?id=unread", [("Content-Length", str(GIB))])
        accepted = _push_until_held_back(call)
        expect(accepted < GIB, "the caller was not held back")
        expect(tunnel.answers(), "a small request beside the upload was not answered")
        added = tunnel.peak_kib() - before
    return growth(added, 1, f", the caller was held back after {accepted / MIB:.1f} MiB (sockets included)")


def _stopped_receiver(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.gateway.resident_kib()
    with client.Call(tunnel.address) as call:
        call.send_head("POST", "/count?id=stopped", [("Content-Length", str(GIB))])
        tunnel.app.wait_arrived("stopped")
        tunnel.receiver.send(signal.SIGSTOP)
        try:
            accepted = _push_until_held_back(call)
            added = tunnel.gateway.peak_kib() - before
        finally:
            tunnel.receiver.send(signal.SIGCONT)
        expect(accepted < GIB, "the caller was not held back")
        call.abort()
    tunnel.app.wait_left("stopped")
    return growth(added, 1, f" at the gateway, the caller was held back after {accepted / MIB:.1f} MiB")


PROMISES = [
    Promise(
        "slow-reader-siblings",
        "While a caller reads 1 KiB/s of a 1 GiB answer, other callers keep at least 90 % of their speed",
        _siblings,
    ),
    Promise(
        "slow-reader-memory",
        "A caller that reads 1 KiB/s of a 1 GiB answer costs gateway and receiver together at most 1 MiB",
        _slow_reader_memory,
    ),
    Promise(
        "unread-upload-memory",
        "An app never reads a 1 GiB upload: the caller is held back, gateway and receiver grow by at most 1 MiB",
        _unread_upload,
    ),
    Promise(
        "stopped-receiver-memory",
        "A receiver stops reading during a 1 GiB upload: the caller is held back, the gateway grows by at most 1 MiB",
        _stopped_receiver,
    ),
]
