"""Callers of small requests that come by a schedule, or one after the other.

`python3 -m harness.arrivals '{...}'` takes the fields of `Plan`, runs it, and prints what came of it as JSON: a
process of its own, so that it does not share an interpreter with the app that it loads.

An **open** plan sends each request when its time has come, however many are still unanswered, as crowds of callers do
who know nothing of one another. Times are counted from that moment and not from when a connection was free, so that
what a slow server delays is not left out. A **closed** plan has so many callers that each wait for their answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .app import GREETING
from .processes import BenchError

_BENCH = Path(__file__).resolve().parents[1]


@dataclass
class Plan:
    """What is asked: `rate` a second, or by so many `callers` that wait, for `seconds`."""

    host: str
    port: int
    path: str
    seconds: float
    rate: float = 0.0
    callers: int = 0
    #: Seconds after which a caller has given up; a later answer is worth nothing.
    patience: float = 2.5
    #: Seconds at the beginning that do not count.
    warm_up: float = 2.0
    seed: int = 7
    #: PEM file of the authority that HTTPS callers trust; plain HTTP without it.
    ca_file: str = ""
    #: Share of the requests that come on a connection of their own.
    fresh: float = 0.0


@dataclass
class Outcome:
    """What came of the requests that were over between warm-up and end."""

    #: Right answers in time, a second.
    goodput: float = 0.0
    good: int = 0
    #: Answers 429 and 503.
    refused: int = 0
    #: Right answers that came when the caller had given up, or did not come.
    late: int = 0
    #: Anything else, in words.
    failures: list[str] = field(default_factory=list)
    #: Seconds of good answers and of refusals: median and 99th percentile.
    p50: float = 0.0
    p99: float = 0.0
    refused_p50: float = 0.0
    #: The latest that a request was sent after its time, in seconds: the generator's own fault.
    behind: float = 0.0


def run(plan: Plan) -> Outcome:
    """Runs a plan in a process of its own."""
    return finish(start(plan))


def start(plan: Plan) -> subprocess.Popen[str]:
    """Begins a plan; `finish` gives its outcome."""
    command = [sys.executable, "-m", "harness.arrivals", json.dumps(asdict(plan))]
    return subprocess.Popen(command, cwd=_BENCH, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Waits for the end of a plan."""
    out, _ = process.communicate()
    if process.returncode != 0:
        raise BenchError(f"the load generator ended with {process.returncode}")
    return Outcome(**json.loads(out))


class _Run:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tls = ssl.create_default_context(cafile=plan.ca_file) if plan.ca_file else None
        self._chance = random.Random(plan.seed + 1)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._outcome = Outcome()
        self._good: list[float] = []
        self._refused: list[float] = []
        self._begin = 0.0

    async def whole(self) -> Outcome:
        self._begin = time.monotonic()
        await (self._open() if self._plan.rate else self._closed())
        for _, writer in self._idle:
            writer.close()
        outcome = self._outcome
        outcome.good, outcome.refused = len(self._good), len(self._refused)
        outcome.goodput = outcome.good / (self._plan.seconds - self._plan.warm_up)
        outcome.p50, outcome.p99 = _percentile(self._good, 0.5), _percentile(self._good, 0.99)
        outcome.refused_p50 = _percentile(self._refused, 0.5)
        return outcome

    async def _open(self) -> None:
        chance = random.Random(self._plan.seed)
        tasks: set[asyncio.Task[None]] = set()
        due = self._begin
        while (due := due + chance.expovariate(self._plan.rate)) < self._begin + self._plan.seconds:
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._outcome.behind = max(self._outcome.behind, time.monotonic() - due)
            task = asyncio.create_task(self._one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.gather(*tasks)

    async def _closed(self) -> None:
        async def caller() -> None:
            while time.monotonic() < self._begin + self._plan.seconds:
                await self._one(time.monotonic())

        await asyncio.gather(*(caller() for _ in range(self._plan.callers)))

    async def _one(self, due: float) -> None:
        said = ""
        status = 0
        try:
            status = await asyncio.wait_for(self._exchange(), self._plan.patience - (time.monotonic() - due))
        except (asyncio.TimeoutError, TimeoutError):
            status = -1
        except (OSError, EOFError, ValueError) as error:
            said = str(error) or type(error).__name__
        now = time.monotonic()
        if not self._plan.warm_up <= now - self._begin <= self._plan.seconds:
            return
        if status == 200:
            self._good.append(now - due)
        elif status in (429, 503):
            self._refused.append(now - due)
        elif status == -1:
            self._outcome.late += 1
        else:
            self._outcome.failures.append(said or f"status {status}")

    async def _exchange(self) -> int:
        plan = self._plan
        is_fresh = self._chance.random() < plan.fresh
        if self._idle and not is_fresh:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(plan.host, plan.port, ssl=self._tls)
        try:
            writer.write(f"GET {plan.path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            status = int(head[9:12])
            if status == 200 and body != GREETING:
                raise ValueError("the wrong body")
        except BaseException:
            # A caller that gives up closes its connection.
            writer.close()
            raise
        if is_fresh or b"connection: close" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return status


def _percentile(samples: list[float], share: float) -> float:
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_Run(Plan(**json.loads(sys.argv[1]))).whole()))))
