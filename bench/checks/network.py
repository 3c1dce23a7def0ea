"""What the network does: gateways that go away under thousands of tunnels, and peers that vanish without a word."""

from __future__ import annotations

import signal
import time
import urllib.request

from harness import client, subjects
from harness.app import GREETING
from harness.processes import Server, free_port
from harness.relay import Relay

from .setup import Bench, Finding, Promise, expect, gateway_args, receiver_args, within

#: Receivers of the storm, with two tunnels each.
_RECEIVERS = 1_000
_AWAY_SECONDS = 5.0
#: Seconds from one end of the long road to the other and back.
_ROUND_TRIP = 0.1


def gauge(admin: int, name: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return int(float(line.split()[1]))
    return 0


def _storm(bench: Bench) -> Finding:
    """One process stands for all receivers: each tunnel connects, waits and tries again by itself."""
    owner, binary = bench.owner, bench.binary
    origin = subjects.start_sink(owner)
    public, tunnel, admin = free_port(), free_port(), free_port()
    args = [*gateway_args(), "--set", f"gateway.admin_listen=127.0.0.1:{admin}"]
    gateway = subjects.start_gateway(owner, binary, args, public, tunnel)[0]
    roads: list[str] = []
    for number in range(1, _RECEIVERS):
        roads += ["--gateway", f"ws://127.0.0.1:{tunnel}/{number}"]
    receiver = subjects.start_receiver(owner, binary, tunnel, origin, [*receiver_args(), *roads])
    every = 2 * _RECEIVERS

    def tunnels() -> int:
        return gauge(admin, "anp_gateway_tunnels")

    receiver.wait_until(f"{every} tunnels", lambda: tunnels() == every)
    gateway.kill()
    time.sleep(_AWAY_SECONDS)
    gateway = subjects.start_gateway(owner, binary, args, public, tunnel)[0]
    start = time.monotonic()
    most = 0.0
    while (count := tunnels()) < every:
        if count >= 0.95 * every and not most:
            most = time.monotonic() - start
        expect(time.monotonic() - start < 60, f"{count} of {every} tunnels came back in 60 s")
        time.sleep(0.05)
    whole = time.monotonic() - start
    expect(client.is_answering(("127.0.0.1", public), "/", GREETING), "a request after the storm was not answered")
    most = most or whole
    return Finding(f"95 % after {most:.1f} s, all after {whole:.1f} s", "15 s, 60 s", most <= 15 and whole <= 60)


def _vanished(bench: Bench) -> Finding:
    """A stopped process acknowledges and says nothing, as a cut cable does but for the acknowledgement."""
    tunnel = bench.tunnel()
    before = tunnel.gateway.descriptors()
    second: Server = tunnel.start_receiver()
    expect(tunnel.gateway.descriptors() > before, "the second receiver has no tunnel")
    tunnel.receiver.send(signal.SIGSTOP)
    second.send(signal.SIGSTOP)
    start = time.monotonic()
    with client.Call(tunnel.address) as call:
        call.send_head("POST", "/hang?id=vanished", [("Content-Length", "0")])
        head = call.read_head()
        call.read_whole(head)
    expect(head.status == 502, f"the caller under way got {head.status}")

    def is_gone() -> bool:
        head, _ = client.fetch(tunnel.address, "/")
        return head.status == 503

    tunnel.gateway.wait_until("503 to a request", is_gone)
    seconds = time.monotonic() - start
    left = tunnel.gateway.descriptors() - before
    expect(left < 0, f"{left:+} descriptors beside the first receiver's")
    return within(seconds, 25.0, " until the route was gone, nothing left of it")


def _rate(address: client.Address, settle: float, seconds: float) -> float:
    """Bytes a second of one download, once it had `settle` seconds to find its pace."""
    with client.Call(address) as call:
        call.send_head("GET", "/bytes?n=1000000000000")
        pieces = call.read_body(call.read_head())
        begin = time.monotonic()
        while time.monotonic() - begin < settle:
            next(pieces)
        start, total = time.monotonic(), 0
        while (now := time.monotonic()) - start < seconds:
            total += len(next(pieces))
        return total / (now - start)


def road(bench: Bench, rate: float, round_trip: float = _ROUND_TRIP) -> tuple[float, float]:
    """A plain TCP connection to the app and one through the tunnel, over the same road: bytes a second."""
    owner, binary = bench.owner, bench.binary
    origin = subjects.start_sink(owner)
    plain = Relay(origin, round_trip / 2, rate)
    alone = _rate(("127.0.0.1", plain.port), 1, 4)
    _, public, tunnel = subjects.start_gateway(owner, binary, gateway_args())
    relay = Relay(tunnel, round_trip / 2, rate)
    subjects.start_receiver(owner, binary, relay.port, origin, receiver_args())
    through = _rate(("127.0.0.1", public), 6, 4)
    for road in (plain, relay):
        road.close()
    return alone, through


def _long_road(bench: Bench) -> Finding:
    figures, worst = [], 1.0
    for rate in (125e6, 1e6):
        alone, through = road(bench, rate)
        worst = min(worst, through / alone)
        figures.append(f"{through / 1e6:.1f} of {alone / 1e6:.1f} MB/s")
    return Finding(f"{worst:.0%}: {', '.join(figures)}", "90%", worst >= 0.9)


PROMISES = [
    Promise(
        "long-road",
        f"One download over a round trip of {_ROUND_TRIP * 1e3:g} ms, at 1 Gbit/s and at 8 Mbit/s, gets at least 90 %"
        " of what a plain TCP connection gets there, once it has found its pace",
        _long_road,
    ),
    Promise(
        "storm",
        f"A gateway is away for {_AWAY_SECONDS:g} s under {_RECEIVERS:,} receivers with two tunnels each: 95 % of the"
        " tunnels are back within 15 s, all within 60 s",
        _storm,
    ),
    Promise(
        "peer-vanished",
        "Receivers vanish without a word: within 25 s callers get 502 and 503, and nothing of the tunnels is left",
        _vanished,
    ),
]
