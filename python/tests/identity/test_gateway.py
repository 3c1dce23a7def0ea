"""Clients of the Python SDKs, and our receiver, at our gateway, which fetches their documents over
real HTTPS on loopback."""

import asyncio
import contextlib
import json
import subprocess

import pytest
import websockets
from agent_connect.authentication import DIDWbaAuthHeader as AgentConnectClient
from agent_connect.authentication.did_wba import create_did_wba_document as agent_connect_document
from anp.authentication import DIDWbaAuthHeader as AnpClient
from anp.authentication import create_did_wba_document as anp_document

import binary
import http11
from binary import soon

from .https import Documents

pytestmark = pytest.mark.asyncio
GATEWAY = "gw.test"


@pytest.fixture
def documents(tmp_path):
    with Documents(tmp_path).serving() as server:
        yield server


def identity(directory, documents, name, made):
    """Publishes what a package made; files of document and key, and the DID."""
    document, keys = made
    documents.publish(document)
    files = directory / f"{name}.json", directory / f"{name}.pem"
    files[0].write_text(json.dumps(document))
    files[1].write_bytes(keys["key-1"][0])
    files[1].chmod(0o600)
    return *map(str, files), document["id"]


def anp_identity(directory, documents, name, profile):
    made = anp_document(documents.host, documents.port, ["user", name], did_profile=profile)
    return identity(directory, documents, name, made)


def agent_connect_identity(directory, documents, name):
    return identity(directory, documents, name, agent_connect_document(documents.host, documents.port, ["user", name]))


def gateway(directory, documents, owners, *more):
    """A gateway where each of `owners` (name: DID) has an endpoint of its name."""
    config = directory / "gateway.toml"
    lines = [
        "[gateway]",
        'listen = "127.0.0.1:0"',
        'tunnel_listen = "127.0.0.1:0"',
        f'public_url = "http://{GATEWAY}"',
        "[gateway.auth]",
        f'public_names = ["{GATEWAY}"]',
        f'token_key = "{directory}/state/tokens.pem"',
        f'replay_store = "{directory}/state/nonces.redb"',
        "[gateway.auth.resolver]",
        f'ca_file = "{documents.ca_file}"',
        f'hosts = {{ "{documents.host}" = "127.0.0.1:{documents.port}" }}',
        f"allowed_ports = [{documents.port}]",
    ]
    for name, owner in owners.items():
        lines += ["[[gateway.endpoints]]", f'name = "{name}"', f'path = "/{name}"', f'owner = "{owner}"']
    config.write_text("\n".join(lines))
    return binary.Proxy("gateway", "--config", str(config), *more)


async def knock(proxy, headers, path="/ws", protocols=()):
    """A WebSocket handshake as an SDK's client makes it, to the name it signed: the status, the
    headers of the answer, and the connection where there is one."""
    host, port = (await proxy.address("tunnel")).rsplit(":", 1)
    offer = [websockets.Subprotocol(protocol) for protocol in protocols] or None
    try:
        connection = await websockets.connect(
            f"ws://{GATEWAY}:{port}{path}", host=host, port=int(port), additional_headers=headers,
            subprotocols=offer, compression=None, proxy=None,
        )
    except websockets.InvalidStatus as refused:
        return refused.response.status_code, refused.response.headers, None
    return 101, connection.response.headers, connection


async def url_of(proxy):
    port = (await proxy.address("tunnel")).rsplit(":", 1)[1]
    return f"ws://{GATEWAY}:{port}/ws"


@pytest.mark.parametrize("profile", ["e1", "k1", "plain_legacy"])
@pytest.mark.parametrize("mode", ["http_signatures", "legacy_didwba"])
async def test_anp_clients_come_in_and_their_token_after_them(tmp_path, documents, profile, mode):
    document, key, did = anp_identity(tmp_path, documents, "alice", profile)
    client = AnpClient(document, key, mode)
    async with gateway(tmp_path, documents, {"alice": did}) as proxy:
        url = await url_of(proxy)
        headers = client.get_auth_header(url)
        status, answer, connection = await knock(proxy, headers, protocols=["anpx.v2"])
        assert status == 101, proxy.lines
        await connection.close()
        # The header is used up; the client signs the nonce of the challenge.
        status, answer, _ = await knock(proxy, headers, protocols=["anpx.v2"])
        assert status == 401 and 'error="invalid_nonce"' in answer["WWW-Authenticate"]
        assert client.should_retry_after_401(dict(answer))
        again = client.get_challenge_auth_header(url, dict(answer))
        status, answer, connection = await knock(proxy, again, protocols=["anpx.v2"])
        assert status == 101
        await connection.close()
        assert client.update_token(url, dict(answer))
        token = client.get_auth_header(url)
        assert token["Authorization"].startswith("Bearer ")
        status, _, connection = await knock(proxy, token, protocols=["anpx.v2"])
        assert status == 101
        await connection.close()
        assert len(documents.requests) == 1


async def test_a_disk_that_was_full_lets_nobody_in_and_then_everybody(tmp_path, documents):
    document, key, did = anp_identity(tmp_path, documents, "alice", "e1")
    client = AnpClient(document, key)
    async with gateway(tmp_path, documents, {"alice": did}) as proxy:
        url = await url_of(proxy)

        async def status():
            answer, _, connection = await knock(proxy, client.get_auth_header(url, force_new=True), protocols=["anpx.v2"])
            if connection:
                await connection.close()
            return answer

        assert await status() == 101
        with proxy.full_disk():
            assert await status() == 503
        assert await status() == 101


