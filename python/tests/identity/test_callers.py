"""Clients of the Python SDKs as callers of endpoints that ask who calls, over plain HTTP and over
TLS (rows 4, 9, 10 and 17 of the threats). Their app says what it got."""

import asyncio
import contextlib
import json
import ssl
import subprocess

import aiohttp
import pytest
import websockets
from agent_connect.authentication import DIDWbaAuthHeader as AgentConnectClient
from anp.authentication import DIDWbaAuthHeader as AnpClient
from hyperframe.frame import DataFrame

import binary
import frames2
import http11
from binary import soon

from .https import Documents, certificate, pem
from .test_gateway import agent_connect_identity, anp_identity

pytestmark = pytest.mark.asyncio
GATEWAY = "localhost"
BODY = b'{"say": "hello"}'
DID = "anp-caller-did"


@pytest.fixture
def documents(tmp_path):
    with Documents(tmp_path).serving() as server:
        yield server


async def echo(head, reader, writer):
    """Says what came, as JSON; of a WebSocket only who opened it."""
    if head.value("upgrade") == "websocket":
        key = head.value("sec-websocket-key")
        accept = websockets.utils.accept_key(key)
        lines = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        text = (head.value(DID) or "nobody").encode()
        assert len(text) < 126
        writer.write(f"HTTP/1.1 101 X\r\n{lines}\r\n".encode() + bytes([0x81, len(text)]) + text)
        await reader.read()
        return
    body = b"".join([part async for part in http11.read_body(reader, head, request=True)])
    came = {"fields": head.fields, "body": body.decode()}
    writer.write(http11.response(200, [], json.dumps(came).encode()))


class Stage:
    """A gateway with the endpoints /asks, /also and /free, a receiver of all three, and its app."""

    def __init__(self, directory, documents, tls, rule=None, more=()):
        self.directory, self.documents, self.tls, self.more = directory, documents, tls, more
        self.rule = rule or f'{{ dids = ["domain:{documents.host}"] }}'

    def _config(self):
        directory, documents = self.directory, self.documents
        lines = ["[gateway]", 'listen = "127.0.0.1:0"', 'tunnel_listen = "127.0.0.1:0"']
        if self.tls:
            authority, authority_key = certificate("authority of callers")
            (directory / "authority.pem").write_bytes(pem(authority))
            own, key = certificate(GATEWAY, authority, authority_key)
            (directory / "gate.pem").write_bytes(pem(own))
            (directory / "gate.key").touch(mode=0o600)
            (directory / "gate.key").write_bytes(pem(own, key)[len(pem(own)):])
            lines.append(f'tls = {{ cert = "{directory}/gate.pem", key = "{directory}/gate.key" }}')
        lines += [
            "[gateway.auth]", "required = false",
            f'public_names = ["{GATEWAY}"]',
            f'token_key = "{directory}/state/tokens.pem"',
            f'replay_store = "{directory}/state/nonces.redb"',
            "[gateway.auth.resolver]",
            f'ca_file = "{documents.ca_file}"',
            f'hosts = {{ "{documents.host}" = "127.0.0.1:{documents.port}" }}',
            f"allowed_ports = [{documents.port}]",
        ]
        for name, rule in [("asks", self.rule), ("also", self.rule), ("free", "false")]:
            lines += ["[[gateway.endpoints]]", f'name = "{name}"', f'path = "/{name}"', 'receivers = ["r"]', f"callers = {rule}"]
        file = directory / "gateway.toml"
        file.write_text("\n".join(lines))
        return str(file)

    async def __aenter__(self):
        self.stack = contextlib.AsyncExitStack()
        self.app = await self.stack.enter_async_context(http11.App(echo))
        self.proxy = await self.stack.enter_async_context(binary.Proxy("gateway", "--config", self._config(), *self.more))
        port = (await self.proxy.address("tunnel")).rsplit(":", 1)[1]
        trust = ("--set", f"receiver.ca_file={self.directory}/authority.pem") if self.tls else ()
        url = f"{'wss' if self.tls else 'ws'}://{GATEWAY}:{port}"
        receiver = await self.stack.enter_async_context(binary.receiver(url, self.app.url, "--name", "r", *trust))
        await receiver.ready()
        self.address = await self.proxy.address("public")
        self.port = int(self.address.rsplit(":", 1)[1])
        self.ssl = ssl.create_default_context(cafile=f"{self.directory}/authority.pem") if self.tls else None
        self.url = f"{'https' if self.tls else 'http'}://{GATEWAY}:{self.port}"
        connector = aiohttp.TCPConnector(ssl=self.ssl or True)
        self.session = await self.stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        return self

    async def __aexit__(self, *_):
        await self.stack.aclose()

    async def call(self, url, headers=(), method="GET", body=None):
        """Status, headers, and what the app says it got, or the gateway's problem."""
        async with self.session.request(method, url, headers=headers, data=body) as answer:
            return answer.status, answer.headers, json.loads(await soon(answer.read()))


