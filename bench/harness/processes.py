"""Starts servers in process groups of their own, reads their CPU and memory, and always ends them."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds a server may take until it answers.
READY_SECONDS = 30.0
#: Seconds between two looks at a condition that has no event to wait for.
POLL_SECONDS = 0.005

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """The run cannot go on, or a figure would not be true. The text is for the user."""


class Server:
    """One started server: a process group, its log, and what it has used so far."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def pids(self) -> list[int]:
        """Every live process of the group (an nginx master and its workers, say)."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                stat = _stat_fields(int(entry))
                if stat and int(stat[2]) == self.process.pid:
                    found.append(int(entry))
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all processes and threads of the group, ended threads included."""
        ticks = 0
        for pid in self.pids():
            stat = _stat_fields(pid)
            if stat:
                ticks += int(stat[11]) + int(stat[12])
        return ticks / _CLOCK_TICKS

    def resident_kib(self) -> int:
        """Resident memory now (VmRSS), summed over the group."""
        return self._status_kib("VmRSS")

    def peak_kib(self) -> int:
        """Peak resident memory (VmHWM) since the start or `reset_peak`, summed over the group."""
        return self._status_kib("VmHWM")

    def reset_peak(self) -> None:
        """Sets the peak back to what is resident now (proc(5), clear_refs, 5)."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def descriptors(self) -> int:
        """Open file descriptors, summed over the group."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    def check_alive(self) -> None:
        """Raises BenchError with the end of the log if the process has exited."""
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise BenchError(f"{self.name} ended with exit code {code}. Its log ends:\n{tail}")

    def wait_until(self, what: str, condition: Callable[[], object]) -> object:
        """Looks until `condition` gives something true and returns it."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            value = condition()
            if value:
                return value
            self.check_alive()
            if time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise BenchError(f"{self.name}: {what} did not happen in {READY_SECONDS:.0f} s. Its log ends:\n{tail}")
            time.sleep(POLL_SECONDS)

    def wait_listening(self, port: int) -> None:
        """Waits for a listening socket on 127.0.0.1:port without connecting to it."""
        self.wait_until(f"listening on port {port}", lambda: _is_listening(port))

    def send(self, number: int) -> None:
        """Sends a signal to the whole group; a group that is gone is not an error."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """kill -9 of the whole group, and waits for its end."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 2.0) -> None:
        """SIGTERM, and SIGKILL to what is left of the group after `seconds`."""
        self.send(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()

    def _status_kib(self, field: str) -> int:
        total = 0
        for pid in self.pids():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1])
        return total


class Servers:
    """Owns a temporary directory and every server started, and ends both on leaving."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="anp-bench-"))
        self._running: list[Server] = []
        self._started = 0

    def start(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> Server:
        """Starts `argv` as the leader of a new process group; stdout and stderr go to a log file."""
        self._started += 1
        log = self.directory / f"{self._started:03}-{name.replace(' ', '-')}.log"
        with log.open("wb") as out:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env={**os.environ, **(env or {})},
                    process_group=0,
                    preexec_fn=_end_with_parent,
                )
            except OSError as error:
                raise BenchError(f"{name}: cannot start {argv[0]}: {error.strerror}") from error
        server = Server(name, process, log)
        self._running.append(server)
        return server

    def stop(self, servers: list[Server]) -> None:
        """Ends these servers now, callers' side first."""
        for server in servers:
            server.stop()
            self._running.remove(server)

    def close(self) -> None:
        """Kills what is still running and removes the directory."""
        for server in reversed(self._running):
            server.stop(seconds=0.5)
        self._running.clear()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def servers() -> Iterator[Servers]:
    """A Servers that is closed however the block ends; SIGTERM and SIGHUP end it like Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    owner = Servers()
    try:
        yield owner
    finally:
        owner.close()


def say(text: str) -> None:
    """Tells whoever waits how far the bench is."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    """A loopback port that was free a moment ago, for servers that cannot report one of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tool(variable: str, name: str, package: str) -> str:
    """The path of a required tool: from the environment variable, else from PATH."""
    path = shutil.which(os.environ.get(variable) or name)
    if path is None:
        raise BenchError(
            f"{name} is needed and was not found. Set {variable} to its path, or install it"
            f" (Debian: apt-get install {package})."
        )
    return path


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    # Even kill -9 of the harness leaves no server behind; nginx's master passes SIGTERM on to its workers.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from `state` (field 3) on; the name before them may hold spaces."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _is_listening(port: int) -> bool:
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return True
    return False
