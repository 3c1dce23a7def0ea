"""Cases: what only HTTP/1.1 can say, written byte by byte."""

import asyncio

from . import http1
from .case import case
from .column import echo

WHY = "HTTP/2 has no such thing"


def pipelined(c, count):
    """Tokens and parts of so many echoes."""
    return [c.origin.play(echo) for _ in range(count)]


async def answers(wire, count):
    """So many whole answers off a connection."""
    for _ in range(count):
        call = http1.Call(wire, "GET")
        head = await call.head()
        yield head, await call.body()


@case(caller=1, because=WHY)
async def pipelined_requests(c):
    """Pipelined requests: written at once, answered in their order."""
    tokens = [token for token, _ in pipelined(c, 8)]
    raw = b"".join(
        b"%s /%d HTTP/1.1\r\nHost: a\r\nx-case: %s\r\nContent-Length: %d\r\n\r\n%s"
        % ((b"POST" if n % 2 else b"GET"), n, token.encode(), n * 5, b"%05d" % n * n)
        for n, token in enumerate(tokens)
    )
    async with c.connect() as connection:
        connection.wire.writer.write(raw)
        bodies = [body async for _, body in answers(connection.wire, 8)]
    assert bodies == [b"%05d" % n * n for n in range(8)]


@case(caller=1, because=WHY)
async def pipelined_behind_chunks(c):
    """Pipelined requests: behind a chunked body and its trailers."""
    (one, _), (two, _) = pipelined(c, 2)
    raw = (f"POST /1 HTTP/1.1\r\nHost: a\r\nx-case: {one}\r\nTransfer-Encoding: chunked\r\n\r\n"
           f"3\r\none\r\n0\r\nx-t: 1\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nx-case: {two}\r\nContent-Length: 3\r\n\r\ntwo")
    async with c.connect() as connection:
        connection.wire.writer.write(raw.encode())
        assert [body async for _, body in answers(connection.wire, 2)] == [b"one", b"two"]


