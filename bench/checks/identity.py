"""Strangers with forged proofs cost little, and two identities never see each other's bodies."""

from __future__ import annotations

import base64
import os
import random
import secrets
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import client, subjects, wire
from harness.processes import BenchError, Server

from .setup import Bench, Finding, Promise, expect, gateway_args, receiver_args

_FORGED = 20_000
_FORGERS = 4
_MICROSECONDS = 400
_FORGED_MIB = 8
#: Bodies of the two tenants together.
_BODIES = int(os.environ.get("ANP_BENCH_TENANT_BODIES", "1000000"))
_CALLERS = 8
#: Requests that a caller writes before it reads the first answer.
_AT_ONCE = 16
#: Bodies between two ends of a receiver.
_BETWEEN = 50_000
_NAMES = ("alice", "bob")


@dataclass
class _Identity:
    """A DID and its files."""

    did: str
    document: Path
    key: Path


def _identity(binary: str, directory: Path, name: str, kind: str = "ed25519") -> _Identity:
    out = directory / name
    made = subprocess.run(
        [binary, "did", "new", f"did.example/{name}", "--key", kind, "--out", str(out)],
        check=True,
        capture_output=True,
        text=True,
    )
    return _Identity(made.stdout.splitlines()[0], out / "did.json", out / "key.pem")


def _start(bench: Bench, directory: Path, identities: dict[str, _Identity], *more: str) -> tuple[Server, int, int]:
    """A gateway where each identity has the endpoint of its name; its ports."""
    endpoints = ", ".join(
        f'{{name = "{name}", path = "/{name}", owner = "{identity.did}"}}' for name, identity in identities.items()
    )
    documents = ", ".join(f'"{identity.document}"' for identity in identities.values())
    sets = [
        f"gateway.endpoints=[{endpoints}]",
        'gateway.auth.public_names=["127.0.0.1"]',
        f"gateway.auth.resolver.documents=[{documents}]",
        f"gateway.auth.token_key={directory}/tokens.pem",
        f"gateway.auth.replay_store={directory}/nonces.redb",
        *more,
    ]
    args = [arg for setting in sets for arg in ("--set", setting)]
    return subjects.start_gateway(bench.owner, bench.binary, [*gateway_args(), *args])


@contextmanager
def _listening() -> Iterator[tuple[int, list[object]]]:
    """A port, and the connections that came to it."""
    came: list[object] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)

        def accept() -> None:
            while True:
                try:
                    came.append(listener.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], came
        # Wakes the accept that waits.
        listener.shutdown(socket.SHUT_RDWR)


