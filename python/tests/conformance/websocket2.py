"""A WebSocket client on a stream of HTTP/2 (RFC 8441): `websockets`' protocol without its sockets."""

import contextlib

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol, State

from . import http2


class Over2:
    """A client on a stream of HTTP/2, with the few methods of `websockets`' own that tests use."""

    def __init__(self, call, answer, deflate):
        self.call, self.answer = call, answer
        extensions = []
        if chosen := answer.value("sec-websocket-extensions"):
            assert deflate and chosen.startswith(b"permessage-deflate")
            extensions = [deflate.process_response_params(parameters(chosen), [])]
        self.protocol = Protocol(CLIENT, state=State.OPEN, max_size=None)
        self.protocol.extensions = extensions
        self.subprotocol = (answer.value("sec-websocket-protocol") or b"").decode() or None
        self._parts = []

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, address, path, fields, subprotocols=None, compression=None):
        """`async with`: a client, once the upgrade was accepted."""
        fields = [("sec-websocket-version", "13"), *fields]
        deflate = ClientPerMessageDeflateFactory() if compression else None
        if subprotocols:
            fields.append(("sec-websocket-protocol", ", ".join(subprotocols)))
        if deflate:
            fields.append(("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"))
        async with http2.Connection(address) as connection:
            call = await connection.begin("GET", path, fields, upgrade="websocket")
            answer = await call.head()
            if answer.status != 200:
                answer.body = await call.body()
                raise Refused(answer)
            assert not answer.names() & {"sec-websocket-accept", "upgrade", "connection"}
            yield cls(call, answer, deflate)

    async def _flush(self):
        for part in self.protocol.data_to_send():
            if part:
                await self.call.send(part)
            else:
                await self.call.end()

    async def send(self, message):
        """As `websockets`' own."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        await self._flush()

    async def ping(self, data):
        """Sends a ping; the pong is found by `pong`."""
        self.protocol.send_ping(data)
        await self._flush()

    async def frame(self):
        """The next frame, joined from its fragments."""
        while True:
            for frame in self.protocol.events_received():
                self._parts.append(frame)
            while self._parts:
                frame = self._parts.pop(0)
                if frame.opcode is Opcode.CONT:
                    self._message = type(frame)(self._message.opcode, self._message.data + frame.data, frame.fin)
                elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                    self._message = frame
                else:
                    return frame
                if self._message.fin:
                    return self._message
            part = await self.call.read()
            if part:
                self.protocol.receive_data(part)
            else:
                self.protocol.receive_eof()
            await self._flush()
            if not part:
                return None

    async def recv(self):
        """As `websockets`' own."""
        while (frame := await self.frame()).opcode not in (Opcode.TEXT, Opcode.BINARY):
            pass
        return bytes(frame.data).decode() if frame.opcode is Opcode.TEXT else bytes(frame.data)

    async def close(self, code, reason):
        """As `websockets`' own."""
        self.protocol.send_close(code, reason)
        await self._flush()
        await self.ended()

    async def ended(self):
        """Reads to the end of the connection, and ends it too."""
        while await self.frame():
            pass


class Refused(Exception):
    """The app answered the upgrade in another way."""


def parameters(extension):
    """What `websockets` wants to know of an extension that was chosen."""
    _, *rest = [part.strip() for part in extension.decode().split(";")]
    return [(name, value or None) for name, _, value in (part.partition("=") for part in rest)]
