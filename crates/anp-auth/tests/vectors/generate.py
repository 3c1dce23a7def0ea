"""Makes agent-connect.json and anp.json: documents and headers as the Python SDKs make them.

Run by hand, once with each package, in environments of their own:

    pip install agent-connect==0.3.7 && python generate.py agent-connect > agent-connect.json
    pip install anp==1.0.7 && python generate.py anp > anp.json

Keys are made anew each time; the tests read what is committed, in which there are no private keys.
"""

import json
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

HOST = "gw.example.com"
URL = "wss://gw.example.com/anpx?receiver=a"


def signer(pem):
    key = serialization.load_pem_private_key(pem, None)

    def sign(content, _fragment):
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(content)
        return key.sign(content, ec.ECDSA(hashes.SHA256()))

    return sign


def agent_connect():
    from agent_connect.authentication import did_wba

    # Enough of them that some coordinates and signatures have a leading zero byte, which this
    # package leaves out.
    for number in range(400):
        document, keys = did_wba.create_did_wba_document("did.example.com", path_segments=["user", str(number)])
        header = did_wba.generate_auth_header(document, HOST, signer(keys["key-1"][0]))
        signature = header.split('signature="')[1].rstrip('"')
        jwk = document["verificationMethod"][0]["publicKeyJwk"]
        short = len(signature) < 86 or len(jwk["x"]) < 43 or len(jwk["y"]) < 43
        if number < 2 or short:
            yield {"name": f"agent-connect {number}", "document": document, "authorization": header}


def anp():
    from anp.authentication import create_did_wba_document, did_wba
    from anp.authentication.http_signatures import generate_http_signature_headers

    def case(name, document, pem, keyid=None):
        sign = signer(pem)
        headers = generate_http_signature_headers(document, URL, "GET", sign, keyid=keyid)
        result = {
            "name": name,
            "document": document,
            "signature_input": headers["Signature-Input"],
            "signature": headers["Signature"],
        }
        if keyid is None:
            for version in ("1.0", "1.1"):
                header = did_wba.generate_auth_header(document, HOST, sign, version=version)
                yield {"name": f"{name} {version}", "document": document, "authorization": header}
        yield result

    for profile in ("e1", "k1", "plain_legacy"):
        for segments in (["user", "alice"], None):
            document, keys = create_did_wba_document("did.example.com", path_segments=segments, did_profile=profile)
            yield from case(f"{profile} {segments}", document, keys["key-1"][0])
    document, keys = create_did_wba_document(
        "did.example.com", 8443, ["bob"], did_profile="plain_legacy", additional_authentication=["#key-1"]
    )
    document["authentication"].append(document["id"] + "#key-2")
    yield from case("P-256", document, keys["key-2"][0], document["id"] + "#key-2")


if __name__ == "__main__":
    cases = {"agent-connect": agent_connect, "anp": anp}[sys.argv[1]]()
    json.dump({"host": HOST, "url": URL, "cases": list(cases)}, sys.stdout, indent=1)
    print()
