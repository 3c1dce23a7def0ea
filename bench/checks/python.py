"""A Python app in the receiver's process, and a million requests, many of whose callers leave."""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import subprocess
import threading

from harness import asgi, client
from harness.processes import Server, tool
from harness.subjects import start_gateway

from .setup import Bench, Finding, Promise, expect, gateway_args

#: Requests in all, and those after which memory must have found its level.
_REQUESTS = int(os.environ.get("ANP_BENCH_PYTHON_REQUESTS", "1000000"))
_LEVEL = _REQUESTS // 5
_CONNECTIONS = 32
_LEAVERS = 4
_LIMIT_MIB = 4

_HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_WAYS = [
    ("GET /stream", "", b""),
    ("GET /wait", "", b""),
    ("POST /upload", "Content-Length: 1000000\r\n", bytes(10_000)),
    ("POST /upload", "Transfer-Encoding: chunked\r\n", b"2000\r\n" + bytes(0x2000) + b"\r\n"),
    ("GET /", "", b""),
    ("GET /socket", _HANDSHAKE, b""),
]


def _leave(address: client.Address, chance: random.Random) -> None:
    """One caller that leaves: politely or not, before an answer or within it."""
    line, fields, body = chance.choice(_WAYS)
    with socket.create_connection(address) as connection:
        connection.settimeout(10)
        connection.sendall(f"{line} HTTP/1.1\r\nHost: app\r\n{fields}\r\n".encode() + body)
        if line in ("GET /stream", "GET /socket", "GET /") and chance.random() < 0.5:
            connection.recv(chance.choice((1, 100, 10_000)))
        if chance.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Leavers:
    """Threads of callers that leave, until told to end."""

    def __init__(self, address: client.Address) -> None:
        self.count = 0
        self.failure: OSError | None = None
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(address, seed)) for seed in range(_LEAVERS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> int:
        """Ends them; how many callers left."""
        self._ends.set()
        for thread in self._threads:
            thread.join()
        if self.failure:
            raise self.failure
        return self.count

    def _run(self, address: client.Address, seed: int) -> None:
        chance = random.Random(seed)
        while not self._ends.is_set():
            try:
                _leave(address, chance)
            except OSError as error:
                self.failure = error
                return
            self.count += 1


def _wave(wrk: str, address: client.Address, wanted: int) -> tuple[int, int]:
    """At least `wanted` requests; how many there were, and how many callers left."""
    done = left = 0
    while done < wanted:
        leavers = _Leavers(address)
        command = [wrk, "-t1", f"-c{_CONNECTIONS}", "-d5s", "--timeout", "30s", f"http://{address[0]}:{address[1]}/"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        finally:
            gone = leavers.end()
        found = re.search(r"(\d+) requests in", said)
        expect(found is not None and "Non-2xx" not in said and "Socket errors" not in said, f"wrk: {said}")
        assert found is not None
        done += int(found.group(1)) + gone
        left += gone
    return done, left


def _rest(address: client.Address) -> tuple[int, int]:
    """Tasks of the app's loop, and objects that its collector knows."""
    _, body = client.fetch(address, "/tasks")
    tasks, objects = body.split()
    return int(tasks), int(objects)


def _leaks(bench: Bench) -> Finding:
    programs = asgi.environment()
    wrk = tool("ANP_BENCH_WRK", "wrk", "wrk")
    gateway, public, tunnel = start_gateway(bench.owner, bench.binary, gateway_args())
    receiver = asgi.start_receiver_with(bench.owner, programs, tunnel, "asgi_leaks:app", [])
    address = ("127.0.0.1", public)
    servers: list[Server] = [gateway, receiver]
    receiver.wait_until("the right answer to GET /", lambda: client.is_answering(address, "/", b"hello, anpx!"))
    tasks, _ = _rest(address)
    requests, left = _wave(wrk, address, _LEVEL)
    level = [server.resident_kib() for server in servers]
    descriptors = sum(server.descriptors() for server in servers)
    _, objects = _rest(address)
    more, gone = _wave(wrk, address, _REQUESTS - requests)
    receiver.wait_until("the end of every task", lambda: _rest(address)[0] <= tasks)
    grown = [server.resident_kib() - before for server, before in zip(servers, level, strict=True)]
    descriptors = sum(server.descriptors() for server in servers) - descriptors
    objects = _rest(address)[1] - objects
    figure = (
        f"{grown[1] / 1024:+.2f} MiB (gateway {grown[0] / 1024:+.2f}), {objects:+} objects, {descriptors:+} descriptors"
        f" after {requests + more:,} requests, {left + gone:,} of them left by their callers; no task is left"
    )
    ok = max(grown) <= _LIMIT_MIB * 1024 and objects <= 1000 and descriptors <= _CONNECTIONS
    return Finding(figure, f"+{_LIMIT_MIB} MiB each, 1,000 objects", ok)


PROMISES = [
    Promise(
        "python",
        "A million requests to a Python app in the receiver's process, of which many are left by their callers in the"
        " middle: the app's tasks end, and memory is what it was after a fifth of them",
        _leaks,
    ),
]
