"""Ten thousand that wait: tunnels without a request, and callers without one."""

from __future__ import annotations

import socket
import time

from harness import subjects
from harness.processes import Server, free_port

from .network import gauge
from .setup import Bench, Finding, Promise, expect, gateway_args, receiver_args

_MANY = 10_000
#: Seconds over which the work of keeping them is measured: several rounds of pings.
_WATCH = 30.0
#: What one of them may hold of the gateway's memory, in KiB.
_KIB_EACH = 40.0
#: What they may cost together, as a part of one core.
_CORE = 0.05


def _finding(gateway: Server, before: int) -> Finding:
    start, spent = time.monotonic(), gateway.cpu_seconds()
    time.sleep(_WATCH)
    core = (gateway.cpu_seconds() - spent) / (time.monotonic() - start)
    # Not before: what all of them took to come together is given back a while later.
    each = (gateway.resident_kib() - before) / _MANY
    figure = f"{each:.1f} KiB each, {core:.1%} of a core"
    return Finding(figure, f"{_KIB_EACH:g} KiB, {_CORE:.0%}", each <= _KIB_EACH and core < _CORE)


def _tunnels(bench: Bench) -> Finding:
    owner, binary = bench.owner, bench.binary
    origin = subjects.start_sink(owner)
    public, tunnel, admin = free_port(), free_port(), free_port()
    args = [*gateway_args(), "--set", f"gateway.admin_listen=127.0.0.1:{admin}"]
    gateway = subjects.start_gateway(owner, binary, args, public, tunnel)[0]
    before = gateway.resident_kib()
    roads = [f"ws://127.0.0.1:{tunnel}/{number}" for number in range(1, _MANY // 2)]
    config = owner.directory / "receiver.toml"
    config.write_text(f"[receiver]\ngateways = {[f'ws://127.0.0.1:{tunnel}', *roads]}\n".replace("'", '"'))
    args = [*receiver_args(), "--config", str(config), "--to", f"http://127.0.0.1:{origin}"]
    receiver = owner.start("receiver", [binary, "receiver", *args])
    receiver.wait_until(f"{_MANY} tunnels", lambda: gauge(admin, "anp_gateway_tunnels") == _MANY)
    return _finding(gateway, before)


def _callers(bench: Bench) -> Finding:
    args = ["--set", f"gateway.max_connections={2 * _MANY}", "--set", "gateway.keep_alive_timeout=10m"]
    tunnel = bench.tunnel(gateway=args)
    before = tunnel.gateway.resident_kib()
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{tunnel.public_port}\r\n\r\n".encode()
    callers = []
    for _ in range(_MANY):
        caller = socket.create_connection(tunnel.address)
        caller.sendall(request)
        expect(caller.recv(4096).startswith(b"HTTP/1.1 200"), "a caller was not answered")
        callers.append(caller)
    finding = _finding(tunnel.gateway, before)
    for caller in callers:
        caller.sendall(request)
        expect(caller.recv(4096).startswith(b"HTTP/1.1 200"), "a caller that had waited was not answered")
        caller.close()
    return finding


PROMISES = [
    Promise(
        "idle-tunnels",
        f"{_MANY:,} tunnels without a request hold at most {_KIB_EACH:g} KiB each at the gateway, and cost less than"
        f" {_CORE:.0%} of a core",
        _tunnels,
    ),
    Promise(
        "idle-callers",
        f"{_MANY:,} callers that were answered and wait: the same",
        _callers,
    ),
]
