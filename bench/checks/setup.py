"""What every check stands on: a gateway and a receiver of its own in front of an app of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness import client, subjects
from harness.app import GREETING, App
from harness.processes import BenchError, Server, Servers

MIB = 1 << 20
GIB = 1 << 30


@dataclass
class Finding:
    """A figure beside its limit."""

    figure: str
    limit: str
    ok: bool


@dataclass
class Promise:
    """A promise and the check of it; the name is what --only takes."""

    name: str
    text: str
    check: Callable[[Bench], Finding]


@dataclass
class Tunnel:
    """A gateway and a receiver, started for one check."""

    owner: Servers
    binary: str
    app: App
    gateway: Server
    receiver: Server
    public_port: int
    tunnel_port: int

    @property
    def address(self) -> client.Address:
        """Where callers connect."""
        return ("127.0.0.1", self.public_port)

    def answers(self) -> bool:
        """Whether GET / comes back right now."""
        return client.is_answering(self.address, "/", GREETING)

    def warm_up(self) -> None:
        """Small exchanges of every kind, so that what each first use touches is resident already."""
        for number in range(32):
            client.download(self.address, "/bytes?n=65536", digest=False)
            client.upload(self.address, "/count", [bytes(65536)], 65536)
            with client.Call(self.address) as call:
                call.send_head("GET", f"/drip?id=warm-{number}")
                next(call.read_body(call.read_head()))
            self.app.wait_left(f"warm-{number}")
        for server in (self.gateway, self.receiver):
            server.reset_peak()

    def resident_kib(self) -> int:
        """Resident memory of both processes now."""
        return self.gateway.resident_kib() + self.receiver.resident_kib()

    def peak_kib(self) -> int:
        """Sum of both processes' peaks since `warm_up`; they need not have been at the same time."""
        return self.gateway.peak_kib() + self.receiver.peak_kib()

    def descriptors(self) -> int:
        """Open descriptors of both processes."""
        return self.gateway.descriptors() + self.receiver.descriptors()

    def start_receiver(self) -> Server:
        """One more receiver for the same app, ready."""
        return subjects.start_receiver(self.owner, self.binary, self.tunnel_port, self.app.port, receiver_args())

    def restart_gateway(self) -> None:
        """A new gateway on the ports of the one that is gone."""
        self.gateway, _, _ = subjects.start_gateway(
            self.owner, self.binary, gateway_args(), self.public_port, self.tunnel_port
        )


@dataclass
class Bench:
    """Starts tunnels for checks."""

    owner: Servers
    binary: str

    def tunnel(self, gateway: list[str] | None = None, origin: int | None = None) -> Tunnel:
        """A fresh gateway and receiver; `gateway` are further arguments, `origin` a port in place of the app's."""
        app = App()
        first, public, tunnel = subjects.start_gateway(self.owner, self.binary, [*gateway_args(), *(gateway or [])])
        receiver = subjects.start_receiver(self.owner, self.binary, tunnel, origin or app.port, receiver_args())
        made = Tunnel(self.owner, self.binary, app, first, receiver, public, tunnel)
        if origin is None:
            receiver.wait_until("the right answer to GET /", made.answers)
        return made


def gateway_args() -> list[str]:
    """Arguments for an experiment."""
    return subjects.environment_args("ANP_BENCH_GATEWAY_ARGS")


def receiver_args() -> list[str]:
    """Arguments for an experiment."""
    return subjects.environment_args("ANP_BENCH_RECEIVER_ARGS")


def growth(kib: int, limit_mib: int, note: str = "") -> Finding:
    """A finding about memory: what was added, in MiB."""
    return Finding(f"{kib / 1024:+.2f} MiB{note}", f"+{limit_mib} MiB", kib <= limit_mib * 1024)


def within(seconds: float, limit: float, note: str = "") -> Finding:
    """A finding about time."""
    return Finding(f"{seconds:.3f} s{note}", f"{limit:g} s", seconds <= limit)


def expect(condition: bool, what: str) -> None:
    """Ends a check whose figure would mean nothing."""
    if not condition:
        raise BenchError(what)
