"""HTTP/1.1 for both ends of a case: strict in what it reads, free in what it writes."""

import asyncio

from .message import OPEN, TOKEN, Answer, Broken, Head, has_no_body, raw, value_of


class Wire:
    """One connection, read strictly by RFC 9112: bare LF, folded lines and two framings are errors."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def head(self):
        """The next start line and its fields; None at a clean end."""
        try:
            block = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Broken(f"end inside a head: {error.partial[:200]!r}") from None
            return None
        except ConnectionError as error:
            raise Broken(str(error)) from None
        line, *rest = block[:-4].split(b"\r\n")
        return line, [self._field(item) for item in rest]

    @staticmethod
    def _field(item):
        name, colon, value = item.partition(b":")
        if not colon or not TOKEN.match(name) or any(byte in value for byte in b"\r\n\0"):
            raise Broken(f"{item!r} is no field")
        return name.decode().lower(), value.strip(b" \t")

    def write(self, line, fields):
        """Writes a head."""
        fields = b"".join(name.encode() + b": " + raw(value) + b"\r\n" for name, value in fields)
        self.writer.write(line + b"\r\n" + fields + b"\r\n")

    async def drain(self):
        """Waits until the other end has taken what was written."""
        try:
            await self.writer.drain()
        except ConnectionError as error:
            raise Broken(str(error)) from None


class Incoming:
    """A body as it comes. `framing` is a length, "chunked", "close" or "raw"."""

    def __init__(self, wire, framing):
        self.reader = wire.reader
        self.framing = framing
        self.left = framing if isinstance(framing, int) else 0
        self.done = framing == 0
        self.trailers = []
        self._wire = wire

    @classmethod
    def of(cls, wire, fields, unframed):
        """By the fields of its head; `unframed` where there are none."""
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value for name, value in fields if name == "transfer-encoding"]
        if codings:
            if lengths or [coding.lower() for coding in codings] != [b"chunked"]:
                raise Broken(f"framed twice, or by an unknown coding: {lengths} {codings}")
            return cls(wire, "chunked")
        if len(lengths) > 1 or (lengths and not lengths[0].isdigit()):
            raise Broken(f"content-length {lengths}")
        return cls(wire, int(lengths[0]) if lengths else unframed)

    async def read(self):
        """The next part, b"" at the end; `Broken` where the message is cut short."""
        try:
            return b"" if self.done else await self._read()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError) as error:
            raise Broken(f"body: {error}") from None

    async def _read(self):
        if self.framing == "chunked" and not self.left:
            size = await self._line()
            digits = size.partition(b";")[0]
            if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
                raise Broken(f"chunk size {size!r}")
            self.left = int(digits, 16)
            if not self.left:
                while line := await self._line():
                    self.trailers.append(self._wire._field(line))
                self.done = True
                return b""
        unbounded = self.framing in ("close", "raw")
        part = await self.reader.read(1 << 16 if unbounded else min(self.left, 1 << 16))
        if not part and not unbounded:
            raise Broken(f"{self.left} bytes are missing")
        if unbounded:
            self.done = not part
            return part
        self.left -= len(part)
        if self.framing == "chunked" and not self.left:
            if await self.reader.readexactly(2) != b"\r\n":
                raise Broken("no CRLF behind a chunk")
        self.done = self.framing != "chunked" and not self.left
        return part

    async def _line(self):
        line = (await self.reader.readuntil(b"\r\n"))[:-2]
        if b"\n" in line or b"\r" in line:
            raise Broken(f"{line!r} has a bare CR or LF")
        return line


class Side:
    """What both ends of an exchange do with its bodies. `incoming` is set by the head."""

    wire = incoming = None
    _chunked = False

    @property
    def trailers(self):
        """The trailers of what was read, once it was read to its end."""
        return self.incoming.trailers

    async def read(self):
        """The next part of the body, b"" at its end."""
        return await self.incoming.read()

    async def body(self):
        """What is left of the body."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    async def exactly(self, count):
        """So many bytes of the body; parts must not reach beyond them."""
        got = b""
        while len(got) < count:
            part = await self.read()
            if not part:
                raise Broken(f"ended after {got!r}")
            got += part
        return got

    async def send(self, part):
        """Writes a part of the body, as one chunk where it is chunked."""
        self.wire.writer.write(b"%x\r\n" % len(part) + part + b"\r\n" if self._chunked else part)
        await self.wire.drain()

    async def end(self, trailers=()):
        """Ends the body; an upgraded connection is half closed."""
        if self._chunked:
            self.wire.write(b"0", trailers)
            await self.wire.drain()
        elif self.incoming is not None and self.incoming.framing == "raw":
            self.wire.writer.write_eof()

    def abort(self):
        """Goes away, mid-message or not."""
        self.wire.writer.transport.abort()

    cancel = abort


