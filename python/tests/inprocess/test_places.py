"""Where an app is mounted, and who its receiver is."""

import contextlib
import json

import anp_proxy
import pytest
from anp.authentication import create_did_wba_document
from binary import soon
from http11 import Caller

pytestmark = pytest.mark.asyncio
PREFIX = "/widgets"


async def tell(scope, receive, send):
    """Answers with what the scope says of places."""
    assert scope["type"] == "http"
    seen = {key: scope[key] for key in ("root_path", "path")} | {"raw_path": scope["raw_path"].decode()}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


@contextlib.asynccontextmanager
async def mounted(app, path, **settings):
    """The app behind a gateway that takes `path` off its targets; gives the gateway's address."""
    endpoints = [{"name": "app", "receivers": ["here"], "path": path, "strip_prefix": True}]
    listen = {"listen": "127.0.0.1:0", "tunnel_listen": "127.0.0.1:0", "workers": 1}
    async with anp_proxy.Gateway(**listen, endpoints=endpoints, queue_timeout="15s") as gateway:
        receiver = anp_proxy.Receiver(app, gateway.tunnel_url, lifespan="off", tunnels=1, name="here", **settings)
        await soon(receiver.start())
        try:
            yield gateway.url.removeprefix("http://")
        finally:
            await soon(receiver.stop(now=True))


async def get(address, target, fields=(), method="GET"):
    """Status and body of one request."""
    async with Caller(address) as caller:
        head, body = await soon(caller.call(method, target, fields))
        return head.status, body


@pytest.mark.parametrize(
    "prefix, target, root_path, path, raw_path",
    [
        (PREFIX, "/widgets/a%2Fb", "/widgets", "/widgets/a/b", "/widgets/a%2Fb"),
        (PREFIX, "/widgets", "/widgets", "/widgets/", "/widgets/"),
        ("/a/b~c", "/a/b~c/%C3%BC?x", "/a/b~c", "/a/b~c/ü", "/a/b~c/%C3%BC"),
    ],
)
async def test_a_prefix_that_the_gateway_took_off_is_the_root_path(prefix, target, root_path, path, raw_path):
    async with mounted(tell, prefix) as address:
        status, body = await get(address, target, [("X-Forwarded-Prefix", "/evil")])
        assert status == 200
        assert json.loads(body) == {"root_path": root_path, "path": path, "raw_path": raw_path}


async def test_a_root_path_of_the_user_goes_before_the_gateways_prefix():
    async with mounted(tell, PREFIX, root_path="/mine") as address:
        _, body = await get(address, "/widgets/a")
        assert json.loads(body) == {"root_path": "/mine", "path": "/mine/a", "raw_path": "/mine/a"}


async def test_a_prefix_that_a_stranger_claims_is_none(serve):
    served = await serve(tell, lifespan="off")
    _, _, body = await served.get("/a", fields=[("X-Forwarded-Prefix", "/evil"), ("X_Forwarded_Prefix", "/evil")])
    assert json.loads(body) == {"root_path": "", "path": "/a", "raw_path": "/a"}


async def test_options_of_everything_are_about_no_path(serve):
    served = await serve(tell, lifespan="off", root_path="/mine")
    _, _, body = await served.call("OPTIONS", "*")
    assert json.loads(body) == {"root_path": "/mine", "path": "*", "raw_path": "*"}


async def test_links_of_a_framework_have_the_prefix():
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    @app.get("/item/{number}")
    async def item(number: int, request: fastapi.Request):
        return str(request.url_for("item", number=number + 1))

    async with mounted(app, PREFIX) as address:
        assert await get(address, "/widgets/item/1", [("Host", "shop.example")]) == (200, b'"http://shop.example/widgets/item/2"')
        assert b'"/widgets/openapi.json"' in (await get(address, "/widgets/docs"))[1].replace(b"'", b'"')


@pytest.fixture
def documents(tmp_path):
    """Documents of DIDs over HTTPS on loopback."""
    from identity.https import Documents

    with Documents(tmp_path).serving() as server:
        yield server


