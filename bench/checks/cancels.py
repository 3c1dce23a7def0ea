"""Callers that leave in the middle, ten thousand times."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.client import Call
from harness.processes import BenchError

from .setup import Bench, Finding, Promise, Tunnel, expect

_CANCELS = 10_000
#: Cancels after which memory must have found its level.
_LEVEL = 2_000
_CALLERS = 32
_CHUNK = b"4000\r\n" + bytes(0x4000) + b"\r\n"


@dataclass
class _Run:
    """What ten thousand cancels did."""

    worst: float
    growth_kib: int
    descriptors: int


def _cancel(tunnel: Tunnel, number: int) -> float:
    """One caller that leaves mid-download, mid-upload or before the head; seconds until the app knows."""
    key = f"cancel-{number}"
    with Call(tunnel.address) as call:
        if number % 3 == 0:
            call.send_head("GET", f"/drip?id={key}")
            next(call.read_body(call.read_head()))
        elif number % 3 == 1:
            # Chunked, so that only the missing last chunk tells the app that this is not the whole.
            call.send_head("POST", f"/count?id={key}", [("Transfer-Encoding", "chunked")])
            call.send_body([_CHUNK])
            tunnel.app.wait_arrived(key)
        else:
            call.send_head("GET", f"/hang?id={key}")
            tunnel.app.wait_arrived(key)
        start = time.monotonic()
        if number % 2:
            call.abort()
    return tunnel.app.wait_left(key) - start


def _run(bench: Bench) -> _Run:
    tunnel = bench.tunnel()
    tunnel.warm_up()
    with ThreadPoolExecutor(_CALLERS) as callers:
        worst = max(callers.map(lambda number: _cancel(tunnel, number), range(_LEVEL)))
        level, descriptors = tunnel.resident_kib(), tunnel.descriptors()
        worst = max(worst, *callers.map(lambda number: _cancel(tunnel, number), range(_LEVEL, _CANCELS)))
    growth = tunnel.resident_kib() - level
    expect(tunnel.answers(), "a request after the cancels was not answered")
    expect(tunnel.app.open_calls() == 0, f"{tunnel.app.open_calls()} calls are still open at the app")
    return _Run(worst, growth, tunnel.descriptors() - descriptors)


def _cancels(bench: Bench) -> Finding:
    run = _run(bench)
    if run.descriptors > _CALLERS:
        raise BenchError(f"{run.descriptors} more descriptors are open than after {_LEVEL} cancels")
    figure = f"known within {run.worst:.3f} s, {run.growth_kib / 1024:+.2f} MiB, {run.descriptors:+} descriptors"
    return Finding(figure, "1 s, +1 MiB", run.worst <= 1.0 and run.growth_kib <= 1024)


PROMISES = [
    Promise(
        "cancels",
        "Callers leave mid-download, mid-upload and before the head, 10,000 times: the app knows within a second,"
        " nothing stays open, and memory after 10,000 is what it was after 2,000",
        _cancels,
    ),
]