def values(came, name):
    return [value for key, value in came["fields"] if key == name]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("profile", ["e1", "k1", "plain_legacy"])
@pytest.mark.parametrize("mode", ["http_signatures", "legacy_didwba"])
async def test_anp_clients_are_known_to_the_app(tmp_path, documents, tls, profile, mode):
    document, key, did = anp_identity(tmp_path, documents, "alice", profile)
    client = AnpClient(document, key, mode)
    async with Stage(tmp_path, documents, tls) as stage:
        url = f"{stage.url}/asks/me?a=b%20c"
        proof = client.get_auth_header(url)
        status, answer, came = await stage.call(url, proof)
        assert (status, values(came, DID)) == (200, [did]), stage.proxy.lines
        for name, value in proof.items():
            assert values(came, name.lower()) == [value]
        # It is used up; the client signs the nonce of the challenge.
        status, refused, _ = await stage.call(url, proof)
        assert status == 401 and 'error="invalid_nonce"' in refused["WWW-Authenticate"]
        assert client.should_retry_after_401(dict(refused))
        again = client.get_challenge_auth_header(url, dict(refused))
        status, _, came = await stage.call(url, again)
        assert (status, values(came, DID)) == (200, [did])
        # From now on it shows its token, which is no other endpoint's.
        assert client.update_token(url, dict(answer))
        token = client.get_auth_header(url)
        assert token["Authorization"].startswith("Bearer ")
        for _ in range(3):
            status, _, came = await stage.call(url, token, "POST", BODY)
            assert (status, values(came, DID), came["body"]) == (200, [did], BODY.decode())
        assert (await stage.call(f"{stage.url}/also", token))[0] == 401
        assert len(documents.requests) == 1


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_agent_connect_clients_are_known_to_the_app(tmp_path, documents, tls):
    document, key, did = agent_connect_identity(tmp_path, documents, "alice")
    client = AgentConnectClient(document, key)
    async with Stage(tmp_path, documents, tls) as stage:
        status, answer, came = await stage.call(f"{stage.url}/asks", client.get_auth_header(stage.url))
        assert (status, values(came, DID)) == (200, [did]), stage.proxy.lines
        assert client.update_token(stage.url, dict(answer))
        status, _, came = await stage.call(f"{stage.url}/asks", client.get_auth_header(stage.url))
        assert (status, values(came, DID)) == (200, [did])


async def test_a_body_is_the_one_that_was_signed(tmp_path, documents):
    document, key, did = anp_identity(tmp_path, documents, "alice", "e1")
    client = AnpClient(document, key)
    async with Stage(tmp_path, documents, False) as stage:
        url = f"{stage.url}/asks"

        def signed(body):
            return client.get_auth_header(url, method="POST", body=body)

        status, _, came = await stage.call(url, signed(BODY), "POST", BODY)
        assert (status, values(came, DID), came["body"]) == (200, [did], BODY.decode())
        assert (await stage.call(url, signed(b""), "POST", BODY))[0] == 401
        stage.app.requests = asyncio.Queue()
        status, fields, problem = await stage.call(url, signed(BODY), "POST", b'{"say": "goodbye"}')
        assert (status, problem["detail"]) == (400, "the body is not the one that was signed")
        assert "authorization" not in fields and "authentication-info" not in fields
        assert stage.app.requests.empty()
        # One that is too long to be held at first reaches the app in part, and never whole.
        long = b"x" * (1 << 20)
        assert (await stage.call(url, signed(long), "POST", long))[0] == 200
        status, _, problem = await stage.call(url, signed(long), "POST", long[:-1] + b"y")
        assert status == 400, problem
        _, broken = await soon(stage.app.gone.get())
        assert isinstance(broken, (http11.BrokenMessage, ConnectionError))


@pytest.mark.parametrize("body", [b'{"say": "hellu"}', b""], ids=["another", "none"])
async def test_a_body_that_is_not_said_to_be_over_is_the_one_that_was_signed(tmp_path, documents, body):
    """By HTTP/2, where a length and the end of a body are two things: the app has all of it by its length."""
    document, key, _ = anp_identity(tmp_path, documents, "alice", "e1")
    async with Stage(tmp_path, documents, False) as stage, frames2.Connection(stage.address) as connection:
        proof = AnpClient(document, key).get_auth_header(f"{stage.url}/asks", method="POST", body=BODY)
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", f"{GATEWAY}:{stage.port}"), (":path", "/asks"),
                  ("content-length", str(len(body))), *((name.lower(), value) for name, value in proof.items())]
        connection.send(connection.headers(1, fields, end=False), *([DataFrame(1, body)] if body else []))
        outcome = await soon(connection.outcome(1))
        assert outcome[0] == 400, outcome
        assert stage.app.requests.empty()


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_a_websocket_is_opened_by_whom_it_says(tmp_path, documents, tls):
    document, key, did = anp_identity(tmp_path, documents, "alice", "e1")
    client = AnpClient(document, key)
    async with Stage(tmp_path, documents, tls) as stage:
        url = f"{stage.url.replace('http', 'ws')}/asks/socket"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await soon(websockets.connect(url, ssl=stage.ssl, proxy=None, compression=None))
        assert refused.value.response.status_code == 401
        headers = {**client.get_auth_header(url), DID: "did:wba:evil.test"}
        connection = await soon(websockets.connect(url, additional_headers=headers, ssl=stage.ssl, proxy=None, compression=None))
        assert await soon(connection.recv()) == did
        connection.transport.abort()