@contextlib.asynccontextmanager
async def guarded(tmp_path, documents, owner):
    """A gateway that lets `owner` alone serve /mine."""
    auth = {
        "public_names": ["gw.test", "localhost"],
        "token_key": str(tmp_path / "state/tokens.pem"),
        "replay_store": str(tmp_path / "state/nonces.redb"),
        "resolver": {
            "ca_file": str(documents.ca_file),
            "hosts": {documents.host: f"127.0.0.1:{documents.port}"},
            "allowed_ports": [documents.port],
        },
    }
    async with anp_proxy.Gateway(
        listen="127.0.0.1:0", tunnel_listen="127.0.0.1:0", public_url="http://gw.test", auth=auth, workers=1,
        endpoints=[{"name": "mine", "path": "/mine", "owner": owner}], queue_timeout="15s",
    ) as gateway:
        yield gateway


@pytest.mark.parametrize("given", ["files", "objects"])
async def test_a_did_proves_who_serves(tmp_path, documents, given):
    document, keys = create_did_wba_document(documents.host, documents.port, ["user", "me"])
    documents.publish(document)
    did, key = document, keys["key-1"][0]
    if given == "files":
        did, key = tmp_path / "did.json", tmp_path / "key.pem"
        did.write_text(json.dumps(document))
        key.write_bytes(keys["key-1"][0])
        key.chmod(0o600)
    async with guarded(tmp_path, documents, document["id"]) as gateway:
        port = gateway.tunnel_url.rpartition(":")[2]
        tunnel = {"gateway": f"ws://localhost:{port}/anpx", "max_reconnect_attempts": 0}
        stranger = anp_proxy.Receiver(tell, **tunnel, lifespan="off")
        with pytest.raises(anp_proxy.ReceiverFailed):
            await soon(stranger.start())
        receiver = anp_proxy.Receiver(tell, **tunnel, lifespan="off", did=did, key=key, endpoints=["/mine"])
        await soon(receiver.start())
        try:
            assert receiver.urls == ["http://gw.test/mine/"]
            assert (await get(gateway.url.removeprefix("http://"), "/mine", [("Host", "gw.test")]))[0] == 200
        finally:
            await soon(receiver.stop(now=True))


@pytest.mark.parametrize(
    "did, key, word",
    [
        ({"id": "did:wba:x"}, None, "both"),
        (None, "me/key.pem", "both"),
        ({"id": "did:wba:x.example"}, "me/key.pem", "two files"),
        ({}, "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "did: expected a DID document"),
    ],
)
async def test_an_identity_that_cannot_be_is_a_value_error(did, key, word):
    with pytest.raises(ValueError, match=word):
        anp_proxy.Receiver(tell, "ws://127.0.0.1:1", did=did, key=key)


async def test_a_key_of_another_document_is_a_value_error_that_shows_no_key():
    (document, _), (_, keys) = (create_did_wba_document("x.example", None, ["user", name]) for name in ("a", "b"))
    with pytest.raises(ValueError, match="no key in") as refused:
        anp_proxy.Receiver(tell, "ws://127.0.0.1:1", did=document, key=keys["key-1"][0])
    assert "BEGIN" not in str(refused.value)


async def test_a_proof_is_not_shown_to_everybody_on_the_way():
    document, keys = create_did_wba_document("x.example", None, ["user", "a"])
    with pytest.raises(ValueError, match="use wss://"):
        anp_proxy.Receiver(tell, "ws://gateway.example:1", did=document, key=keys["key-1"][0])


async def test_a_key_that_others_can_read_is_a_value_error_at_the_start(tmp_path):
    document, keys = create_did_wba_document("x.example", None, ["user", "a"])
    (tmp_path / "did.json").write_text(json.dumps(document))
    (tmp_path / "key.pem").write_bytes(keys["key-1"][0])
    (tmp_path / "key.pem").chmod(0o644)
    receiver = anp_proxy.Receiver(tell, "ws://127.0.0.1:1", did=tmp_path / "did.json", key=tmp_path / "key.pem", lifespan="off")
    with pytest.raises(ValueError, match="key.pem"):
        await soon(receiver.start())
