"""The app of every case, on raw sockets: HTTP/1.1 and HTTP/2 on one port, a handler a request.

A case gives its handler a token and puts it into the request as `x-case`; nothing else of a request
chooses, so that targets, methods and hosts are free.
"""

import asyncio
import contextlib

from . import http1, http2
from .message import Broken

PREFACE = (b"PRI * HTTP/2.0", [])
"""How a caller begins that speaks HTTP/2 with prior knowledge, read as HTTP/1.1."""


class Part:
    """What a handler plays in a case: the exchange it got, and how it ended."""

    def __init__(self, handler):
        loop = asyncio.get_running_loop()
        self.handler = handler
        self.exchange = loop.create_future()
        self.result = loop.create_future()
        self.calls = 0


class Origin:
    """`async with Origin()`: listens on `address`; `play(handler)` gives a token and a `Part`."""

    def __init__(self):
        self._parts = {}
        self._tasks = set()
        self.strangers = []
        """Requests that no case asked for."""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.address = "127.0.0.1:%d" % self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def play(self, handler):
        """Registers a handler: `(token, part)`."""
        token, part = f"case-{len(self._parts)}", Part(handler)
        self._parts[token] = part
        return token, part

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        wire = http1.Wire(reader, writer)
        with contextlib.suppress(ConnectionError, Broken, asyncio.CancelledError):
            while got := await wire.head():
                if got == PREFACE:
                    await http2.Server(reader, writer, self._serve).run(got[0] + b"\r\n\r\n")
                    break
                exchange = http1.Exchange(wire, *got)
                await self._serve(exchange)
                if not exchange.reusable:
                    await self._linger(reader, writer)
                    break
        writer.transport.abort()

    @staticmethod
    async def _linger(reader, writer):
        """What the caller still sends is read, or the kernel would take back what was answered."""
        with contextlib.suppress(ConnectionError, OSError, RuntimeError):
            writer.write_eof()
            while await reader.read(1 << 16):
                pass

    async def _serve(self, exchange):
        part = self._parts.get((exchange.value("x-case") or b"").decode())
        if part is None:
            self.strangers.append(exchange)
            await exchange.answer(421)
            return
        part.calls += 1
        if not part.exchange.done():
            part.exchange.set_result(exchange)
        try:
            result = await part.handler(exchange)
            exchange.leave()
            if not part.result.done():
                part.result.set_result(result)
        except Exception as error:  # Whatever it was, it is the case's to judge.
            if not part.result.done():
                part.result.set_exception(error)
            exchange.abort()
