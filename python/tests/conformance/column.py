"""Where a case runs: a version of HTTP, and the origin itself or the public port of a tunnel to it."""

import asyncio
import contextlib
import pathlib
import ssl
import subprocess
import tempfile

import binary
from binary import soon

from . import http1, http2
from .origin import Origin

UPGRADES = "websocket,echo-raw"


async def echo(exchange):
    """Answers with the body that came; the case looks at the exchange itself."""
    exchange.got = await exchange.body()
    await exchange.answer(200, [("x-method", exchange.method)], exchange.got)


class Column:
    """`caller` is 1 or 2, the version the caller speaks; `app` the one the app is spoken to in; `tls`
    whom callers over TLS trust."""

    def __init__(self, origin, address, caller, app, tunnel, tls=None):
        self.origin, self.address = origin, address
        self.caller, self.app, self.tunnel, self.tls = caller, app, tunnel, tls

    def connect(self):
        """A connection to use for several exchanges: `async with`."""
        tls = self.tls and tls_client(self.tls, self.caller)
        return (http1 if self.caller == 1 else http2).Connection(self.address, tls)

    @contextlib.asynccontextmanager
    async def begin(self, app, method="GET", target="/", fields=(), body=None, connection=None, **more):
        """One exchange with `app` as the handler: `async with` gives its `Call`.

        On leaving, the handler must end; what it raised is raised here.
        """
        token, part = self.origin.play(app)
        async with contextlib.AsyncExitStack() as stack:
            connection = connection or await stack.enter_async_context(self.connect())
            call = await connection.begin(method, target, [("x-case", token), *fields], body, **more)
            call.part = part
            try:
                yield call
                await soon(asyncio.shield(part.result))
            except BaseException:
                if part.result.done() and not part.result.cancelled() and (error := part.result.exception()):
                    raise error from None
                raise

    async def call(self, method="GET", target="/", fields=(), body=None, app=echo, **more):
        """A whole exchange: `(answer, exchange)`, the answer with body and trailers."""
        async with self.begin(app, method, target, fields, body, **more) as call:
            answer = await call.head()
            answer.body = await call.body()
            answer.trailers = call.trailers
            return answer, await call.part.exchange

    def __str__(self):
        way = "tls" if self.tls else "tunnel" if self.tunnel else "direct"
        return f"{way}-h{self.caller}-h{self.app}"


NAMES = ["direct-h1-h1", "direct-h2-h2", "tunnel-h1-h1", "tunnel-h2-h1", "tunnel-h1-h2", "tunnel-h2-h2",
         "tls-h1-h1", "tls-h2-h1"]
"""Columns as pytest shows them: the way, what the caller speaks, what the app is spoken to in. On the
way `tls` callers speak HTTPS and the tunnel is `wss://`."""


def certificate(directory):
    """Makes a certificate for 127.0.0.1 with its key: their paths."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True)
    return cert, key


def tls_client(cert, version):
    """A caller's side of TLS, for one version of HTTP."""
    context = ssl.create_default_context(cafile=cert)
    context.set_alpn_protocols(["http/1.1" if version == 1 else "h2"])
    return context


class Table:
    """`async with Table()`: columns by name. A gateway and a receiver start when first needed, one
    pair for apps in HTTP/1.1 and one for apps in HTTP/2."""

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        self.origin = await self._stack.enter_async_context(Origin())
        self._public = {}
        return self

    async def __aexit__(self, *why):
        await self._stack.__aexit__(*why)

    async def column(self, name):
        """The column of this name."""
        way, caller, app = name.split("-")
        caller, app = int(caller[1]), int(app[1])
        if way == "direct":
            return Column(self.origin, self.origin.address, caller, app, False)
        if (way, app) not in self._public:
            self._public[way, app] = await self._tunnel({1: "http", 2: "h2c"}[app], way == "tls")
        public, tls = self._public[way, app]
        return Column(self.origin, public, caller, app, True, tls)

    async def _tunnel(self, scheme, tls):
        enter = self._stack.enter_async_context
        more, trust = [], []
        if tls:
            directory = self._stack.enter_context(tempfile.TemporaryDirectory())
            cert, key = certificate(pathlib.Path(directory))
            more = ["--set", f"gateway.tls.cert={cert}", "--set", f"gateway.tls.key={key}"]
            trust = ["--set", f"receiver.ca_file={cert}"]
        gateway = await enter(binary.gateway("--set", f"gateway.upgrades={UPGRADES}", *more))
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        inner = f"wss://{inner}" if tls else f"ws://{inner}"
        receiver = await enter(binary.receiver(inner, f"{scheme}://{self.origin.address}", *trust))
        await receiver.ready()
        return public, cert if tls else None
