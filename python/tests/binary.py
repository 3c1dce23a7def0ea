"""The product's binary as tests start and watch it. What it logs is known here and nowhere else."""

import asyncio
import contextlib
import json
import os
import pathlib
import resource
import signal

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = pathlib.Path(os.environ.get("ANP_PROXY_BIN") or ROOT / "target/debug/anp-proxy")
PATIENCE = 15.0
"""Seconds after which a wait counts as a failure; nothing is expected to take so long."""


def environment():
    """The variables of this process but those that are settings of the binary's, or would change its ways."""
    return {k: v for k, v in os.environ.items() if not k.upper().startswith(("ANP_", "HTTP_PROXY", "HTTPS_PROXY"))}


async def soon(awaitable):
    """The result of something that is expected at once; fails the test if it never comes."""
    return await asyncio.wait_for(awaitable, PATIENCE)


class Ended(AssertionError):
    """The process ended while a test waited for it."""


class Proxy:
    """`async with Proxy("gateway", ...)`: a running process and the JSON lines it logs."""

    def __init__(self, *args, fds=(), env=None):
        if not PATH.exists():
            pytest.fail(f"{PATH} is missing: run `cargo build -p anp-proxy` or set ANP_PROXY_BIN")
        self.args = [str(PATH), *args, "--log-format", "json"]
        self.fds = fds
        """Sockets it gets as a service manager passes them: from descriptor 3 on."""
        self.env = env or {}
        self.lines = []
        self._grew = asyncio.Condition()

    async def __aenter__(self):
        # Settings of the person who runs the tests must not reach the binary.
        numbers = [listener.fileno() for listener in self.fds]
        # Far from 3 at first, so that none is overwritten before it was moved.
        moves = [f"{50 + at}>&{number}" for at, number in enumerate(numbers)]
        moves += [f"{3 + at}>&{50 + at}" for at in range(len(numbers))]
        shell = ["bash", "-c", f'exec {" ".join(moves)}; exec "$@"', "bash"] if numbers else []
        self.process = await asyncio.create_subprocess_exec(
            *shell, *self.args, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE, env={**environment(), **self.env}, pass_fds=numbers,
            # So that a full disk, as a limit of the size of files has it, is an error and not the end.
            restore_signals=False,
        )
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
        await self._reading
        await self.process.wait()

    async def _read(self):
        while raw := await self.process.stderr.readline():
            try:
                line = json.loads(raw)
                line = {**line, **line.get("fields", {})} if isinstance(line, dict) else {"message": str(line)}
            except ValueError:
                line = {"message": raw.decode(errors="replace").rstrip()}
            async with self._grew:
                self.lines.append(line)
                self._grew.notify_all()
        async with self._grew:
            self._grew.notify_all()

    async def line(self, skip=0, **match):
        """The log line that has these values, seen already or still to come, after `skip` others."""

        def found():
            hits = [line for line in self.lines if all(line.get(k) == v for k, v in match.items())]
            return hits[skip] if len(hits) > skip else None

        def over():
            return found() or self._reading.done() or self.process.returncode is not None

        async with self._grew:
            try:
                await soon(self._grew.wait_for(over))
            except TimeoutError:
                raise AssertionError(f"{self.args} has not said {match} in time: {self.lines}") from None
        if found() is None:
            raise Ended(f"{self.args} ended without {match}: {self.lines}")
        return found()

    async def address(self, listener):
        """The address of a listener: public, tunnel or admin."""
        return (await self.line(message="listening", listener=listener))["address"]

    async def ready(self, times=1):
        """Wait until a receiver has had a tunnel ready so many times."""
        await self.line(skip=times - 1, message="tunnel ready")

    async def stopping(self):
        """Wait until a receiver says that it stops."""
        await self.line(message="receiver stopping")

    @contextlib.contextmanager
    def full_disk(self):
        """Files cannot grow."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        yield
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def stop(self):
        """Ask the process to stop, as a service manager does."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        """End the process without a chance to say anything."""
        self.process.kill()

    async def exit(self):
        """The exit code, once it has ended."""
        return await soon(self.process.wait())


def gateway(*more):
    """A gateway on ports of its own."""
    return Proxy("gateway", "--listen", "127.0.0.1:0", "--tunnel-listen", "127.0.0.1:0", *more)


def receiver(gateway_url, to, *more):
    """A receiver of `gateway_url` that calls the app at `to`."""
    return Proxy("receiver", "--gateway", gateway_url, "--to", to, *more)
