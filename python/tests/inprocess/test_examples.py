"""The examples of examples/python, each by the command in its first line."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest
from anp.authentication import create_did_wba_document
from binary import ROOT, soon
from http11 import Caller, read_body, read_head

pytestmark = pytest.mark.asyncio


def command(example, **places):
    """The command in an example's first line, behind what it installs; `places` stand in for words of it."""
    first = (ROOT / "examples/python" / example).read_text().splitlines()[0]
    words = shlex.split(re.search(r"`.* && (.*)`", first)[1])
    words = [places.get(word, word) for word in words]
    scripts = Path(sys.executable).parent
    return [str(scripts / words[0]), *words[1:]]


@contextlib.asynccontextmanager
async def running(words, cwd=ROOT):
    """A process, ended by Ctrl-C as people do; it must take that well."""
    env = {k: v for k, v in os.environ.items() if not k.upper().startswith("ANP_")} | {"PYTHONFAULTHANDLER": "1"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, cwd=cwd, env=env, stdout=pipe, stderr=pipe)
    try:
        yield process
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            await soon(process.wait())
        # One that does not end says what each of its threads is at.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGABRT)
        _, said = await soon(process.communicate())
        assert process.returncode == 0 and b"Traceback" not in said and b'"ERROR"' not in said, said
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def address(process):
    """Where callers reach a `dev` command."""
    line = (await soon(process.stdout.readline())).decode()
    assert line.startswith("http://"), line + (await process.stderr.read()).decode()
    return line.split(" ")[0].removeprefix("http://")


def dev(example):
    """The command of an example on a free port."""
    words = command(example)
    assert words[1] == "dev"
    return [*words[:2], "--listen", "127.0.0.1:0", *words[2:]]


async def test_fastapi_streams_its_tokens():
    pytest.importorskip("fastapi")
    async with running(dev("fastapi_agent.py")) as process, Caller(await address(process)) as caller:
        await caller.send("GET", "/answer?question=why")
        head = await soon(read_head(caller.reader))
        parts = read_body(caller.reader, head)
        assert [await soon(anext(parts)) for _ in range(2)] == [b"data: why?\n\n", b"data: Because\n\n"]
        caller.leave()


async def test_django_takes_a_form():
    pytest.importorskip("django")
    httpx2 = pytest.importorskip("httpx2")
    async with running(dev("django_app.py")) as process:
        async with httpx2.AsyncClient(base_url=f"http://{await address(process)}", trust_env=False) as caller:
            page = await soon(caller.get("/"))
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
            form = {"csrfmiddlewaretoken": token, "name": "Ünï <b>"}
            page = await soon(caller.post("/", data=form, follow_redirects=True))
            assert "<li>Ünï &lt;b&gt;</li>" in page.text
            assert (await soon(caller.post("/", data={"name": "eve"}))).status_code == 403


async def test_a_did_serves_what_belongs_to_it(tmp_path):
    from test_places import guarded

    from identity.https import Documents

    with Documents(tmp_path).serving() as documents:
        document, keys = create_did_wba_document(documents.host, documents.port, ["user", "me"])
        documents.publish(document)
        (tmp_path / "did.json").write_text(json.dumps(document))
        (tmp_path / "key.pem").write_bytes(keys["key-1"][0])
        (tmp_path / "key.pem").chmod(0o600)
        async with guarded(tmp_path, documents, document["id"]) as gateway:
            places = {
                "wss://gateway.example:8765": f"ws://localhost:{gateway.tunnel_url.rpartition(':')[2]}/anpx",
                "me/did.json": str(tmp_path / "did.json"),
                "me/key.pem": str(tmp_path / "key.pem"),
            }
            async with running(command("with_a_did.py", **places)) as process:
                assert await soon(process.stdout.readline()) == b"reached at http://gw.test/mine/\n"
                async with Caller(gateway.url.removeprefix("http://")) as caller:
                    head, body = await soon(caller.call("GET", "/mine/x", [("Host", "gw.test")]))
                    assert (head.status, body) == (200, b"you asked for /mine/x\n")
