"""What a gateway does beside carrying requests, seen by a browser's rules and through a reload."""

import contextlib
import signal

import pytest
import pytest_asyncio

import binary
import raw

pytestmark = pytest.mark.asyncio
HERE = "https://app.example"
EVIL = "https://evil.example"
CORS = '{origins = ["%s"], headers = ["content-type", "authorization"], credentials = true}' % HERE
JSON_PUT = {"content-type": "application/json", "authorization": "Bearer x"}
"""What no form could send: a browser asks first."""


class Blocked(Exception):
    """A browser would not have let the script do this, or see this."""


async def ask(address, method, path, fields, body=""):
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    (answer,) = raw.answers(await raw.talk(
        address, f"{method} {path} HTTP/1.1\r\nHost: h\r\n{lines}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()))
    return answer


def one(head, name):
    """The only value of a field, or None. Browsers take several for none of them."""
    found = raw.values(head, name.encode())
    if len(found) > 1:
        raise Blocked(f"{name} is there {len(found)} times")
    return found[0].decode() if found else None


def listed(head, name):
    return [item.strip().lower() for item in (one(head, name) or "").split(",")]


def check(head, origin, credentials):
    """The CORS check of the fetch standard, section 4.9."""
    allowed = one(head, "access-control-allow-origin")
    if allowed == "*" and not credentials:
        return
    if allowed != origin:
        raise Blocked(f"{origin} is not {allowed}")
    if credentials and one(head, "access-control-allow-credentials") != "true":
        raise Blocked("no credentials")


async def fetch(address, origin, method, path, fields=None, credentials=True):
    """What a script of `origin` gets, as the fetch standard has it."""
    fields = fields or {}
    if method not in ("GET", "HEAD", "POST") or "authorization" in fields:
        names = ",".join(sorted(fields))
        status, head, _ = await ask(address, "OPTIONS", path, {
            "Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": names})
        check(head, origin, credentials)
        if not 200 <= status < 300:
            raise Blocked(f"status {status}")
        if method.lower() not in listed(head, "access-control-allow-methods"):
            raise Blocked(method)
        # A `*` counts for nothing with credentials, and never for authorization.
        if missing := set(fields) - set(listed(head, "access-control-allow-headers")):
            raise Blocked(f"headers {missing}")
    status, head, body = await ask(address, method, path, {"Origin": origin, **fields}, "{}" if method == "PUT" else "")
    check(head, origin, credentials)
    return status, head, body


def app_with_cors_of_its_own():
    answer = (b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nVary: Accept\r\n"
              b"Set-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok")
    return raw.Recorder(lambda target: answer)


@pytest_asyncio.fixture
async def tunnel():
    """A gateway with CORS and an app that has its own: the public address and the app."""
    async with app_with_cors_of_its_own() as app, binary.gateway("--set", f"gateway.cors={CORS}") as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", app.url) as receiver:
            await receiver.ready()
            yield public, app


async def test_a_script_of_a_listed_origin_may(tunnel):
    public, app = tunnel
    status, head, body = await fetch(public, HERE, "PUT", "/put", JSON_PUT)
    assert (status, body) == (200, b"ok")
    assert raw.values(head, b"vary") == [b"Accept", b"origin"]
    assert raw.values(head, b"set-cookie") == [b"a=b"]
    ((request, sent, _),) = app.requests
    assert request.startswith(b"PUT /put ") and sent == b"{}"
    assert raw.values(request, b"origin") == [HERE.encode()]


async def test_other_scripts_may_not(tunnel):
    public, app = tunnel
    with pytest.raises(Blocked):
        await fetch(public, EVIL, "PUT", "/put", JSON_PUT)
    with pytest.raises(Blocked):
        await fetch(public, HERE, "PUT", "/put", {**JSON_PUT, "x-other": "1"})
    with pytest.raises(Blocked):
        await fetch(public, HERE, "PURGE", "/put")
    assert app.requests == []
    # A simple request goes to the app, as it would from a form; the script does not see the answer.
    with pytest.raises(Blocked):
        await fetch(public, EVIL, "GET", "/get")
    assert len(app.requests) == 1


async def test_a_preflight_while_no_receiver_is_there():
    async with binary.gateway("--set", f"gateway.cors={CORS}") as gateway:
        public = await gateway.address("public")
        status, head, body = await fetch(public, HERE, "PUT", "/put", JSON_PUT)
        # The script can read why it was not served.
        raw.is_problem(status, head, body)
        assert status == 503


async def test_a_reload_turns_it_on_and_off(tmp_path):
    config = tmp_path / "gateway.toml"
    config.write_text("[gateway]\n")
    async with contextlib.AsyncExitStack() as stack:
        app = await stack.enter_async_context(app_with_cors_of_its_own())
        gateway = await stack.enter_async_context(binary.gateway("--config", str(config)))
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        await (await stack.enter_async_context(binary.receiver(f"ws://{inner}", app.url))).ready()
        _, head, _ = await ask(public, "GET", "/", {"Origin": HERE})
        assert raw.values(head, b"access-control-allow-origin") == [b"*"]
        for count, (text, allowed) in enumerate([(f"cors = {CORS}", [HERE.encode()]), ("", [b"*"])]):
            config.write_text(f"[gateway]\n{text}\n")
            gateway.process.send_signal(signal.SIGHUP)
            await gateway.line(skip=count, message="configuration reloaded")
            _, head, _ = await ask(public, "GET", "/", {"Origin": HERE})
            assert raw.values(head, b"access-control-allow-origin") == allowed


async def test_a_limit_of_callers():
    async with raw.Recorder() as app, binary.gateway(
            "--set", 'gateway.client_rate={requests = "1/h", burst = 2}', "--set", "gateway.security_headers=true") as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", app.url) as receiver:
            await receiver.ready()
            for left in (b'"client";r=1;t=3600', b'"client";r=0;t=7200'):
                status, head, _ = await ask(public, "GET", "/", {})
                assert (status, raw.values(head, b"ratelimit")) == (200, [left])
                assert raw.values(head, b"x-content-type-options") == [b"nosniff"]
            status, head, body = await ask(public, "GET", "/", {})
            raw.is_problem(status, head, body)
            assert (status, raw.values(head, b"retry-after")) == (429, [b"3600"])
            assert raw.values(head, b"x-content-type-options") == [b"nosniff"]
            assert len(app.requests) == 2
