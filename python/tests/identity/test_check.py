"""`anp-proxy did check` with the configuration of a gateway: it resolves as that gateway does."""

import subprocess

import pytest

import binary

from .https import Documents
from .test_gateway import anp_identity


def run(*args):
    """Exit code, and what the binary prints."""
    ran = subprocess.run([binary.PATH, *args], capture_output=True, text=True, env=binary.environment())
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def documents(tmp_path):
    with Documents(tmp_path).serving() as server:
        yield server


def config(directory, *lines):
    file = directory / "gateway.toml"
    file.write_text("\n".join(["[gateway.auth]", 'public_names = ["gw.test"]', *lines]))
    return str(file)


def resolver(documents, ports):
    return [
        "[gateway.auth.resolver]",
        f'ca_file = "{documents.ca_file}"',
        f'hosts = {{ "{documents.host}" = "127.0.0.1:{documents.port}" }}',
        f"allowed_ports = {ports}",
    ]


def test_it_fetches_as_the_configured_gateway_does(tmp_path, documents):
    document, _, did = anp_identity(tmp_path, documents, "alice", "e1")
    file = config(tmp_path, f'allow = ["domain:{documents.host}"]', *resolver(documents, [documents.port]))
    for subject in [did, document]:
        code, said = run("did", "check", subject, "--config", file)
        assert code == 0, said
        assert f"the host is configured to be at 127.0.0.1:{documents.port}" in said
        assert "the configuration lets it come" in said
    assert len(documents.requests) == 2
    # That gateway's ports are not those of any other.
    file = config(tmp_path, *resolver(documents, [443]))
    code, said = run("did", "check", did, "--config", file)
    assert code == 1 and f"FAIL  port {documents.port}" in said
    assert "does not let it come" in said
    code, said = run("did", "check", did, "--config", file, "--allow-port", "8443")
    assert code == 2 and "gateway.auth.resolver" in said
    assert len(documents.requests) == 2


def test_documents_of_the_configuration_are_not_fetched(tmp_path, documents):
    document, _, did = anp_identity(tmp_path, documents, "alice", "k1")
    file = config(tmp_path, f'allow = ["{did}"]', "[gateway.auth.resolver]", f'documents = ["{document}"]')
    code, said = run("did", "check", did, "--config", file)
    assert code == 0 and "one of gateway.auth.resolver.documents" in said, said
    assert documents.requests == []


@pytest.mark.asyncio
async def test_a_gateway_that_hosts_the_document_is_asked(tmp_path):
    run("did", "new", "gw.test/alice", "--out", str(tmp_path / "alice"))
    document = str(tmp_path / "alice/did.json")
    hosting = ['hosted_domain = "gw.test"', "did_endpoints = {}", f'replay_store = "{tmp_path}/nonces.redb"']
    file = config(tmp_path, *hosting, f'token_key = "{tmp_path}/tokens.pem"', "[gateway]", 'admin_listen = "127.0.0.1:0"')
    more = ("--config", file, "--set", f"gateway.endpoint_store={tmp_path}/endpoints.redb")
    async with binary.gateway(*more) as proxy:
        admin = "http://" + await proxy.address("admin")
        at = ("--config", file, "--set", f"gateway.admin_listen={admin.removeprefix('http://')}")
        code, said = run("did", "check", document, *at)
        assert code == 1 and "there is no document" in said, said
        code, said = run("did", "publish", document, "--admin", admin)
        assert code == 0 and "is hosted, for https://gw.test/alice/e1_" in said, said
        code, said = run("did", "check", document, *at)
        assert code == 0 and "the gateway hosts the documents" in said and "lets it come" in said, said
        did = next(line.split()[0] for line in run("did", "list", "--admin", admin)[1].splitlines() if line.startswith("did:"))
        assert run("did", "withdraw", did, "--admin", admin)[0] == 0
        assert run("did", "check", document, *at)[0] == 1
