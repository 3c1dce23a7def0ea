"""Deploys under load: twenty gateways in a row, each in the place of the last, and twenty receivers."""

from __future__ import annotations

import signal
import time

from harness import subjects
from harness.mixed import Mixed, Tally, Traffic
from harness.processes import Server, free_port

from .setup import Bench, Finding, Promise, expect, gateway_args, receiver_args

_RESTARTS = 20
#: `drain_timeout` of what is restarted, in seconds: longer than the longest token stream.
_DRAIN = 10
#: Seconds of traffic between two restarts.
_BETWEEN = 0.5


def _ended(server: Server) -> float:
    """Seconds until a process that was told to stop has ended, with 0."""
    start = time.monotonic()
    code = server.process.wait(_DRAIN + 20)
    expect(code == 0, f"{server.name} ended with exit code {code}")
    return time.monotonic() - start


def _finding(tally: Tally, slowest: float) -> Finding:
    first = f"; the first: {tally.failures[0]}" if tally.failures else ""
    figure = f"{tally}, the slowest small one {tally.worst:.2f} s; exits within {slowest:.2f} s{first}"
    ok = not tally.failures and slowest <= _DRAIN + 1
    return Finding(figure, f"0 failed, exits within {_DRAIN + 1} s", ok)


def _gateways(bench: Bench) -> Finding:
    """Each by `--replace`, while the receiver stays."""
    owner, binary = bench.owner, bench.binary
    origin = subjects.start_sink(owner)
    public, tunnel = free_port(), free_port()
    args = [*gateway_args(), "--set", f"gateway.drain_timeout={_DRAIN}s"]
    args += ["--set", f"gateway.control_socket={owner.directory}/gateway.sock"]

    def start(*more: str) -> Server:
        return subjects.start_gateway(owner, binary, [*args, *more], public, tunnel)[0]

    gateway = start()
    receiver = subjects.start_receiver(owner, binary, tunnel, origin, receiver_args())
    load = Mixed(("127.0.0.1", public), Traffic()).start()
    slowest = 0.0
    for _ in range(_RESTARTS):
        time.sleep(_BETWEEN)
        following = start("--replace")
        slowest = max(slowest, _ended(gateway))
        receiver.check_alive()
        gateway = following
    time.sleep(_BETWEEN)
    return _finding(load.stop(), slowest)


def _receivers(bench: Bench) -> Finding:
    """Two serve the same app; each in turn is stopped once its successor is there."""
    owner, binary = bench.owner, bench.binary
    origin = subjects.start_sink(owner)
    gateway, public, tunnel = subjects.start_gateway(owner, binary, gateway_args())
    args = [*receiver_args(), "--set", f"receiver.drain_timeout={_DRAIN}s"]
    receiver = subjects.start_receiver(owner, binary, tunnel, origin, args)
    load = Mixed(("127.0.0.1", public), Traffic()).start()
    slowest = 0.0
    for _ in range(_RESTARTS):
        time.sleep(_BETWEEN)
        following = subjects.start_receiver(owner, binary, tunnel, origin, args)
        receiver.send(signal.SIGTERM)
        slowest = max(slowest, _ended(receiver))
        gateway.check_alive()
        receiver = following
    time.sleep(_BETWEEN)
    return _finding(load.stop(), slowest)


PROMISES = [
    Promise(
        "gateway-replaced",
        f"{_RESTARTS} gateways in a row take the last one's place at 500 requests a second, with token streams and"
        " uploads: none fails, and each ends in time",
        _gateways,
    ),
    Promise(
        "receiver-replaced",
        f"{_RESTARTS} receivers in a row, each stopped once the next is there, under the same load: none fails, and"
        " each ends in time",
        _receivers,
    ),
]
