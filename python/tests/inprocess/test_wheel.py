"""The wheel alone in a fresh virtual environment, as somebody who installs it has it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from binary import ROOT, soon
from http11 import Caller, read_body, read_head

WHEELS = sorted((Path(os.environ.get("TEST_WHEELS") or ROOT / "python/dist")).glob("anp_proxy-*.whl"), key=os.path.getmtime)

pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not WHEELS, reason="no wheel was built: make wheel")]

RAW = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})

def make():
    return app

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]

async def broken(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The `bin` folder of an environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    install = [folder / "bin/pip", "install", "--quiet", "--no-index", "--no-deps", WHEELS[-1]]
    subprocess.run(install, check=True, env={**os.environ, "PIP_CONFIG_FILE": os.devnull})
    return folder / "bin"


class Running:
    """`async with Running(...)`: a command of the wheel that says where callers connect."""

    def __init__(self, fresh, *args, cwd, env=None):
        self.command = [str(fresh / "anp-proxy"), *args]
        self.cwd = cwd
        self.env = {k: v for k, v in os.environ.items() if not k.upper().startswith(("ANP_", "PYTHON"))} | (env or {})

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self.command, cwd=self.cwd, env=self.env, stdout=pipe, stderr=pipe, stdin=asyncio.subprocess.DEVNULL
        )
        return self

    async def __aexit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()

    async def address(self):
        """Where callers connect, once requests get through."""
        line = (await soon(self.process.stdout.readline())).decode()
        assert line.startswith("http://"), line + (await self.process.stderr.read()).decode()
        return line.split(" ")[0].removeprefix("http://")

    async def exit(self):
        """Exit code and what was written to standard error."""
        _, said = await soon(self.process.communicate())
        return self.process.returncode, said.decode()


async def get(address, target):
    """Status and body of one GET."""
    async with Caller(address) as caller:
        await caller.send("GET", target)
        head = await soon(read_head(caller.reader))
        return head.status, b"".join([part async for part in read_body(caller.reader, head)])


@pytest.fixture
def apps(tmp_path):
    """A folder with the module `raw`."""
    (tmp_path / "raw.py").write_text(RAW)
    return tmp_path


@pytest.mark.parametrize("flags", [["raw:app"], ["raw:make", "--factory"], ["raw:wsgi", "--wsgi"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_dev_serves_an_app_and_stops_at_a_signal(fresh, apps, flags, number):
    async with Running(fresh, "dev", "--listen", "127.0.0.1:0", "--app", *flags, cwd=apps) as running:
        assert await get(await running.address(), "/here") == (200, b"/here")
        running.process.send_signal(number)
        code, said = await running.exit()
        assert code == 0 and "Traceback" not in said, said
        # A gateway that goes first is one that the receiver looks for again.
        assert said.index('"receiver stopping"') < said.index('"draining"'), said


LOUD = """
import logging, warnings

log = logging.getLogger("mine")

async def app(scope, receive, send):
    log.debug("fine")
    log.info("good")
    log.warning("odd %s", "thing")
    warnings.warn("old")
    raise ValueError("on purpose")
