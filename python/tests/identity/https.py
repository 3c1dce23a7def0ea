"""DID documents over real HTTPS on loopback, with a certificate authority of the test's own."""

import contextlib
import datetime
import http.server
import json
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(name, issuer=None, issuer_key=None):
    """A certificate for `name` and its key; an authority where nobody issues it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key


def pem(certificate, key=None):
    """Both in PEM, the key behind."""
    text = certificate.public_bytes(serialization.Encoding.PEM)
    if key:
        no = serialization.NoEncryption()
        text += key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no)
    return text


class Documents:
    """A web server for `host` that serves documents by their path and counts requests."""

    def __init__(self, directory, host="did.test"):
        self.host = host
        self.files = {}
        self.requests = []
        authority, authority_key = certificate("authority of a test")
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(pem(authority))
        own = directory / "server.pem"
        own.write_bytes(pem(*certificate(host, authority, authority_key)))
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                body = outer.files.get(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]

    def publish(self, document):
        """Serve `document` where its DID says."""
        segments = document["id"].split(":")[3:]
        path = "/".join(segments)
        self.files[f"/{path or '.well-known'}/did.json"] = json.dumps(document).encode()

    @contextlib.contextmanager
    def serving(self):
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