class Call(Side):
    """A caller's side of one exchange."""

    def __init__(self, wire, method):
        self.wire = wire
        self.method = method
        self.answer = None
        self._informs = []

    async def inform(self):
        """The next informational response."""
        return await self._next()

    async def head(self):
        """The final head, informational ones before it in `informs`; 101 is final."""
        while self.answer is None:
            await self._next()
        return self.answer

    async def _next(self):
        if (got := await self.wire.head()) is None:
            raise Broken("no response")
        line, fields = got
        version, status, *_ = line.split(b" ", 2)
        if version != b"HTTP/1.1" or len(status) != 3 or not status.isdigit():
            raise Broken(f"status line {line!r}")
        status = int(status)
        if status < 200 and status != 101:
            self._informs.append(Answer(status, fields))
            return self._informs[-1]
        self.answer = Answer(status, fields, self._informs)
        if status == 101:
            self.incoming = Incoming(self.wire, "raw")
            self._chunked = False
        elif has_no_body(status, self.method):
            self.incoming = Incoming(self.wire, 0)
        else:
            self.incoming = Incoming.of(self.wire, fields, "close")
        return self.answer

    @property
    def switched(self):
        """True where an upgrade was accepted."""
        return self.answer.status == 101

    async def gone(self):
        """Returns once the other end has closed the connection."""
        while await self.wire.reader.read(1 << 16):
            pass


class Connection:
    """A caller's connection."""

    def __init__(self, address, tls=None):
        self.address, self.tls = address, tls

    async def __aenter__(self):
        host, port = self.address.rsplit(":", 1)
        self.wire = Wire(*await asyncio.open_connection(host, int(port), limit=1 << 20, ssl=self.tls))
        return self

    async def __aexit__(self, *_):
        self.wire.writer.transport.abort()

    async def begin(self, method, target, fields=(), body=None, authority=None, upgrade=None):
        """Writes a request; returns its `Call`."""
        call = Call(self.wire, method)
        fields = [("Host", authority or self.address), *fields]
        if upgrade:
            fields += [("Connection", "Upgrade"), ("Upgrade", upgrade)]
        elif body is OPEN:
            call._chunked = value_of(fields, "content-length") is None
            fields += [("Transfer-Encoding", "chunked")] if call._chunked else []
        elif body is not None:
            fields.append(("Content-Length", str(len(body))))
        self.wire.write(b"%s %s HTTP/1.1" % (method.encode(), raw(target)), fields)
        if body and body is not OPEN:
            self.wire.writer.write(body)
            # Who answers early need not have read it all.
        elif not body or upgrade:
            await self.wire.drain()
        return call


class Exchange(Side, Head):
    """An app's side of one exchange."""

    version = 1

    def __init__(self, wire, line, fields):
        Head.__init__(self, fields)
        self.wire = wire
        self.line = line
        method, target, version = line.split(b" ")
        if version != b"HTTP/1.1":
            raise Broken(f"request line {line!r}")
        self.method, self.target = method.decode("latin-1"), target.decode("latin-1")
        hosts = self.values("host")
        if len(hosts) != 1:
            raise Broken(f"host {hosts}")
        self.authority = hosts[0]
        tokens = [token.strip().lower() for value in self.values("connection") for token in value.split(b",")]
        self.upgrade = self.value("upgrade").decode() if b"upgrade" in tokens and self.value("upgrade") else None
        self.incoming = Incoming.of(wire, fields, 0)
        self.finished = False

    async def inform(self, status, fields=()):
        """Writes an informational response."""
        self.wire.write(b"HTTP/1.1 %d Inform" % status, fields)
        await self.wire.drain()

    async def start(self, status, fields=(), close=False):
        """Writes the head; chunked without content-length, to the end of the connection with `close`."""
        self._status = status
        bodiless = has_no_body(status, self.method)
        self._chunked = not bodiless and not close and value_of(fields, "content-length") is None
        self._close = close
        more = [("Transfer-Encoding", "chunked")] if self._chunked else [("Connection", "close")] if close else []
        self.wire.write(b"HTTP/1.1 %d Fine" % status, [*fields, *more])
        await self.wire.drain()

    async def end(self, trailers=()):
        """Ends the response."""
        await Side.end(self, trailers)
        self.finished = True

    async def answer(self, status=200, fields=(), body=b"", trailers=()):
        """A whole response, with content-length unless it has trailers."""
        bodiless = has_no_body(status, self.method)
        length = [] if bodiless or trailers else [("Content-Length", str(len(body)))]
        await self.start(status, [*fields, *length])
        if body and not bodiless:
            await self.send(body)
        await self.end(trailers)

    async def switch(self, fields=()):
        """Accepts an upgrade."""
        self.wire.write(b"HTTP/1.1 101 Switch", [("Connection", "Upgrade"), ("Upgrade", self.upgrade), *fields])
        self.incoming = Incoming(self.wire, "raw")
        self._status, self._close, self._chunked = 101, True, False
        await self.wire.drain()

    async def gone(self):
        """Returns once the caller has gone."""
        try:
            while await self.wire.reader.read(1 << 16):
                pass
        except ConnectionError:
            pass

    def leave(self):
        """What the caller still sends is the connection's to deal with."""

    @property
    def reusable(self):
        """True where the connection can take another request."""
        return self.finished and self.incoming.done and not self._close