"""


@pytest.mark.parametrize("level, heard", [("debug", {"fine", "good", "odd thing"}), ("info,app=warn", {"odd thing"}), ("error", set())])
async def test_what_an_app_logs_are_lines_of_the_commands_log(fresh, apps, level, heard):
    (apps / "loud.py").write_text(LOUD)
    flags = ["dev", "--listen", "127.0.0.1:0", "--app", "loud:app", "--log-format", "json", "--log-level", level]
    async with Running(fresh, *flags, cwd=apps) as running:
        assert (await get(await running.address(), "/"))[0] == 500
        running.process.send_signal(signal.SIGTERM)
        code, said = await running.exit()
    lines = [json.loads(line) for line in said.splitlines()]
    assert code == 0
    assert {line["message"] for line in lines if line.get("logger") == "mine"} == heard
    assert any("old" in line["message"] for line in lines if line.get("logger") == "py.warnings") == bool(heard)
    failed = [line["message"] for line in lines if line.get("logger") == "anp_proxy" and line["level"] == "ERROR"]
    assert len(failed) == 1 and "Traceback" in failed[0] and "on purpose" in failed[0]


async def test_a_tunnel_that_is_lost_is_one_line(fresh, apps):
    flags = ["receiver", "--gateway", "ws://127.0.0.1:1", "--app", "raw:app", "--log-format", "json"]
    once = ["--set", "receiver.max_reconnect_attempts=1", "--set", "receiver.reconnect_delay=10ms"]
    async with Running(fresh, *flags, *once, cwd=apps) as running:
        code, said = await running.exit()
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["level"] for line in lines if "no tunnel" in line["message"]] == ["WARN", "ERROR"]
    assert (code, lines[-1]["level"]) == (1, "ERROR")
    assert lines[-1]["message"].startswith("gave up on gateway")


async def test_receiver_serves_an_app_from_another_folder(fresh, apps):
    import anp_proxy

    async with anp_proxy.Gateway(listen="127.0.0.1:0", tunnel_listen="127.0.0.1:0", queue_timeout="15s") as gateway:
        flags = ["receiver", "--gateway", gateway.tunnel_url, "--app", "raw:app", "--app-dir", str(apps)]
        async with Running(fresh, *flags, cwd="/") as running:
            assert (await soon(running.process.stdout.readline())).decode().endswith(" → raw:app\n")
            assert await get(gateway.url.removeprefix("http://"), "/here") == (200, b"/here")


@pytest.mark.parametrize(
    "flags, code, said",
    [
        (["--app", "nowhere:app"], 2, "no module 'nowhere'"),
        (["--app", "raw:nothing"], 2, "no 'nothing'"),
        (["--app", "raw"], 2, "MODULE:ATTR"),
        (["--app", "raw:app", "--to", "http://127.0.0.1:1"], 2, "cannot be used with"),
        (["--wsgi"], 2, "--app"),
        (["--app", "raw:app", "--root-path", "api"], 2, "begins with"),
        (["--wsgi", "--to", "http://127.0.0.1:1"], 2, "cannot be used with"),
        (["--app", "raw:broken"], 1, '"level":"ERROR","message":"no database"'),
        (["--app", "raw:broken", "--log-format", "human"], 1, "error: no database"),
        (["--app", "raw:app", "--set", "receiver.did_document=nowhere.json", "--set", "receiver.did_key=nowhere.pem"], 2, "nowhere"),
    ],
)
async def test_a_mistake_is_one_line_and_an_exit_code(fresh, apps, flags, code, said):
    async with Running(fresh, "dev", "--listen", "127.0.0.1:0", *flags, cwd=apps) as running:
        ended, text = await running.exit()
        assert (ended, said in text, "Traceback" in text) == (code, True, False), text


async def test_the_other_commands_are_those_of_the_binary(fresh, apps):
    for args, code, said in ((["--version"], 0, "anp-proxy 0."), (["config", "check"], 0, "valid"), (["gatway"], 2, "gateway")):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ANP_")}
        done = subprocess.run([fresh / "anp-proxy", *args], capture_output=True, text=True, cwd=apps, env=env)
        assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done


async def test_the_example_streams(fresh):
    pytest.importorskip("fastapi")
    # FastAPI itself comes from the environment of the tests, behind what the fresh one has.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = fresh.parent / "lib" / version / "site-packages"
    (site / "tests.pth").write_text(sysconfig.get_path("purelib"))
    flags = ["dev", "--listen", "127.0.0.1:0", "--app", "examples.python.fastapi_agent:app"]
    try:
        async with Running(fresh, *flags, cwd=ROOT) as running:
            address = await running.address()
            assert (await get(address, "/"))[0] == 200
            async with Caller(address) as caller:
                await caller.send("GET", "/answer?question=why")
                head = await soon(read_head(caller.reader))
                assert head.value("content-type").startswith("text/event-stream")
                parts = read_body(caller.reader, head)
                first, second = await soon(anext(parts)), await soon(anext(parts))
                assert (first, second) == (b"data: why?\n\n", b"data: Because\n\n")
    finally:
        (site / "tests.pth").unlink()
