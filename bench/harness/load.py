"""Small requests: wrk runs whose answers are checked, and what they cost."""

from __future__ import annotations

import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import app, client
from .processes import BenchError
from .subjects import Running

#: After which an answer is too late. A Python server that collects garbage, on cores that others use too, may pause for
#: longer than wrk's own 2 s.
_PATIENCE = "10s"

# Totals only: a function called for each response would slow the load generator down.
_MEASURE = """\
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nRESULT %d %d %d %d %d %d %d %d\\n",
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    e.status, e.timeout, e.connect + e.read + e.write))
end
"""

_VERIFY = """\
local all = {}
wrong = 0
function setup(thread) table.insert(all, thread) end
function response(status, headers, body)
  if status ~= 200 or body ~= "%s" then wrong = wrong + 1 end
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nRESULT %%d %%d %%d %%d\\n", summary.requests, all[1]:get("wrong"),
    e.timeout, e.connect + e.read + e.write))
end
"""


@dataclass
class Small:
    """One wrk run: rates a second, latencies in microseconds, CPU in microseconds a request."""

    rps: float
    p50: float
    p99: float
    cpu: float | None


class Wrk:
    """wrk with one thread and its two scripts."""

    def __init__(self, path: str, directory: Path) -> None:
        self._path = path
        self._measure = directory / "measure.lua"
        self._measure.write_text(_MEASURE)
        self._verify = directory / "verify.lua"
        self._verify.write_text(_VERIFY % app.GREETING.decode())

    def verify(self, running: Running, connections: int) -> None:
        """Warms up for a second and compares the body of every answer."""
        requests, wrong, timeouts, broken = self._run(self._verify, running, connections, 1)
        if wrong or timeouts or broken or not requests:
            raise BenchError(
                f"{requests} answers at {connections} connections: {wrong} were wrong,"
                f" {timeouts} came too late, {broken} connections broke"
            )

    def measure(self, running: Running, connections: int, seconds: int) -> Small:
        """Measures, and checks every status and the number of bytes that came back."""
        head, body = client.fetch(running.address, "/", running.tls)
        before = sum(server.cpu_seconds() for server in running.between)
        result = self._run(self._measure, running, connections, seconds)
        spent = sum(server.cpu_seconds() for server in running.between) - before
        requests, duration, received, p50, p99, status, timeouts, broken = result
        if status or timeouts or broken or not requests:
            raise BenchError(
                f"{requests} answers at {connections} connections: {status} were not 2xx,"
                f" {timeouts} came too late, {broken} connections broke"
            )
        expected = requests * (head.size + len(body))
        # Answers still on their way when the time is up count as bytes and not as requests.
        slack = 2 * connections * (head.size + len(body)) + expected * 0.01
        if abs(received - expected) > slack:
            raise BenchError(f"{requests} answers were {received} bytes together, not about {expected}")
        cpu = spent / requests * 1e6 if running.between else None
        return Small(requests / duration * 1e6, p50, p99, cpu)

    def _run(self, script: Path, running: Running, connections: int, seconds: int) -> list[int]:
        host, port = running.address
        command = [
            self._path,
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            _PATIENCE,
            "--latency",
            "-s",
            str(script),
        ]
        scheme = "http" if running.tls is None else "https"
        done = subprocess.run([*command, f"{scheme}://{host}:{port}/"], capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            if line.startswith("RESULT "):
                return [int(word) for word in line.split()[1:]]
        raise BenchError(f"wrk gave no result: {(done.stderr or done.stdout).strip()[-500:]}")


def median(samples: list[Small]) -> Small:
    """The median of each figure on its own."""
    cpu = [sample.cpu for sample in samples if sample.cpu is not None]
    return Small(
        statistics.median(sample.rps for sample in samples),
        statistics.median(sample.p50 for sample in samples),
        statistics.median(sample.p99 for sample in samples),
        statistics.median(cpu) if cpu else None,
    )
