"""Headers that `anp-proxy did header` makes, in the verifiers of the Python SDKs."""

import json
import subprocess

import anp.authentication.did_wba as anp_didwba
import anp.authentication.http_signatures as anp_signatures
import pytest
from agent_connect.authentication import did_wba as agent_connect

import binary

URL = "wss://gateway.example:8765/anpx?receiver=a"
KEYS = ["ed25519", "secp256k1", "p256"]


def run(*args):
    """What the binary prints."""
    return subprocess.run([binary.PATH, *args], check=True, capture_output=True, text=True).stdout


@pytest.fixture(params=KEYS)
def identity(request, tmp_path):
    """Documents and keys of every kind: the document, and what makes headers with its key."""
    run("did", "new", "did.example/user/alice", "--key", request.param, "--out", str(tmp_path))
    document = json.loads((tmp_path / "did.json").read_text())
    files = ["--document", str(tmp_path / "did.json"), "--key", str(tmp_path / "key.pem")]

    def headers(form, *more):
        lines = run("did", "header", *files, "--form", form, *more, URL).splitlines()
        return dict(line.split(": ", 1) for line in lines)

    return document, headers


def test_the_document_is_bound_to_its_did(identity):
    document, _ = identity
    assert anp_didwba.validate_did_document_binding(document)


def test_anp_verifies_message_signatures(identity):
    document, headers = identity
    good, text, about = anp_signatures.verify_http_message_signature(document, "GET", URL, headers("signature"))
    assert good, text
    assert about["components"] == ["@method", "@target-uri", "@authority"]
    other = URL.replace("gateway", "other")
    assert not anp_signatures.verify_http_message_signature(document, "GET", other, headers("signature"))[0]


def test_anp_verifies_the_digest_of_a_body(identity, tmp_path):
    document, headers = identity
    (tmp_path / "body").write_bytes(b"a body")
    signed = headers("signature", "--data", str(tmp_path / "body"))
    good, text, about = anp_signatures.verify_http_message_signature(document, "POST", URL, signed, b"a body")
    assert good, text
    assert about["components"] == ["@method", "@target-uri", "@authority", "content-digest"]
    assert not anp_signatures.verify_http_message_signature(document, "POST", URL, signed, b"another")[0]


@pytest.mark.parametrize("form", ["didwba", "didwba-1.1"])
def test_anp_verifies_both_versions_of_didwba(identity, form):
    document, headers = identity
    header = headers(form)["authorization"]
    assert anp_didwba.verify_auth_header_signature(header, document, "gateway.example") == (True, "Verification successful")
    assert not anp_didwba.verify_auth_header_signature(header, document, "other.example")[0]


def test_agent_connect_verifies_didwba(identity):
    document, headers = identity
    if document["verificationMethod"][0]["type"] == "EcdsaSecp256r1VerificationKey2019":
        pytest.skip("agent-connect has no P-256")
    if document["verificationMethod"][0]["type"] == "Multikey":
        pytest.skip("agent-connect has no Multikey")
    header = headers("didwba")["authorization"]
    assert agent_connect.verify_auth_header_signature(header, document, "gateway.example") == (True, "Verification successful")
    assert not agent_connect.verify_auth_header_signature(header, document, "other.example")[0]
