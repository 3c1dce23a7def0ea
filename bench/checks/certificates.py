"""Certificates that are replaced while callers come (row 38 of the threats)."""

from __future__ import annotations

import os
import ssl
import socket
import time
from pathlib import Path

from harness import arrivals, subjects
from harness.arrivals import Plan
from harness.authority import NAME, Authority

from .setup import Bench, Finding, Promise, expect, gateway_args, receiver_args

_TIMES = 5
_RATE = 500.0
#: Share of the requests that shake hands for themselves.
_FRESH = 0.1
#: Seconds of traffic before, between and after the changes.
_BETWEEN = 1.0
#: Seconds within which callers are shown the new one.
_SOON = 5.0


def _shown(port: int, authority: Path) -> bytes:
    """The certificate that a new caller gets, in DER."""
    context = ssl.create_default_context(cafile=str(authority))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=NAME) as secure:
            return secure.getpeercert(binary_form=True) or b""


def _replaced(bench: Bench) -> Finding:
    owner, binary = bench.owner, bench.binary
    directory = Path(owner.directory)
    authority = Authority(directory)
    issued = [authority.issue(number) for number in range(_TIMES + 1)]
    cert, key = directory / "gate.pem", directory / "gate.key"

    def put(files: tuple[Path, Path]) -> None:
        # Each in one step, as tools that renew certificates do; the two not together.
        for new, place in zip(files, (cert, key)):
            step = directory / "new"
            step.touch(mode=0o600)
            step.write_bytes(new.read_bytes())
            os.replace(step, place)

    put(issued[0])
    origin = subjects.start_sink(owner)
    tls = ["--set", f"gateway.tls.cert={cert}", "--set", f"gateway.tls.key={key}", "--set", "gateway.plain_tunnels=true"]
    _, public, tunnel = subjects.start_gateway(owner, binary, [*gateway_args(), *tls])
    subjects.start_receiver(owner, binary, tunnel, origin, receiver_args())
    seconds = _BETWEEN + _TIMES * (_SOON + _BETWEEN)
    plan = Plan(
        NAME, public, "/", seconds, rate=_RATE, patience=5.0, warm_up=_BETWEEN, ca_file=str(authority.file), fresh=_FRESH
    )
    load = arrivals.start(plan)
    slowest = 0.0
    for files in issued[1:]:
        time.sleep(_BETWEEN)
        start = time.monotonic()
        put(files)
        expected = ssl.PEM_cert_to_DER_cert(files[0].read_text())
        while _shown(public, authority.file) != expected and time.monotonic() - start < 4 * _SOON:
            time.sleep(0.05)
        slowest = max(slowest, time.monotonic() - start)
    outcome = arrivals.finish(load)
    failed = [*outcome.failures, *["late"] * outcome.late, *["refused"] * outcome.refused]
    first = f"; the first: {failed[0]}" if failed else ""
    figure = f"{len(failed)} of {outcome.good + len(failed)} failed, shown within {slowest:.2f} s{first}"
    # A generator that fell behind has not asked what was promised.
    enough = outcome.goodput >= 0.95 * _RATE or bool(failed)
    expect(enough, f"only {outcome.goodput:.0f} requests a second were made")
    return Finding(figure, f"0 failed, shown within {_SOON:g} s", not failed and slowest <= _SOON)


PROMISES = [
    Promise(
        "certificate-replaced",
        f"The certificate is replaced {_TIMES} times at 500 HTTPS requests a second, one in ten on a connection of its"
        " own: none fails, and new callers are shown the new one in time",
        _replaced,
    ),
]