@case(caller=1, because=WHY)
async def pipelined_behind_bodies(c):
    """Pipelined requests: behind bodies of many sizes, their own body later."""
    for size in (1_000, 9_000, 17_000, 25_000, 33_000, 41_000, 65_000, 100_000):
        (one, _), (two, _) = pipelined(c, 2)
        raw = (f"POST /1 HTTP/1.1\r\nHost: a\r\nx-case: {one}\r\nContent-Length: {size}\r\n\r\n{'x' * size}"
               f"POST /2 HTTP/1.1\r\nHost: a\r\nx-case: {two}\r\nContent-Length: 28\r\n\r\n")
        async with c.connect() as connection:
            connection.wire.writer.write(raw.encode())
            sent = answers(connection.wire, 2)
            assert (await anext(sent))[1] == b"x" * size
            # What would be a request, if the head before it were lost.
            connection.wire.writer.write(b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
            head, body = await anext(sent)
            assert body == b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n", (size, head.status, body)


@case(caller=1, because=WHY)
async def pipelined_slow_first(c):
    """Pipelined requests: the second's answer waits for the first's."""
    first = asyncio.Event()

    async def slow(exchange):
        await first.wait()
        await exchange.answer(200, [], b"slow")

    (one, _), (two, _) = c.origin.play(slow), c.origin.play(echo)
    async with c.connect() as connection:
        for token in (one, two):
            connection.wire.writer.write(f"GET / HTTP/1.1\r\nHost: a\r\nx-case: {token}\r\n\r\n".encode())
        await c.call("GET", "/meanwhile")
        first.set()
        assert [body async for _, body in answers(connection.wire, 2)] == [b"slow", b""]


async def exchange(c, raw, app=echo, method="GET"):
    """Writes bytes with `%s` for the case's token: `(answer, exchange, wire)`."""
    token, part = c.origin.play(app)
    async with c.connect() as connection:
        connection.wire.writer.write(raw % token.encode())
        call = http1.Call(connection.wire, method)
        answer = await call.head()
        answer.body = await call.body()
        return answer, await part.exchange, connection.wire


@case(caller=1, tunnel=True, because="the origin sees what was written; behind a gateway it gets origin-form")
async def absolute_form(c):
    """Absolute-form and asterisk-form targets: scheme and host are removed and nothing else."""
    for raw, target in ((b"http://app.example/a%2Fb//../x?y=%zz", "/a%2Fb//../x?y=%zz"), (b"http://app.example", "/"),
                        (b"http://app.example?q", "/?q"), (b"HTTP://app.example/x", "/x")):
        raw = b"GET " + raw.replace(b"%", b"%%") + b" HTTP/1.1\r\nHost: app.example\r\nx-case: %s\r\n\r\n"
        answer, seen, _ = await exchange(c, raw)
        assert (answer.status, seen.target, seen.authority) == (200, target, b"app.example")


@case(caller=1, tunnel=True, because="the origin sees what was written; behind a gateway it gets asterisk-form")
async def absolute_form_of_options(c):
    """Absolute-form and asterisk-form targets: OPTIONS of a host without a path is `*` (RFC 9112, 3.2.4)."""
    answer, seen, _ = await exchange(c, b"OPTIONS http://app.example HTTP/1.1\r\nHost: app.example\r\nx-case: %s\r\n\r\n")
    assert (answer.status, seen.method, seen.target) == (200, "OPTIONS", "*")


@case(caller=1, because=WHY)
async def odd_spacing(c):
    """White space around a value is none of it (RFC 9112, 5.1)."""
    raw = b"GET / HTTP/1.1\r\nhOsT:a\r\nX-CASE:   %s\t \r\nx-tight:v\r\nx-wide: \t v \t w \t \r\nx-none:\r\nx-blank:  \r\n\r\n"
    _, seen, _ = await exchange(c, raw)
    assert [seen.value(name) for name in ("x-tight", "x-wide", "x-none", "x-blank")] == [b"v", b"v \t w", b"", b""]


@case(caller=1, because=WHY)
async def chunks_of_every_shape(c):
    """Chunks: sizes in either case and with zeros in front, extensions, quoted ones too."""
    raw = (b"POST / HTTP/1.1\r\nHost: a\r\nx-case: %s\r\nTransfer-Encoding: Chunked\r\n\r\n"
           b"A\r\n0123456789\r\n000b;ext=1;other\r\n0123456789a\r\n1;q=\"a;b\"\r\nz\r\n00000\r\n\r\n")
    answer, _, _ = await exchange(c, raw)
    assert answer.body == b"01234567890123456789az"


@case(caller=1, because=WHY)
async def bytes_one_by_one(c):
    """A request may come byte by byte."""
    token, _ = c.origin.play(echo)
    raw = (f"POST /slow HTTP/1.1\r\nHost: a\r\nx-case: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
           "3\r\none\r\n0\r\nx: y\r\n\r\n").encode()
    async with c.connect() as connection:
        connection.wire.writer.get_extra_info("socket").setsockopt(6, 1, 1)
        for at in range(len(raw)):
            connection.wire.writer.write(raw[at:at + 1])
            await asyncio.sleep(0)
        assert [body async for _, body in answers(connection.wire, 1)] == [b"one"]


@case(caller=1, tunnel=True, because="the origin of these tests is strict")
async def empty_lines_before_a_request(c):
    """An empty line or two before a request are skipped (RFC 9112, 2.2)."""
    answer, _, _ = await exchange(c, b"\r\nGET / HTTP/1.1\r\nHost: a\r\nx-case: %s\r\n\r\n")
    assert answer.status == 200


@case(caller=1, tunnel=True, because="the origin of these tests is no HTTP/1.0 server")
async def asked_to_close(c):
    """A caller that says `Connection: close` gets its answer, and then the end."""
    answer, _, wire = await exchange(c, b"POST / HTTP/1.1\r\nHost: a\r\nx-case: %s\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
    assert (answer.body, answer.value("connection")) == (b"x", b"close")


@case(caller=1, tunnel=True, because="the origin of these tests is no HTTP/1.0 server")
async def http_1_0(c):
    """An HTTP/1.0 caller gets a body without a length up to the end of the connection, and no 1xx."""
    async def app(exchange):
        await exchange.inform(103)
        await exchange.start(200)
        await exchange.send(b"one")
        await exchange.send(b"two")
        await exchange.end([("x-t", "1")])

    token, _ = c.origin.play(app)
    async with c.connect() as connection:
        connection.wire.writer.write(f"GET / HTTP/1.0\r\nHost: a\r\nx-case: {token}\r\n\r\n".encode())
        head, _, body = (await connection.wire.reader.read()).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"200"
    assert b"transfer-encoding" not in head.lower()
    assert body == b"onetwo"


@case(caller=1, app=1, because=WHY)
async def reason_phrases_mean_nothing(c):
    """An app may leave the reason out, or say anything."""
    for reason in (b"", b"Any thing / at all", b"caf\xe9"):
        async def app(exchange):
            exchange.wire.writer.write(b"HTTP/1.1 200 " + reason + b"\r\nContent-Length: 2\r\n\r\nok")
            exchange._close, exchange.finished = False, True

        answer, _ = await c.call("GET", "/", app=app)
        assert (answer.status, answer.body) == (200, b"ok")
