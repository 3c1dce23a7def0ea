"""What the figures were measured on, and the build of what was measured."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from pathlib import Path

from .processes import BenchError, say

ROOT = Path(__file__).resolve().parents[2]


def build() -> str:
    """Builds the release binary and returns its path; ANP_BENCH_BINARY names one that is built already."""
    given = os.environ.get("ANP_BENCH_BINARY")
    return given or cargo([], {})


def cargo(args: list[str], env: dict[str, str]) -> str:
    """Builds the release binary with these arguments and variables and returns its path."""
    command = ["cargo", "build", "--release", "--locked", "-p", "anp-proxy", *args]
    say(" ".join(command))
    done = subprocess.run(
        [*command, "--message-format=json-render-diagnostics"],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise BenchError("the release build failed")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "anp-proxy":
            return str(message["executable"])
    raise BenchError("the release build made no executable named anp-proxy")


def facts() -> dict[str, str]:
    """Names and values for the head of a report."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB",
        "load average before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "commit": _commit(),
        "rustc": _first_line(["rustc", "--version"]),
        "Python": platform.python_version(),
    }


def stolen() -> float:
    """Seconds since the machine started in which a processor of it waited for its hypervisor; 0 where none says so."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


def version(program: str, flag: str) -> str:
    """The first version number a program answers to `flag`, such as 1.22.1."""
    done = subprocess.run([program, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return found.group() if found else "unknown"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    commit = _first_line(["git", "rev-parse", "--short=12", "HEAD"])
    return f"{commit} with changes" if _first_line(["git", "status", "--porcelain", "-uno"]) else commit


def _first_line(command: list[str]) -> str:
    # A tool that cannot say its version is no reason to stop; the line then stays empty.
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError:
        return ""
    return (done.stdout.splitlines() or [""])[0].strip()
