"""Mixed traffic at a fixed rate, whoever falls behind: small requests, token streams and uploads, each answer checked.

Callers keep their connections, as browsers and clients do, and open another where the answer said that the last
one ends, or where it was closed while it was idle. One that is closed as a request is on its way counts as a failure.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from .app import GREETING
from .client import Address

_SMALL_BODY = bytes(700)
_UPLOAD_PIECE = bytes(64 << 10)
#: Seconds an answer may take from the request's first byte.
_PATIENCE = 30.0


@dataclass
class Traffic:
    """What is sent: small requests a second, and streams, uploads and callers that leave, so many at a time."""

    rate: float = 500.0
    streams: int = 16
    tokens: int = 40
    uploads: int = 4
    upload_bytes: int = 2 << 20
    leavers: int = 0


@dataclass
class Tally:
    """What came of it: whole and right answers by kind, and each failure in words."""

    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    worst: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.answered.items()))
        return f"{len(self.failures)} failed of {kinds}"


class Wrong(Exception):
    """An answer that is not the one asked for."""


class Mixed:
    """Traffic in a thread of its own from `start` to `stop`."""

    def __init__(self, address: Address, traffic: Traffic) -> None:
        self._address = address
        self._traffic = traffic
        self._idle: list[_Connection] = []
        self._over = False
        self._origin = time.monotonic()
        self.tally = Tally()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> Mixed:
        """Begins."""
        self._thread.start()
        return self

    def stop(self) -> Tally:
        """Lets what is under way end, and gives the tally."""
        self._over = True
        self._thread.join(_PATIENCE + 10)
        if self._thread.is_alive():
            self.tally.failures.append("the traffic did not come to its end")
        return self.tally

    async def _run(self) -> None:
        traffic = self._traffic
        loops = [self._again("stream", self._stream) for _ in range(traffic.streams)]
        loops += [self._again("upload", self._upload) for _ in range(traffic.uploads)]
        loops += [self._again("left", self._leave) for _ in range(traffic.leavers)]
        await asyncio.gather(self._small_ones(), *loops)
        for connection in self._idle:
            connection.close()

    async def _again(self, kind: str, one: object) -> None:
        while not self._over:
            if not await self._one(kind, one):
                await asyncio.sleep(0.05)

    async def _small_ones(self) -> None:
        """A request each 1/rate seconds from the schedule, not from the last answer."""
        running: set[asyncio.Task[bool]] = set()
        number, begin = 0, time.monotonic()
        while not self._over:
            due = begin + number / self._traffic.rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            kind, one = ("post", self._post) if number % 10 < 3 else ("get", self._get)
            task = asyncio.create_task(self._one(kind, one))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        if running:
            await asyncio.gather(*running)

    async def _one(self, kind: str, one: object) -> bool:
        start = time.monotonic()
        try:
            await asyncio.wait_for(one(), _PATIENCE)  # type: ignore[operator]
        except (OSError, Wrong, EOFError, asyncio.TimeoutError) as error:
            said = str(error) or type(error).__name__
            self.tally.failures.append(f"{start - self._origin:.3f} s: {kind}: {said}")
            return False
        self.tally.answered[kind] += 1
        self.tally.worst = max(self.tally.worst, time.monotonic() - start if kind in ("get", "post") else 0.0)
        return True

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_over():
                return connection
            connection.close()
        reader, writer = await asyncio.open_connection(*self._address)
        return _Connection(reader, writer)

    async def _exchange(self, head: str, body: bytes = b"") -> bytes:
        connection = await self._connection()
        try:
            connection.send(head, self._address, body)
            answer = await connection.answer()
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return answer

    def _keep(self, connection: _Connection) -> None:
        if connection.ends:
            connection.close()
        else:
            self._idle.append(connection)

    async def _get(self) -> None:
        if await self._exchange("GET / HTTP/1.1\r\n") != GREETING:
            raise Wrong("another body than the app's")

    async def _post(self) -> None:
        head = f"POST /count HTTP/1.1\r\nContent-Length: {len(_SMALL_BODY)}\r\n"
        if await self._exchange(head, _SMALL_BODY) != b"%d" % len(_SMALL_BODY):
            raise Wrong("the app counted another length")

    async def _stream(self) -> None:
        tokens = self._traffic.tokens
        answer = await self._exchange(f"GET /tokens?n={tokens} HTTP/1.1\r\n")
        if answer.count(b"data:") != tokens or not answer.endswith(b"data: [DONE]\n\n"):
            raise Wrong(f"{answer.count(b'data:')} of {tokens} tokens")

    async def _upload(self) -> None:
        length = self._traffic.upload_bytes
        connection = await self._connection()
        try:
            connection.send(f"POST /count HTTP/1.1\r\nContent-Length: {length}\r\n", self._address)
            left = length
            while left:
                left -= await connection.send_piece(_UPLOAD_PIECE[:left])
            answer = await connection.answer()
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        if answer != b"%d" % length:
            raise Wrong(f"the app counted {answer!r} of {length} bytes")

    async def _leave(self) -> None:
        """Leaves in the middle of an answer or of an upload."""
        reader, writer = await asyncio.open_connection(*self._address)
        connection = _Connection(reader, writer)
        try:
            if random.random() < 0.5:
                connection.send("GET /drip HTTP/1.1\r\n", self._address)
                await reader.readuntil(b"\r\n\r\n")
            else:
                connection.send("POST /count HTTP/1.1\r\nContent-Length: 1000000\r\n", self._address)
                await connection.send_piece(_UPLOAD_PIECE)
            await asyncio.sleep(random.random() / 20)
        finally:
            connection.close()


class _Connection:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.ends = False

    def send(self, head: str, address: Address, body: bytes = b"") -> None:
        """Writes a request's head, the Host added, and a small body."""
        self._writer.write(f"{head}Host: {address[0]}:{address[1]}\r\n\r\n".encode() + body)

    async def send_piece(self, piece: bytes) -> int:
        """Writes a piece of a large body as fast as the other end takes it."""
        self._writer.write(piece)
        await self._writer.drain()
        return len(piece)

    async def answer(self) -> bytes:
        """Reads one whole answer with status 200."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, *lines = head.split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        self.ends = fields.get("connection") == "close"
        if "chunked" in fields.get("transfer-encoding", ""):
            body = await self._chunks()
        else:
            body = await self._reader.readexactly(int(fields["content-length"]))
        if not status.startswith("http/1.1 200"):
            raise Wrong(f"{status} {body.decode(errors='replace')}")
        return body

    async def _chunks(self) -> bytes:
        whole = bytearray()
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            if size == 0:
                await self._reader.readexactly(2)
                return bytes(whole)
            whole += await self._reader.readexactly(size)
            await self._reader.readexactly(2)

    def is_over(self) -> bool:
        """Whether the other end has closed it while it was idle, which is no failure."""
        return self._reader.at_eof() or self._writer.transport.is_closing()

    def close(self) -> None:
        """Ends it."""
        self._writer.close()
