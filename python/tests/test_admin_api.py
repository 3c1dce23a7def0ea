"""The admin API is what docs/admin-api.yaml says, for requests made from it, good and bad."""

import asyncio
import pathlib
import sys

import aiohttp
import pytest

import binary
from binary import soon

pytestmark = pytest.mark.asyncio
SCHEMATHESIS = pathlib.Path(sys.executable).with_name("schemathesis")
TOKEN = "a-token-of-this-test"
# What fits the description and cannot be for other reasons, such as a prefix "/" to be taken off, is 422.
CHECKS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 422]
# The end of a tunnel is asked for (202), and takes as long as its requests: it may still be seen.
[[operations]]
include-path = "/tunnels/{name}"
checks.use_after_free.enabled = false
"""
RUN = 300.0
"""Seconds that the whole run may take on a busy machine."""


def gateway(tmp_path, *more):
    """A gateway with an admin listener and a registry of its own."""
    store = f"gateway.endpoint_store={tmp_path / 'endpoints.redb'}"
    return binary.gateway("--admin-listen", "127.0.0.1:0", "--set", store, *more)


async def hold_against(tmp_path, admin, *more):
    """Exit code and report of a run over every operation, the same with every run of the test."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CHECKS)
    process = await asyncio.create_subprocess_exec(
        str(SCHEMATHESIS), "--config-file", str(config), "run", str(binary.ROOT / "docs/admin-api.yaml"), "--url", f"http://{admin}",
        "--max-examples", "15", "--seed", "1", "--generation-deterministic", "--no-color", "--warnings", "off",
        "--continue-on-failure", *more,
        # It keeps notes where it runs.
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await asyncio.wait_for(process.communicate(), RUN)
    return process.returncode, report.decode()


async def test_the_api_is_as_described(tmp_path):
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    async with gateway(tmp_path, "--set", f"gateway.admin_token_file={token}") as front:
        tunnel, admin = await front.address("tunnel"), await front.address("admin")
        # So that there are tunnels to look at. Nothing calls its app.
        async with binary.receiver(f"ws://{tunnel}", "http://127.0.0.1:9", "--name", "r") as behind:
            await behind.ready()
            code, report = await hold_against(tmp_path, admin, "--header", f"Authorization: Bearer {TOKEN}")
        assert code == 0, report
        assert "Selected: 18/18" in report, report
        assert not any(TOKEN in str(line) for line in front.lines)
        front.stop()
        assert await front.exit() == 0


async def test_without_the_token_nothing_is_answered(tmp_path):
    async with gateway(tmp_path, "--set", f"gateway.admin_token={TOKEN}") as front:
        admin = await front.address("admin")
        code, report = await hold_against(tmp_path, admin, "--phases", "coverage", "--checks", "status_code_conformance")
        assert code == 0, report
        reader, writer = await asyncio.open_connection(*admin.split(":"))
        writer.write(b"GET /endpoints HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await soon(reader.read())
        assert answer.startswith(b"HTTP/1.1 401 "), answer
        writer.close()
        assert TOKEN.encode() not in answer


async def test_a_disk_that_was_full_refuses_changes_and_then_takes_them(tmp_path):
    async with gateway(tmp_path) as front, aiohttp.ClientSession(f"http://{await front.address('admin')}") as session:

        async def add(name):
            endpoint = {"name": name, "path": f"/{name}", "receivers": ["r"]}
            async with session.post("/endpoints", json=endpoint) as answer:
                return answer.status

        assert await add("before") == 201
        with front.full_disk():
            assert await add("while") == 500
        assert await add("after") == 201
        async with session.get("/endpoints") as answer:
            names = [endpoint["name"] for endpoint in (await answer.json())["endpoints"]]
        assert {"before", "after"} <= set(names) and "while" not in names
