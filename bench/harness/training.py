"""The load that a profile is made of: what the tunnel shall be fast at, small requests above all."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from . import app, client, machine
from .authority import NAME, Authority
from .mixed import Mixed, Traffic
from .processes import BenchError, Server, Servers, say
from .subjects import start_gateway, start_receiver, start_sink

_BULK = 64 << 20
#: Seconds of streams, small uploads and callers that leave.
_MIXED = 6.0
#: Seconds in which a process has to write down its profile as it ends.
_WRITE = 60.0
_SHORT = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
_LONG = (
    b"GET /?page=2&sort=date HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Accept-Language: en\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nSec-Fetch-Mode: navigate\r\n\r\n"
)


def train(owner: Servers, binary: str) -> None:
    """Runs gateway and receiver, plain and with TLS, through the load, and ends them in order."""
    origin = start_sink(owner)
    gateway, public, tunnel = start_gateway(owner, binary, [])
    receiver = start_receiver(owner, binary, tunnel, origin, [])
    address = ("127.0.0.1", public)
    say("small requests")
    asyncio.run(_small(address, 1, 4_000))
    asyncio.run(_small(address, 32, 60_000))
    asyncio.run(_small(address, 256, 10_000))
    say("small requests by HTTP/2")
    asyncio.run(_http2(f"127.0.0.1:{public}"))
    say("large bodies")
    _bulk(address)
    say("streams, uploads, callers that leave")
    mixed = Mixed(address, Traffic(rate=300, streams=16, uploads=2, leavers=2)).start()
    time.sleep(_MIXED)
    if (tally := mixed.stop()).failures:
        raise BenchError(f"the load failed: {tally.failures[0]}")
    _end(receiver, gateway)

    authority = Authority(Path(owner.directory))
    certificate, key = authority.issue(0)
    gateway, public, tunnel = start_gateway(
        owner, binary, ["--set", f'gateway.tls={{cert="{certificate}",key="{key}"}}']
    )
    trust = ["--set", f"receiver.ca_file={authority.file}"]
    receiver = start_receiver(owner, binary, tunnel, origin, trust, scheme="wss", host=NAME)
    one, two = (ssl.create_default_context(cafile=str(authority.file)) for _ in range(2))
    two.set_alpn_protocols(["h2"])
    say("the same with TLS")
    asyncio.run(_small((NAME, public), 32, 10_000, one))
    asyncio.run(_http2(f"{NAME}:{public}", two))
    _bulk((NAME, public), one)
    _end(receiver, gateway)


def _end(*servers: Server) -> None:
    """Ends them one after the other; each writes its profile as its last."""
    for server in servers:
        server.send(signal.SIGTERM)
        if code := server.process.wait(_WRITE):
            raise BenchError(f"{server.name} ended with exit code {code}")


async def _small(address: client.Address, connections: int, requests: int, tls: ssl.SSLContext | None = None) -> None:
    """So many requests over so many kept connections, each with one request under way."""
    left = requests

    async def caller() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection(*address, ssl=tls)
        while left > 0:
            left -= 1
            writer.write(_LONG if left % 2 else _SHORT)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200") or await reader.readexactly(len(app.GREETING)) != app.GREETING:
                raise BenchError(f"a small request was answered {head!r}")
        writer.close()

    await _all(caller, connections)


async def _http2(address: str, tls: ssl.SSLContext | None = None) -> None:
    """Small requests and a large body by HTTP/2, several at once on each of some connections."""
    connection_to = _http2_client()

    async def caller() -> None:
        async with connection_to(address, tls) as connection:

            async def one() -> None:
                for number in range(60):
                    body = bytes(700) if number % 4 == 0 else None
                    call = await connection.begin("POST" if body else "GET", "/count" if body else "/", body=body)
                    if (await call.head()).status != 200:
                        raise BenchError("a small request by HTTP/2 was not answered 200")
                    await call.body()

            await _all(one, 16)
            call = await connection.begin("GET", f"/bytes?n={_BULK // 16}")
            await call.body()

    await _all(caller, 4)


def _http2_client() -> Callable[..., object]:
    """That of the conformance cases, which needs the package `h2`."""
    sys.path.insert(0, str(machine.ROOT / "python/tests"))
    try:
        from conformance.http2 import Connection
    except ImportError as error:
        raise BenchError(f"the load by HTTP/2 needs what the tests need ({error}): make profile installs it") from error
    return Connection


async def _all(one: Callable[[], Awaitable[None]], count: int) -> None:
    await asyncio.gather(*(one() for _ in range(count)))


def _bulk(address: client.Address, tls: ssl.SSLContext | None = None) -> None:
    for _ in range(3):
        client.download(address, f"/bytes?n={_BULK}", digest=False, tls=tls)
        client.upload(address, "/count", app.pattern(_BULK), _BULK, tls=tls)
