"""`bench/run --asgi`: the same ASGI apps by other servers, and in the receiver's process through our tunnel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import venv
from argparse import Namespace
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import machine
from .load import Small, Wrk, median
from .processes import BenchError, Server, Servers, free_port, say, servers, tool
from .report import CONNECTIONS, Row, facts_lines, table, time_text
from .subjects import Running, check_answering, environment_args, start_gateway, start_receiver

#: The apps, as `asgi_apps` names them.
APPS = {"raw": "an ASGI app by hand", "fast": "FastAPI"}
_HOME = Path(__file__).resolve().parent
_CACHE = _HOME.parent / ".cache" / "asgi"
_REQUIREMENTS = _HOME.parent / "requirements-asgi.txt"


@dataclass
class Programs:
    """The environment that everything measured comes from."""

    folder: Path

    def __getitem__(self, name: str) -> str:
        return str(self.folder / "bin" / name)


class Uvicorn:
    """uvicorn with uvloop and httptools, one process, without access log: the measure of the others."""

    key = "uvicorn"
    label = "uvicorn"

    def start(self, owner: Servers, programs: Programs, app: str) -> Running:
        """Starts it on a free port."""
        port = free_port()
        server = _start_uvicorn(owner, programs, app, port)
        return Running(("127.0.0.1", port), [server])


class Granian:
    """granian with one worker and uvloop: a server in Rust, without a tunnel."""

    key = "granian"
    label = "granian"

    def start(self, owner: Servers, programs: Programs, app: str) -> Running:
        """Starts it on a free port."""
        port = free_port()
        flags = [
            "--interface",
            "asgi",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            "--loop",
            "uvloop",
        ]
        command = [programs["granian"], *flags, "--no-access-log", "--log-level", "error", f"asgi_apps:{app}"]
        server = owner.start("granian", command, {"PYTHONPATH": str(_HOME)})
        server.wait_listening(port)
        return Running(("127.0.0.1", port), [server])


class Behind:
    """uvicorn behind our tunnel: gateway, receiver, and uvicorn on a port of its own."""

    key = "behind"
    label = "uvicorn behind the tunnel"

    def start(self, owner: Servers, programs: Programs, app: str) -> Running:
        """Starts uvicorn, then the gateway, then the receiver."""
        port = free_port()
        server = _start_uvicorn(owner, programs, app, port)
        gateway, public, tunnel = start_gateway(
            owner, programs["anp-proxy"], environment_args("ANP_BENCH_GATEWAY_ARGS")
        )
        args = environment_args("ANP_BENCH_RECEIVER_ARGS")
        receiver = start_receiver(owner, programs["anp-proxy"], tunnel, port, args)
        return Running(("127.0.0.1", public), [gateway, receiver, server])


class Inside:
    """The app in the receiver's process: gateway, and receiver with the app."""

    key = "inside"
    label = "in process, through the tunnel"

    def start(self, owner: Servers, programs: Programs, app: str) -> Running:
        """Starts the gateway, then the receiver with the app."""
        gateway, public, tunnel = start_gateway(
            owner, programs["anp-proxy"], environment_args("ANP_BENCH_GATEWAY_ARGS")
        )
        args = environment_args("ANP_BENCH_RECEIVER_ARGS")
        receiver = start_receiver_with(owner, programs, tunnel, f"asgi_apps:{app}", args)
        return Running(("127.0.0.1", public), [gateway, receiver])


Subject = Uvicorn | Granian | Behind | Inside
SUBJECTS: list[Subject] = [Uvicorn(), Granian(), Behind(), Inside()]


@dataclass
class Result:
    """The samples of one subject with one app, by connections."""

    small: dict[int, list[Small]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})


Results = dict[str, dict[str, Result]]
"""By app, then by subject."""


def start_receiver_with(owner: Servers, programs: Programs, tunnel: int, app: str, args: list[str]) -> Server:
    """Starts a receiver with an app of this folder in its process, and waits until its tunnel is ready."""
    flags = ["--gateway", f"ws://127.0.0.1:{tunnel}", "--app", app, "--app-dir", str(_HOME)]
    receiver = owner.start("receiver with the app", [programs["anp-proxy"], "receiver", *flags, *args])
    receiver.wait_until("a ready tunnel", lambda: "→" in receiver.log.read_text(errors="replace"))
    return receiver


def run(options: Namespace) -> None:
    """Measures every app by every subject in turns and prints Markdown."""
    wrk = tool("ANP_BENCH_WRK", "wrk", "wrk")
    programs = environment()
    facts = machine.facts() | {"wrk": machine.version(wrk, "-v"), "versions": _versions()}
    results: Results = {app: {subject.key: Result() for subject in SUBJECTS} for app in APPS}
    with servers() as owner:
        runner = Wrk(wrk, owner.directory)
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}, load average {os.getloadavg()[0]:.2f}")
            order = SUBJECTS[number % len(SUBJECTS) :] + SUBJECTS[: number % len(SUBJECTS)]
            for app in APPS:
                _round(owner, programs, runner, app, order, results[app], options.seconds)
    facts["rounds"] = f"{options.rounds}, each {options.seconds} s at every number of connections; medians"
    print(_markdown(facts, results))
    if options.json:
        _write_json(options.json, facts, results)


