"""Paths and hosts that could be read in two ways: row 18 of the threats.

However a path or a host is spelled, one endpoint serves it or none; the bytes that arrive are those
that were sent.
"""

import contextlib

import pytest
import pytest_asyncio

import binary
import raw

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATHS = [
    # What is sent, and which endpoint answers, or what the gateway says.
    ("/one/x", "one"), ("/two/x", "two"), ("/one", "one"), ("/one?/../two", "one"), ("/one/../one/x", "one"), ("/one/%61", "one"),
    ("/one//x", "one"), ("/onetwo", 404), ("/ONE/x", 404), ("/other", 404), ("/one/../two/x", 400), ("/one/%2e%2e/two/x", 400),
    ("/one/.%2E/two/x", 400), ("/one/..%2ftwo/x", 400), ("/one%2f..%2ftwo", 400), ("/one/%2e%2e%2ftwo", 400),
    ("/one/..\\two", 400), ("/one/..%5ctwo", 400), ("/%6fne/x", 400), ("//two/../one/x", 400), ("/./two/x", 400), ("/one/..", 400),
    ("/one/a%2fb/../x", 400), ("/one/x/..;/two", 400), ("/one//x/../y", 400), ("/one/x/%2e%2e/../x", 400), ("/one/..;%2fone/two", 400),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoints():
    """A gateway with an app for each of two paths: its public address, and the apps by name."""
    config = ('[{name="one",host="a",path="/one",receivers=["r1"]},{name="two",host="a",path="/two",receivers=["r2"]}]')
    async with contextlib.AsyncExitStack() as stack:
        apps = {name: await stack.enter_async_context(raw.Recorder()) for name in ("one", "two")}
        gateway = await stack.enter_async_context(binary.gateway("--set", f"gateway.endpoints={config}"))
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        for name, app in zip(("r1", "r2"), apps.values(), strict=True):
            receiver = binary.receiver(f"ws://{inner}", app.url, "--name", name)
            await (await stack.enter_async_context(receiver)).ready()
        yield public, apps


@pytest.mark.parametrize("host", ["a", "A", "a.", "a:80", "A.:8080"])
@pytest.mark.parametrize(("path", "expected"), PATHS, ids=[path for path, _ in PATHS])
async def test_one_decision_for_every_spelling(endpoints, path, expected, host):
    public, apps = endpoints
    mark = raw.number()
    (answer,) = raw.answers(await raw.talk(
        public, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Mark: {mark}\r\nConnection: close\r\n\r\n".encode()))
    served_by = [name for name, app in apps.items() if app.heads(mark)]
    if isinstance(expected, int):
        assert (answer[0], served_by) == (expected, [])
    else:
        assert (answer[0], served_by) == (200, [expected])
        (head,) = [head for head, *_ in apps[expected].requests if mark.encode() in head]
        assert head.split(b"\r\n")[0] == f"GET {path} HTTP/1.1".encode()
        assert raw.values(head, b"host") == [host.encode()]