def _forged(did: str, authority: str) -> bytes:
    """A handshake with a signature that is none, in the form of RFC 9421."""
    now = int(time.time())
    covered = '("@method" "@target-uri" "@authority")'
    about = f'created={now};expires={now + 60};nonce="{secrets.token_urlsafe(16)}";keyid="{did}#key-1"'
    signature = base64.b64encode(secrets.token_bytes(32) + b"\x01" + secrets.token_bytes(31)).decode()
    lines = [
        "GET /anpx HTTP/1.1",
        f"Host: {authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol: anpx.v2",
        f"Signature-Input: sig1={covered};{about}",
        f"Signature: sig1=:{signature}:",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _knock(port: int, dids: list[str], count: int, answers: set[tuple[int, str]]) -> None:
    """Sends `count` forged handshakes on one connection; adds how each was answered."""
    with client.Call(("127.0.0.1", port)) as call:
        for number in range(count):
            call.socket.sendall(_forged(dids[number % len(dids)], f"127.0.0.1:{port}"))
            head = call.read_head()
            call.read_whole(head)
            answers.add((head.status, wire.find(head.headers, "www-authenticate") or ""))


def _forgeries(bench: Bench) -> Finding:
    """The keys of every kind, and a DID that is not allowed and must not be fetched, in turns."""
    with tempfile.TemporaryDirectory() as name, _listening() as (stranger, fetches):
        directory = Path(name)
        kinds = ("ed25519", "secp256k1", "p256")
        identities = {kind: _identity(bench.binary, directory, kind, kind) for kind in kinds}
        hosts = f'gateway.auth.resolver.hosts={{"stranger.example" = "127.0.0.1:{stranger}"}}'
        gateway, _, port = _start(bench, directory, identities, hosts)
        dids = [identity.did for identity in identities.values()] + ["did:wba:stranger.example:mallory"]
        answers: set[tuple[int, str]] = set()
        _knock(port, dids, 400, answers)
        gateway.reset_peak()
        before, used = gateway.resident_kib(), gateway.cpu_seconds()
        share = _FORGED // _FORGERS
        with ThreadPoolExecutor(_FORGERS) as forgers:
            knocks = [forgers.submit(_knock, port, dids, share, answers) for _ in range(_FORGERS)]
        for knock in knocks:
            knock.result()
        each = (gateway.cpu_seconds() - used) / (share * _FORGERS) * 1e6
        added = gateway.peak_kib() - before
        expect(len(answers) == 1 and next(iter(answers))[0] == 401, f"the refusals do not look alike: {answers}")
        expect(not fetches, f"{len(fetches)} documents were asked for")
        ok = each <= _MICROSECONDS and added <= _FORGED_MIB * 1024
        figure = f"{each:.0f} µs of CPU each, {added / 1024:+.2f} MiB, {len(fetches)} fetches, one answer for all"
        return Finding(figure, f"{_MICROSECONDS} µs, +{_FORGED_MIB} MiB, 0 fetches", ok)


def _echo(name: bytes) -> int:
    """An app that answers with its name and the body it got. Returns its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def serve(connection: socket.socket) -> None:
        reader = wire.Reader(connection)
        try:
            while (found := reader.head()) is not None:
                body = b"".join(bytes(piece) for piece in reader.body(found[1], to_end=False))
                answer = b"%s got %s" % (name, body)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        except (OSError, wire.Broken):
            connection.close()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


class _Tally:
    """What all callers have seen together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.left = _BODIES
        self.good = 0
        self.wrong = 0
        self.refused = 0

    def take(self) -> int:
        """How many bodies a caller is to send next."""
        with self.lock:
            share = min(self.left, _AT_ONCE)
            self.left -= share
            return share

    def add(self, good: int, wrong: int, refused: int) -> None:
        with self.lock:
            self.good += good
            self.wrong += wrong
            self.refused += refused


def _burst(call: client.Call, tags: list[tuple[str, bytes]], leave: bool) -> tuple[int, int, int]:
    """Sends all, reads all; how many answers were the right one, another's, and refusals."""
    requests = [
        b"POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (name.encode(), len(tag), tag)
        for name, tag in tags
    ]
    call.socket.sendall(b"".join(requests))
    good = wrong = refused = 0
    for name, tag in tags[: len(tags) // 2] if leave else tags:
        head = call.read_head()
        body = call.read_whole(head)
        if head.status != 200:
            refused += 1
        elif body == b"%s got %s" % (name.encode(), tag):
            good += 1
        else:
            wrong += 1
    return good, wrong, refused


def _caller(number: int, port: int, tally: _Tally) -> None:
    chance = random.Random(number)
    call = None
    sent = 0
    while share := tally.take():
        tags = []
        for _ in range(share):
            name = chance.choice(_NAMES)
            sent += 1
            tags.append((name, b"%s %d %d %s" % (name.encode(), number, sent, b"x" * chance.randrange(200))))
        leave = chance.random() < 0.02
        try:
            call = call or client.Call(("127.0.0.1", port))
            tally.add(*_burst(call, tags, leave))
        except (OSError, wire.Broken):
            leave = True
        if leave and call:
            call.socket.close()
            call = None


def _tenants(bench: Bench) -> Finding:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        identities = {name: _identity(bench.binary, directory, name) for name in _NAMES}
        gateway, public, tunnel = _start(bench, directory, identities)
        apps = {name: _echo(name.encode()) for name in _NAMES}

        def receive(name: str) -> Server:
            identity = identities[name]
            proof = ["--did-document", str(identity.document), "--did-key", str(identity.key)]
            return subjects.start_receiver(bench.owner, bench.binary, tunnel, apps[name], [*proof, *receiver_args()])

        receivers = {name: receive(name) for name in _NAMES}
        tally = _Tally()
        ends = 0
        with ThreadPoolExecutor(_CALLERS) as threads:
            callers = [threads.submit(_caller, number, public, tally) for number in range(_CALLERS)]
            while not all(caller.done() for caller in callers):
                time.sleep(0.01)
                if tally.left < _BODIES - (ends + 1) * _BETWEEN:
                    name = _NAMES[ends % 2]
                    receivers[name].kill()
                    receivers[name] = receive(name)
                    ends += 1
        for caller in callers:
            caller.result()
        gateway.check_alive()
        if tally.good < _BODIES // 2:
            raise BenchError(f"only {tally.good} of {_BODIES} bodies came back")
        figure = f"{tally.wrong} mismatches in {tally.good:,} bodies, {ends} receivers killed"
        return Finding(figure, "0", tally.wrong == 0)


PROMISES = [
    Promise(
        "forged-headers",
        "20,000 forged signatures, of keys of every kind and of a DID that is not allowed, cost at most 400 µs of CPU "
        "and together 8 MiB; nothing is fetched, and all are answered alike",
        _forgeries,
    ),
    Promise(
        "two-tenants",
        "A million tagged bodies to two identities, whose callers leave and whose receivers are killed: none reaches "
        "the other",
        _tenants,
    ),
]
