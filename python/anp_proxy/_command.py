"""The command line: `anp-proxy`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

from ._core import Command, command, log, log_end, log_level, report
from ._gateway import Gateway, GatewayFailed
from ._lifespan import LifespanFailed
from ._receiver import Receiver, ReceiverFailed, run_loop, tunnels_log, until_signal
from ._types import ASGIApp
from ._wsgi import WSGI


def main() -> int:
    """Do what the command line asks for; the exit code."""
    done = command(["anp-proxy", *sys.argv[1:]])
    if isinstance(done, int):
        return done
    log_to_core()
    try:
        return _run(done)
    finally:
        log_end()


def _run(asked: Command) -> int:
    """Run the app that the command line names; the exit code."""
    try:
        app = load(asked)
    except AppNotFound as error:
        report(str(error))
        return 2
    try:
        run_loop(until_signal(_serve(app, asked)))
    except (GatewayFailed, LifespanFailed, ReceiverFailed, SettingsRefused, OSError) as error:
        report(str(error))
        return 1
    except KeyboardInterrupt:
        return 1
    return 0


class CoreHandler(logging.Handler):
    """Writes records where the core writes its own lines, and as it does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        try:
            log(record.levelno, record.name, self.format(record))
        except Exception:
            self.handleError(record)


def log_to_core() -> None:
    """Have what the app and this package log go the core's way, from the level on that it logs."""
    logging.basicConfig(format="%(message)s", level=log_level(), handlers=[CoreHandler()])
    logging.captureWarnings(True)
    # The core has lines of its own for those.
    tunnels_log.disabled = True


class AppNotFound(Exception):
    """What `--app` names is not there."""


class SettingsRefused(Exception):
    """A setting cannot be, as only its use has shown."""


def load(asked: Command) -> ASGIApp:
    """The app that `--app` names.

    Raises AppNotFound where it is not there; what importing the module raises goes on.
    """
    sys.path.insert(0, os.path.abspath(asked.app_dir or "."))
    name, colon, path = asked.app.partition(":")
    if not (name and colon and path):
        raise AppNotFound(f"--app: expected MODULE:ATTR, such as main:app, got {asked.app!r}")
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that the app itself lacks is the app's mistake, and shown as that.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise AppNotFound(f"--app: there is no module {error.name!r} in {sys.path[0]} or elsewhere") from None
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise AppNotFound(f"--app: the module {name!r} has no {path!r}") from None
    if asked.factory:
        found = found()
    if not callable(found):
        raise AppNotFound(f"--app: {asked.app!r} is {type(found).__name__}, not an app")
    return WSGI(found) if asked.wsgi else found


@contextlib.contextmanager
def _judged() -> Iterator[None]:
    """What a start tells by ValueError of its settings is no traceback's worth."""
    try:
        yield
    except ValueError as error:
        raise SettingsRefused(str(error)) from error


async def _first(*works: Coroutine[Any, Any, None]) -> None:
    """Run them until the first ends, end the others, and raise what the first raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    errors = [error for task in done if (error := task.exception())]
    if errors:
        raise errors[0]


async def _unless_gone(gateway: Gateway | None, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; raises GatewayFailed once `gateway`, which nobody stops, has ended."""

    async def gone(gateway: Gateway) -> None:
        await gateway.wait()
        raise GatewayFailed("the gateway ended")

    await _first(work, *[] if gateway is None else [gone(gateway)])


async def _serve(app: ASGIApp, asked: Command) -> None:
    """Serve until cancelled: gateway and receiver for `dev`, else the receiver alone."""
    settings = asked.receiver
    async with contextlib.AsyncExitStack() as stack:
        gateway = None
        public = ", ".join(settings.gateways)
        if (gateway_settings := asked.gateway) is not None:
            with _judged():
                gateway = await stack.enter_async_context(Gateway._of(gateway_settings))
            settings = settings.with_gateway(gateway.tunnel_url)
            public = gateway.url
        receiver = Receiver._of(app, settings, asked.root_path)
        with _judged():
            await _unless_gone(gateway, receiver.start())
        stack.push_async_exit(receiver)
        print(f"{public} → {asked.app}", flush=True)
        try:
            await _unless_gone(gateway, receiver.wait())
        finally:
            # The receiver first: a gateway that goes away before it is one that it looks for again.
            await receiver.stop()
            if gateway is not None:
                # What its callers have not read yet still goes to them.
                await gateway.stop()