def _round(
    owner: Servers,
    programs: Programs,
    runner: Wrk,
    app: str,
    subjects: list[Subject],
    results: dict[str, Result],
    seconds: int,
) -> None:
    """All subjects wait side by side, idle, and take turns at each number of connections."""
    running = {subject.key: subject.start(owner, programs, app) for subject in subjects}
    for place in running.values():
        check_answering(place)
    for connections in CONNECTIONS:
        for key, place in running.items():
            say(f"  {app}, {key}, connections: {connections}")
            runner.verify(place, connections)
            results[key].small[connections].append(runner.measure(place, connections, seconds))
    for place in running.values():
        owner.stop(place.between)


def _start_uvicorn(owner: Servers, programs: Programs, app: str, port: int) -> Server:
    flags = ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command = [programs["uvicorn"], *flags, "--no-access-log", "--log-level", "warning", f"asgi_apps:{app}"]
    server = owner.start("uvicorn", command, {"PYTHONPATH": str(_HOME)})
    server.wait_listening(port)
    return server


def environment() -> Programs:
    """A virtual environment with the peers as pinned and our wheel, made when it is not there."""
    if not (_CACHE / "bin" / "python").exists():
        say(f"makes an environment in {_CACHE}")
        venv.create(_CACHE, with_pip=True)
    programs = Programs(_CACHE)
    pip = [programs["python"], "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _must([*pip, "-r", str(_REQUIREMENTS)])
    _must([*pip, "--no-index", "--no-deps", "--force-reinstall", str(_wheel())])
    return programs


def _wheel() -> Path:
    """The wheel, built with optimisation; ANP_BENCH_WHEEL names one that is built already."""
    given = os.environ.get("ANP_BENCH_WHEEL")
    if given:
        return Path(given)
    say("make wheel")
    _must(["make", "--silent", "wheel"], cwd=machine.ROOT)
    found = sorted((machine.ROOT / "python/dist").glob("anp_proxy-*.whl"), key=os.path.getmtime)
    if not found:
        raise BenchError("make wheel made no wheel")
    return found[-1]


def _must(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed: {done.stdout.strip()[-1000:]}")


def _versions() -> str:
    pins = re.findall(r"^(\w+)==(\S+)$", _REQUIREMENTS.read_text(), re.MULTILINE)
    return ", ".join(f"{name} {version}" for name, version in pins)


def _markdown(facts: dict[str, str], results: Results) -> str:
    parts = [facts_lines(facts)]
    header = ["", "RPS", "p50", "p99", "CPU a request", "RPS to uvicorn's", "CPU to uvicorn's"]
    for app, label in APPS.items():
        for count in CONNECTIONS:
            parts.append(f"### {label}, {count} connection{'s' if count > 1 else ''}")
            parts.append(table(header, _rows(results[app], count)))
    parts.append("### Targets")
    rows = []
    for app, label in APPS.items():
        for count in CONNECTIONS[1:]:
            rps = {key: median(result.small[count]).rps for key, result in results[app].items()}
            ratio, stretch = rps["inside"] / rps["uvicorn"], rps["inside"] / rps["granian"]
            verdict = "MISSED" if ratio < 1.2 else "stretch met" if stretch >= 1 else "met"
            text = f"{label}: RPS in process, {count} connections"
            rows.append([text, f"{ratio:.2f}", "≥ 1.2", f"{stretch:.2f}", verdict])
    parts.append(table(["", "to uvicorn", "at least", "to granian (stretch: 1)", ""], rows))
    return "\n\n".join(parts) + "\n"


def _rows(results: dict[str, Result], count: int) -> list[Row]:
    base = median(results["uvicorn"].small[count])
    rows = []
    for subject in SUBJECTS:
        figures = median(results[subject.key].small[count])
        cpu = figures.cpu or 0
        ratios = [f"{figures.rps / base.rps:.2f}", f"{cpu / base.cpu:.2f}" if base.cpu else ""]
        row = [f"{figures.rps:,.0f}", time_text(figures.p50), time_text(figures.p99), f"{cpu:.1f} µs"]
        rows.append([subject.label, *row, *ratios])
    return rows


def _write_json(path: Path, facts: dict[str, str], results: Results) -> None:
    apps = {app: {key: asdict(result) for key, result in of.items()} for app, of in results.items()}
    path.write_text(json.dumps({"machine": facts, "apps": apps}, indent=2) + "\n")
