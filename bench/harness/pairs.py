"""Figures that are one measurement beside another: under TLS, beside bulk, among thousands, and of a gibibyte.

Each is taken in turns with what it is compared to, once a round.
"""

from __future__ import annotations

import ssl
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import app, client
from .authority import Authority
from .load import Wrk
from .processes import BenchError, Server, Servers, free_port
from .report import table, time_text
from .subjects import (
    GIBIBYTE,
    GREETING_PATH,
    Direct,
    NginxNginx,
    Rathole,
    Running,
    Subject,
    Tools,
    Us,
    check_answering,
    start_gateway,
    start_hop,
    start_receiver,
)

#: By name, a pair a round: the figure, and what it is compared to.
Pairs = dict[str, list[tuple[float, float]]]

#: Endpoints of the crowded gateway, and tunnels of another receiver on it.
_ENDPOINTS = 10_000
_TUNNELS = 1_000
#: Downloads beside which small requests are measured, and connections of those.
_BULK = 4
#: Bytes a second of each where they are held to a pace: all together a fifth of what the machine can carry.
_PACE = 50e6
_BESIDE_CONNECTIONS = 8
#: Bulk by name, and its pace.
_PACES = {"beside bulk": None, "beside paced bulk": _PACE}
#: Who is measured beside bulk.
_BESIDE: list[type[Direct | NginxNginx | Rathole | Us]] = [Direct, NginxNginx, Rathole, Us]


class Round:
    """The measurements of one round."""

    def __init__(
        self, number: int, owner: Servers, tools: Tools, runner: Wrk, origin: int, sink: int, seconds: int
    ) -> None:
        self._number, self._owner, self._tools, self._runner = number, owner, tools, runner
        self._origin, self._sink, self._seconds = origin, sink, seconds

    def run(self, into: Pairs) -> None:
        """Adds a pair to each figure whose peer is there."""
        for subject in _BESIDE:
            if subject is not Rathole or self._tools.rathole:
                for name, pace in _PACES.items():
                    into.setdefault(f"{name}: {subject.key}", []).append(self._beside_bulk(subject(), pace))
        measures = {"among thousands": self._crowd, "TLS": self._tls}
        for name, measure in measures.items():
            into.setdefault(name, []).append(measure())
        if self._tools.rathole:
            into.setdefault("1 GiB download", []).append(self._gibibyte(self._origin, self._download))
            into.setdefault("1 GiB upload", []).append(self._gibibyte(self._sink, self._upload))

    def _beside_bulk(self, subject: Subject, pace: float | None = None) -> tuple[float, float]:
        """p99 of small requests in µs: while downloads run through the same, each at `pace` bytes/s, and alone.

        Whatever else the machine does makes p99 longer, so alone is the less of before and after.
        """
        place = self._start(subject, self._origin)

        def p99() -> float:
            return self._runner.measure(place, _BESIDE_CONNECTIONS, self._seconds).p99

        before = p99()
        with _downloads(place, pace):
            beside = p99()
        after = p99()
        self._owner.stop(place.between)
        return beside, min(before, after)

    def _crowd(self) -> tuple[float, float]:
        """CPU a request in µs at 32 connections: at one of thousands of endpoints, among tunnels, and at the only one."""

        def cpu(place: Running, idle: list[Server]) -> float:
            self._runner.verify(place, 32)
            figure = self._runner.measure(place, 32, self._seconds).cpu
            self._owner.stop([*idle, *place.between])
            if figure is None:
                raise BenchError("there is no process to count")
            return figure

        return self._in_turn(
            lambda: cpu(*among(self._owner, self._us(), self._origin, _ENDPOINTS, _TUNNELS)),
            lambda: cpu(self._start(Us(), self._origin), []),
        )

    def _tls(self) -> tuple[float, float]:
        """Requests a second at 32 connections with TLS on both hops: ours, and nginx → nginx."""
        owner, tools = self._owner, self._tools
        authority = Authority(Path(owner.directory))
        certificate, key = authority.issue(0)
        binary = self._us()
        files = f'{{cert="{certificate}",key="{key}"}}'
        gateway, public, tunnel = start_gateway(owner, binary, ["--set", f"gateway.tls={files}"])
        trust = ["--set", f"receiver.ca_file={authority.file}"]
        receiver = start_receiver(owner, binary, tunnel, self._origin, trust, scheme="wss", host="localhost")
        trusted = ssl.create_default_context(cafile=str(authority.file))
        ours = Running(("localhost", public), [gateway, receiver], trusted)
        inner_port, outer_port = free_port(), free_port()
        tls = (certificate, key)
        inner = start_hop(owner, tools, "nginx receiver side", inner_port, f"http://127.0.0.1:{self._origin}", tls)
        outer = start_hop(owner, tools, "nginx gateway side", outer_port, f"https://127.0.0.1:{inner_port}", tls)
        theirs = Running(("localhost", outer_port), [outer, inner], trusted)

        def rate(place: Running) -> float:
            check_answering(place)
            self._runner.verify(place, 32)
            figure = self._runner.measure(place, 32, self._seconds).rps
            owner.stop(place.between)
            return figure

        return self._in_turn(lambda: rate(ours), lambda: rate(theirs))

    def _gibibyte(self, origin: int, transfer: Callable[[Running], float]) -> tuple[float, float]:
        """MB a second of one body of 1 GiB: ours, and rathole's."""

        def rate(subject: Us | Rathole) -> float:
            place = self._start(subject, origin)
            seconds = transfer(place)
            self._owner.stop(place.between)
            return GIBIBYTE / seconds / 1e6

        return self._in_turn(lambda: rate(Us()), lambda: rate(Rathole()))

    def _in_turn(self, ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float]:
        """Both figures; which is taken first changes from round to round."""
        if self._number % 2:
            second = theirs()
            return ours(), second
        return ours(), theirs()

    @staticmethod
    def _download(place: Running) -> float:
        seconds, total, _ = client.download(place.address, "/gibibyte", digest=False)
        if total != GIBIBYTE:
            raise BenchError(f"a download brought {total} bytes instead of {GIBIBYTE}")
        return seconds

    @staticmethod
    def _upload(place: Running) -> float:
        seconds, answer = client.upload(place.address, "/count", app.pattern(GIBIBYTE), GIBIBYTE)
        if answer != str(GIBIBYTE).encode():
            raise BenchError(f"an upload's answer was {answer!r} instead of its length")
        return seconds

    def _start(self, subject: Subject, origin: int) -> Running:
        place = subject.start(self._owner, self._tools, origin)
        check_answering(place)
        return place

    def _us(self) -> str:
        if self._tools.us is None:
            raise BenchError("anp-proxy is not among the subjects")
        return self._tools.us