async def test_strangers_fetch_nothing_and_look_alike(tmp_path, documents):
    alice = anp_identity(tmp_path, documents, "alice", "e1")
    mallory = AnpClient(*anp_identity(tmp_path, documents, "mallory", "e1")[:2])
    async with Stage(tmp_path, documents, True, f'{{ dids = ["{alice[2]}"] }}') as stage:
        url = f"{stage.url}/asks"
        client = AnpClient(*alice[:2])
        faces = set()
        for headers in [
            {},
            {"Authorization": "Bearer a.b.c"},
            # alg none, and HS256 with what anybody can know.
            {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJkaWQ6d2JhOmEudGVzdCJ9."},
            {"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkaWQ6d2JhOmEudGVzdCJ9.AAAA"},
            {"Authorization": "DIDWba nonsense"},
            mallory.get_auth_header(url),
            client.get_auth_header(url.replace(GATEWAY, "other.test")),
            client.get_auth_header(url.replace("https", "http")),
            client.get_auth_header(f"{url}/elsewhere"),
        ]:
            status, answer, problem = await stage.call(url, headers)
            problem.pop("request_id")
            faces.add((status, answer["WWW-Authenticate"], answer["Accept-Signature"], json.dumps(problem)))
        # Those of alice fetch her document, and are then no better.
        assert len(faces) == 1 and faces.pop()[0] == 401
        assert not any("mallory" in path for path in documents.requests)


async def test_what_strangers_say_of_themselves_is_removed_under_tls(tmp_path, documents):
    async with Stage(tmp_path, documents, True) as stage:
        said = {
            "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "x_forwarded_host": "evil.test",
            "Forwarded": "for=192.0.2.1", "X-Real": "kept", "Connection": "X-Hop, ANP-Caller-DID", "X-Hop": "1",
            "ANP-Caller-DID": "did:wba:evil.test", "anp_caller_did": "did:wba:evil.test", "Anp.Caller.Did": "did:wba:evil.test",
        }
        status, _, came = await stage.call(f"{stage.url}/free", said)
        assert status == 200
        assert (values(came, "x-forwarded-for"), values(came, "x-forwarded-proto")) == (["127.0.0.1"], ["https"])
        assert values(came, "x-real") == ["kept"]
        rest = [name for name, value in came["fields"] if "evil" in value or "192.0.2.1" in value or "hop" in name]
        assert rest == []


async def test_behind_a_proxy_the_url_is_the_one_that_was_called(tmp_path, documents):
    document, key, did = anp_identity(tmp_path, documents, "alice", "e1")
    client = AnpClient(document, key)
    trusted = ("--set", 'gateway.trusted_proxies=["127.0.0.1"]')
    async with Stage(tmp_path, documents, False, more=trusted) as stage:
        url = f"{stage.url.replace('http', 'https')}/asks"
        status, _, _ = await stage.call(f"{stage.url}/asks", client.get_auth_header(url))
        assert status == 401
        said = {**client.get_auth_header(url), "X-Forwarded-Proto": "https"}
        status, _, came = await stage.call(f"{stage.url}/asks", said)
        assert (status, values(came, DID)) == (200, [did])
    (tmp_path / "state/nonces.redb").unlink()
    # One that says nothing: the operator does.
    known = ("--set", "gateway.public_url=https://gw.test")
    async with Stage(tmp_path, documents, False, more=known) as stage:
        said = {**client.get_auth_header("https://gw.test/asks"), "Host": "gw.test"}
        status, _, came = await stage.call(f"{stage.url}/asks", said)
        assert (status, values(came, DID)) == (200, [did])


async def test_a_user_has_the_secret_that_was_printed_once(tmp_path, documents):
    command = [binary.PATH, "token", "new", "ann", "--caller"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    secret, hash_ = printed.split()[1], printed.split('hash = "')[1].split('"')[0]
    rule = f'{{ basic = [{{ name = "ann", hash = "{hash_}" }}] }}'
    async with Stage(tmp_path, documents, True, rule) as stage:
        right = {"Authorization": aiohttp.encode_basic_auth("ann", secret)}
        status, _, came = await stage.call(f"{stage.url}/asks", right)
        assert (status, values(came, "authorization"), values(came, DID)) == (200, [right["Authorization"]], [])
        status, answer, _ = await stage.call(f"{stage.url}/asks", {"Authorization": aiohttp.encode_basic_auth("ann", "guess")})
        assert (status, answer["WWW-Authenticate"]) == (401, 'Basic realm="callers", charset="UTF-8"')
        assert secret not in json.dumps(stage.proxy.lines)