async def test_agent_connect_clients_come_in(tmp_path, documents):
    document, key, did = agent_connect_identity(tmp_path, documents, "alice")
    client = AgentConnectClient(document, key)
    async with gateway(tmp_path, documents, {"alice": did}) as proxy:
        url = await url_of(proxy)
        # Version 1: no subprotocol is offered.
        status, answer, connection = await knock(proxy, client.get_auth_header(url))
        assert status == 101
        await connection.send('{"type":"ping","timestamp":1}')
        assert json.loads(await soon(connection.recv())) == {"type": "pong", "timestamp": 1}
        await connection.close()
        # The same header: told after the upgrade, with 4003.
        status, _, connection = await knock(proxy, client.get_auth_header(url))
        assert status == 101
        with pytest.raises(websockets.ConnectionClosed):
            await soon(connection.recv())
        assert connection.close_code == 4003


async def test_strangers_fetch_nothing_and_look_alike(tmp_path, documents):
    _, _, did = anp_identity(tmp_path, documents, "alice", "e1")
    stranger = AnpClient(*anp_identity(tmp_path, documents, "mallory", "e1")[:2])
    async with gateway(tmp_path, documents, {"alice": did}) as proxy:
        url = await url_of(proxy)
        faces = set()
        for headers in [
            {},
            {"Authorization": "Bearer a.b.c"},
            {"Authorization": "DIDWba nonsense"},
            stranger.get_auth_header(url),
            stranger.get_auth_header(url.replace(GATEWAY, "other.test")),
        ]:
            status, answer, _ = await knock(proxy, headers, protocols=["anpx.v2"])
            faces.add((status, answer["WWW-Authenticate"], answer.get("Accept-Signature")))
        assert len(faces) == 1 and faces.pop()[0] == 401
        assert documents.requests == []


@contextlib.asynccontextmanager
async def receiving(proxy, app, document, key, *more):
    """Our receiver, which reaches the gateway under a loopback name."""
    port = (await proxy.address("tunnel")).rsplit(":", 1)[1]
    args = ["--did-document", document, "--did-key", key, *more]
    async with binary.receiver(f"ws://localhost:{port}/anpx", app, *args) as receiver:
        yield receiver


async def who(name):
    async def answer(head, reader, writer):
        writer.write(http11.response(200, [], name.encode()))

    return answer


async def get(proxy, path):
    address = await proxy.address("public")
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {GATEWAY}\r\nConnection: close\r\n\r\n".encode())
    answer = await soon(reader.read())
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize("form", ["signature", "didwba", "didwba-1.1"])
async def test_two_tenants_share_a_gateway(tmp_path, documents, form):
    alice = anp_identity(tmp_path, documents, "alice", "e1")
    bob = agent_connect_identity(tmp_path, documents, "bob")
    owners = {"alice": alice[2], "bob": bob[2]}
    async with contextlib.AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(http11.App(await who(name))) for name in owners]
        names = ("--set", f'gateway.auth.public_names=["{GATEWAY}","localhost"]')
        proxy = await stack.enter_async_context(gateway(tmp_path, documents, owners, *names))
        for app, (document, key, _) in zip(apps, [alice, bob]):
            more = ("--set", f"receiver.auth_form={form}")
            receiver = await stack.enter_async_context(receiving(proxy, app.url, document, key, *more))
            await receiver.ready()
        for _ in range(20):
            assert await get(proxy, "/alice/x") == (200, b"alice")
            assert await get(proxy, "/bob/x") == (200, b"bob")
        assert (await get(proxy, "/mallory"))[0] == 404
        assert len(documents.requests) == 2


async def test_a_receiver_that_asks_for_what_is_not_its_own_ends(tmp_path, documents):
    alice = anp_identity(tmp_path, documents, "alice", "e1")
    bob = anp_identity(tmp_path, documents, "bob", "k1")
    names = ("--set", f'gateway.auth.public_names=["{GATEWAY}","localhost"]')
    async with gateway(tmp_path, documents, {"alice": alice[2], "bob": bob[2]}, *names) as proxy:
        async with receiving(proxy, "http://127.0.0.1:9", *bob[:2], "--endpoint", "/alice") as receiver:
            assert await receiver.exit() == 1
        async with receiving(proxy, "http://127.0.0.1:9", *bob[:2], "--endpoint", "/bob") as receiver:
            await receiver.ready()
            assert (await receiver.line(message="callers reach this receiver"))["url"] == f"http://{GATEWAY}/bob/"


async def test_a_token_is_enough_without_an_identity(tmp_path, documents):
    printed = subprocess.run([binary.PATH, "token", "new", "lab"], check=True, capture_output=True, text=True).stdout
    token, hash_ = printed.split()[1], printed.split('hash = "')[1].split('"')[0]
    file = tmp_path / "token"
    file.write_text(token + "\n")
    file.chmod(0o600)
    more = ("--set", f'gateway.auth.tokens=[{{name="lab",hash="{hash_}"}}]')
    async with http11.App(await who("lab")) as app, gateway(tmp_path, documents, {"lab": "token:lab"}, *more) as proxy:
        port = (await proxy.address("tunnel")).rsplit(":", 1)[1]
        url = f"ws://localhost:{port}"
        async with binary.receiver(url, app.url, "--token-file", str(file)) as receiver:
            await receiver.ready()
            assert await get(proxy, "/lab") == (200, b"lab")
        lines = json.dumps(proxy.lines) + json.dumps(receiver.lines)
        assert token not in lines
        file.write_text(token[:-1] + ("A" if token[-1] != "A" else "B"))
        async with binary.receiver(url, app.url, "--token-file", str(file)) as receiver:
            assert await receiver.exit() == 1