def among(owner: Servers, binary: str, origin: int, endpoints: int, tunnels: int) -> tuple[Running, list[Server]]:
    """A gateway with so many endpoints and idle tunnels, and a receiver for the first endpoint; and who holds the
    idle tunnels. Ten endpoints are that receiver's, ten are theirs, the others are of receivers that are away."""
    lines = ["[gateway]", f"max_tunnels = {2 * max(tunnels, 10)}"]
    for number in range(endpoints):
        who = {0: "measured", 1: "crowd"}.get(number // 10, f"away-{number // 10}")
        path = GREETING_PATH if number == 0 else f"/endpoint/{number}"
        lines += ["[[gateway.endpoints]]", f'name = "e{number}"', f'path = "{path}"', f'receivers = ["{who}"]']
    config = owner.directory / f"crowd-{free_port()}.toml"
    config.write_text("\n".join(lines))
    gateway, public, tunnel = start_gateway(owner, binary, ["--config", str(config)])
    roads = [f"ws://127.0.0.1:{tunnel}/{number}" for number in range(tunnels // 2)]
    settings = owner.directory / f"crowd-receiver-{tunnel}.toml"
    quoted = ", ".join(f'"{road}"' for road in roads)
    settings.write_text(f'[receiver]\nname = "crowd"\ngateways = [{quoted}]\n')
    args = ["receiver", "--config", str(settings), "--to", f"http://127.0.0.1:{origin}"]
    crowd = owner.start("crowd", [binary, *args, "--log-format", "json"])
    crowd.wait_until(
        f"{tunnels} tunnels", lambda: crowd.log.read_text(errors="replace").count("tunnel ready") >= tunnels
    )
    receiver = start_receiver(owner, binary, tunnel, origin, ["--name", "measured"])
    place = Running(("127.0.0.1", public), [gateway, receiver])
    check_answering(place)
    return place, [crowd]


def beside_section(pairs: Pairs) -> str:
    """The medians of p99 alone and beside bulk, a subject a line, under their heading."""
    rows = []
    for subject in _BESIDE:
        if f"beside bulk: {subject.key}" not in pairs:
            continue
        row = [subject.label]
        for name in _PACES:
            beside, alone = map(statistics.median, zip(*pairs[f"{name}: {subject.key}"], strict=True))
            row += [time_text(alone), time_text(beside), f"{beside / alone:.1f}"]
        rows.append(row)
    paced = f"beside {_BULK} of {_PACE / 1e6:.0f} MB/s each"
    header = ["", "alone", f"beside {_BULK} downloads", "ratio", "alone", paced, "ratio"]
    return f"### p99 of 12-byte answers beside bulk, {_BESIDE_CONNECTIONS} connections\n\n{table(header, rows)}"


@contextmanager
def _downloads(place: Running, pace: float | None) -> Iterator[None]:
    """Keeps so many large downloads under way, each at `pace` bytes/s, or as fast as it goes."""
    over = threading.Event()
    broken: list[Exception] = []

    def load() -> None:
        while not over.is_set():
            with client.Call(place.address) as call:
                call.send_head("GET", "/gibibyte")
                began, total = time.monotonic(), 0
                for piece in call.read_body(call.read_head()):
                    total += len(piece)
                    early = began + total / pace - time.monotonic() if pace else 0
                    if over.wait(early) if early > 0 else over.is_set():
                        return

    def caller() -> None:
        try:
            load()
        except Exception as error:
            broken.append(error)

    callers = [threading.Thread(target=caller) for _ in range(_BULK)]
    for thread in callers:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in callers:
            thread.join()
    if broken:
        raise BenchError(f"a download beside small requests broke: {broken[0]}")
