"""Requests that two readers could read in two ways: rows 13 to 15, 17 and 30 of the threats.

Whatever comes, the app sees at most one request of it. Where the bytes are not plainly right, the
caller gets its 400 and the connection ends, so that nothing behind them is ever a request.
"""

import asyncio
import contextlib

import pytest
import pytest_asyncio

import binary
import raw
from binary import soon

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEXT = b"GET /smuggled-%(n)b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
GET = b"GET /%(n)b HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /%(n)b HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HOLD = 300
"""Milliseconds that a head may take here."""


def chunked_head(value):
    """A request with this Transfer-Encoding whose body is empty."""
    return POST + b"Transfer-Encoding:" + value + b"\r\n\r\n0\r\n\r\n"


def length_head(*values):
    """A request with these lengths and five bytes."""
    return POST + b"".join(b"Content-Length:" + value + b"\r\n" for value in values) + b"\r\nhello"


REFUSED = {
    # Both lengths, and codings that are not exactly one `chunked` (RFC 9112, 6.1 and 6.3).
    "length then coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding then length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "length and identity": POST + b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello",
    "length and coding on GET": GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding gzip": chunked_head(b" gzip"),
    "coding identity": chunked_head(b" identity"),
    "coding gzip, chunked": chunked_head(b" gzip, chunked"),
    "coding chunked, gzip": chunked_head(b" chunked, gzip"),
    "coding chunked twice": chunked_head(b" chunked, chunked"),
    "coding in two fields": chunked_head(b" chunked\r\nTransfer-Encoding: chunked"),
    "coding in two fields, one odd": chunked_head(b" chunked\r\nTransfer-Encoding: x"),
    "coding empty": chunked_head(b""),
    "coding with a comma": chunked_head(b" chunked,"),
    "coding with a parameter": chunked_head(b" chunked;q=1"),
    "coding quoted": chunked_head(b' "chunked"'),
    "coding xchunked": chunked_head(b" xchunked"),
    "coding chunke": chunked_head(b" chunke"),
    "coding behind a tab and VT": chunked_head(b"\x0bchunked"),
    "coding on HTTP/1.0": b"POST /%(n)b HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding named with a space": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "coding folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    # Lengths.
    "lengths that differ": length_head(b" 5", b" 6"),
    "lengths that differ in a list": length_head(b" 5, 6"),
    "length with a plus": length_head(b" +5"),
    "length with a minus": length_head(b" -5"),
    "length in hex": length_head(b" 0x5"),
    "length with a space in it": length_head(b" 1 1"),
    "length empty": length_head(b""),
    "length with a comma": length_head(b" 5,"),
    "length with a point": length_head(b" 5.0"),
    "length in words": length_head(b" five"),
    "length in other digits": length_head(" ٥".encode()),
    "length of 2^64": length_head(b" 18446744073709551616"),
    "length of thirty digits": length_head(b" " + b"9" * 30),
    # Lines.
    "bare LF behind the request line": b"GET /%(n)b HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF behind a field": GET + b"X-A: 1\nX-B: 2\r\n\r\n",
    "bare LF at the end": GET + b"X-A: 1\r\n\n",
    "bare LFs only": b"GET /%(n)b HTTP/1.1\nHost: a\n\n",
    "bare CR in a value": GET + b"X-A: 1\rX-B: 2\r\n\r\n",
    "bare CR in the request line": b"GET /%(n)b HTTP/1.1\rHost: a\r\n\r\n",
    "CR before CRLF": GET + b"X-A: 1\r\r\n\r\n",
    "folded by a space": GET + b"X-A: 1\r\n 2\r\n\r\n",
    "folded by a tab": GET + b"X-A: 1\r\n\t2\r\n\r\n",
    "folded first": b"GET /%(n)b HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
    "space before the colon": GET + b"X-A : 1\r\n\r\n",
    "tab before the colon": GET + b"X-A\t: 1\r\n\r\n",
    "space in a name": GET + b"X A: 1\r\n\r\n",
    "no name": GET + b": 1\r\n\r\n",
    "no colon": GET + b"X-A\r\n\r\n",
    "NUL in a value": GET + b"X-A: 1\x002\r\n\r\n",
    "NUL in a name": GET + b"X\x00A: 1\r\n\r\n",
    "control byte in a value": GET + b"X-A: 1\x012\r\n\r\n",
    "DEL in a value": GET + b"X-A: 1\x7f\r\n\r\n",
    "vertical tab in a value": GET + b"X-A: 1\x0b2\r\n\r\n",
    "name that is not ASCII": GET + b"X-\xc3\xa4: 1\r\n\r\n",
    "name with a bracket": GET + b"X(A): 1\r\n\r\n",
    "three empty lines first": b"\r\n\r\n\r\n" + GET + b"\r\n",
    "a bare LF first": b"\n" + GET + b"\r\n",
    "a bare CR first": b"\r" + GET + b"\r\n",
    "a space first": b" " + GET + b"\r\n",
    # Request lines.
    "two spaces before the target": b"GET  /%(n)b HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces before the version": b"GET /%(n)b  HTTP/1.1\r\nHost: a\r\n\r\n",
    "space behind the version": b"GET /%(n)b HTTP/1.1 \r\nHost: a\r\n\r\n",
    "tabs for spaces": b"GET\t/%(n)b\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /%(n)b x HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /%(n)b\r\n",
    "no version": b"GET /%(n)b\r\nHost: a\r\n\r\n",
    "version in lower case": b"GET /%(n)b http/1.1\r\nHost: a\r\n\r\n",
    "version of three digits": b"GET /%(n)b HTTP/1.10\r\nHost: a\r\n\r\n",
    "version without a point": b"GET /%(n)b HTTP/11\r\nHost: a\r\n\r\n",
    "no HTTP": b"GET /%(n)b HTTQ/1.1\r\nHost: a\r\n\r\n",
    "no method": b" /%(n)b HTTP/1.1\r\nHost: a\r\n\r\n",
    "method with a bracket": b"G(T /%(n)b HTTP/1.1\r\nHost: a\r\n\r\n",
    "method with NUL": b"G\x00T /%(n)b HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with NUL": b"GET /%(n)b\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with DEL": b"GET /%(n)b\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
}
UNSOUND = {
    # What is refused although it is plain where it ends: the connection may go on.
    "target without a slash": b"GET %(n)b HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with a fragment": b"GET /%(n)b#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk on GET": b"GET * HTTP/1.1\r\nHost: a\r\nX-A: %(n)b\r\n\r\n",
    # Hosts (RFC 9112, 3.2).
    "no host": b"GET /%(n)b HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "two equal hosts": GET + b"Host: a\r\n\r\n",
    "empty host": b"GET /%(n)b HTTP/1.1\r\nHost:\r\n\r\n",
    "host with a space": b"GET /%(n)b HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host with a path": b"GET /%(n)b HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with userinfo": b"GET /%(n)b HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "host in a list": b"GET /%(n)b HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "host with a port of letters": b"GET /%(n)b HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "authority unlike Host": b"GET http://b/%(n)b HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority with another port": b"GET http://a:81/%(n)b HTTP/1.1\r\nHost: a:82\r\n\r\n",
    "authority with userinfo": b"GET http://u@a/%(n)b HTTP/1.1\r\nHost: a\r\n\r\n",
}
OTHER = {
    "HTTP/1.2": (505, b"GET /%(n)b HTTP/1.2\r\nHost: a\r\n\r\n"),
    "HTTP/2.0": (505, b"GET /%(n)b HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/3.0": (505, b"GET /%(n)b HTTP/3.0\r\nHost: a\r\n\r\n"),
    "target larger than a head": (414, b"GET /%(n)b" + b"x" * (80 << 10) + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "field larger than a head": (431, GET + b"X-A: " + b"x" * (80 << 10) + b"\r\n\r\n"),
    "fields larger than a head": (431, GET + b"X-A: %%b\r\n".replace(b"%%b", b"x" * 1000) * 80 + b"\r\n"),
    "257 fields": (431, GET + b"X-A: 1\r\n" * 256 + b"\r\n"),
    "a name without an end": (431, GET + b"x" * (80 << 10)),
}
BROKEN = {
    # Bodies that stop making sense (RFC 9112, 7.1); the head may have reached the app.
    "size with a plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "size with a minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "size in 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size with an underscore": b"1_0\r\nabc\r\n0\r\n\r\n",
    "size behind a space": b" 3\r\nabc\r\n0\r\n\r\n",
    "size empty": b"\r\nabc\r\n0\r\n\r\n",
    "size empty but for an extension": b";a=b\r\nabc\r\n0\r\n\r\n",
    "size in letters": b"g\r\nabc\r\n0\r\n\r\n",
    "size of seventeen digits": b"00000000000000003\r\nabc\r\n0\r\n\r\n",
    "size of 2^64 and 3": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare LF behind the size": b"3\nabc\r\n0\r\n\r\n",
    "bare CR behind the size": b"3\rabc\r\n0\r\n\r\n",
    "CR CR LF behind the size": b"3\r\r\nabc\r\n0\r\n\r\n",
    "NUL behind the size": b"3\x00\r\nabc\r\n0\r\n\r\n",
    "bare LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "bare CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "no CRLF behind the data": b"3\r\nabc0\r\n\r\n",
    "bare LF behind the data": b"3\r\nabc\n0\r\n\r\n",
    "more data than the size": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare LF behind the last": b"3\r\nabc\r\n0\n\r\n",
    "bare LF at the end": b"3\r\nabc\r\n0\r\n\n",
    "trailer without a colon": b"0\r\nx-a\r\n\r\n",
    "trailer with a space before the colon": b"0\r\nx-a : 1\r\n\r\n",
    "trailer folded": b"0\r\nx-a: 1\r\n 2\r\n\r\n",
    "trailer with a bare LF": b"0\r\nx-a: 1\nx-b: 2\r\n\r\n",
    "trailer with a bare CR": b"0\r\nx-a: 1\rx-b: 2\r\n\r\n",
    "trailer with NUL": b"0\r\nx-a: \x00\r\n\r\n",
    "trailer without a name": b"0\r\n: 1\r\n\r\n",
}
TOO_MUCH = {
    "trailers of 100 KiB": b"0\r\n" + b"x-a: " + b"x" * (100 << 10) + b"\r\n\r\n",
    "an extension of 40 KiB": b"3;" + b"a" * (40 << 10) + b"\r\nabc\r\n0\r\n\r\n",
    "300 trailers": b"0\r\n" + b"x-a: 1\r\n" * 300 + b"\r\n",
}


@contextlib.asynccontextmanager
async def served(app, *more):
    """A gateway and a receiver of `app`: the public address."""
    async with binary.gateway(*more) as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", app.url) as receiver:
            await receiver.ready()
            yield public


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tunnel():
    """`(public address, app)`; callers' connections are soon closed."""
    async with raw.Recorder() as app:
        async with served(app, "--set", f"gateway.head_timeout={HOLD}ms", "--set", "gateway.keep_alive_timeout=1s") as public:
            yield public, app


def with_name(template):
    """`(name, bytes)` of a template, with a request behind it that nobody may see."""
    name = raw.number()
    return name, (template + NEXT).replace(b"%(n)b", name.encode())


async def settled(public):
    """Returns when what came before has had its effect: another request went all the way."""
    name = raw.number()
    await raw.talk(public, f"GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())


async def refused(tunnel, template, status):
    """One answer with `status`, the end of the connection, and nothing at the app."""
    public, app = tunnel
    name, data = with_name(template)
    (answer,) = raw.answers(await raw.talk(public, data))
    assert answer[0] == status
    raw.is_problem(*answer)
    await settled(public)
    assert not app.heads(name)


@pytest.mark.parametrize("label", REFUSED)
async def test_what_is_not_plainly_right_is_400(tunnel, label):
    await refused(tunnel, REFUSED[label], 400)


@pytest.mark.parametrize("label", UNSOUND)
async def test_what_cannot_be_meant_is_400(tunnel, label):
    public, app = tunnel
    name, data = with_name(UNSOUND[label])
    first, *more = raw.answers(await raw.talk(public, data))
    assert first[0] == 400
    raw.is_problem(*first, closes=not more)
    assert [answer[0] for answer in more] in ([], [200])
    await settled(public)
    assert all(head.startswith(b"GET /smuggled-") for head, *_ in app.requests if name.encode() in head)


async def test_a_target_of_16_kib_and_one_is_414(tunnel):
    public, app = tunnel
    name = raw.number()
    data = f"GET /{name}{'x' * (16 << 10)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    (answer,) = raw.answers(await raw.talk(public, data))
    assert answer[0] == 414
    raw.is_problem(*answer)
    assert not app.heads(name)


@pytest.mark.parametrize("label", OTHER)
async def test_limits_and_versions(tunnel, label):
    status, template = OTHER[label]
    await refused(tunnel, template, status)


@pytest.mark.parametrize("label", [*BROKEN, *TOO_MUCH])
async def test_a_broken_body_is_never_whole(tunnel, label):
    public, app = tunnel
    name, data = with_name(CHUNKED + (BROKEN | TOO_MUCH)[label])
    (answer,) = raw.answers(await raw.talk(public, data))
    assert answer[0] in ((400,) if label in BROKEN else (400, 431))
    raw.is_problem(*answer)
    await settled(public)
    assert not app.whole(name)
    assert not app.heads("smuggled-" + name)


ANEW = {
    # What has one meaning is written anew: lengths the app sees, and the body.
    "coding in capitals": (CHUNKED.replace(b"chunked", b"CHUNKED") + b"5\r\nhello\r\n0\r\n\r\n", None),
    "coding in white space": (CHUNKED.replace(b" chunked", b" \t chunked \t") + b"5\r\nhello\r\n0\r\n\r\n", None),
    "sizes of every shape": (CHUNKED + b"0002;x=y\r\nhe\r\n3;z\r\nllo\r\n000\r\n\r\n", None),
    "equal lengths": (length_head(b" 5", b" 5"), 5),
    "zeros in front": (length_head(b" 0005"), 5),
    "two empty lines first": (b"\r\n\r\n" + length_head(b" 5"), 5),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Ok: 1\r\n\r\n", None),
}


@pytest.mark.parametrize("label", ANEW)
async def test_what_has_one_meaning_is_framed_anew(tunnel, label):
    public, app = tunnel
    template, length = ANEW[label]
    name, data = with_name(template)
    data = data.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n", 1)
    (answer,) = raw.answers(await raw.talk(public, data))
    assert (answer[0], answer[2]) == (200, b"ok")
    ((head, body, _),) = app.whole(name)
    assert body == b"hello"
    if length is None:
        assert raw.values(head, b"transfer-encoding") == [b"chunked"] and not raw.values(head, b"content-length")
    else:
        assert [int(value) for value in raw.values(head, b"content-length")] == [length]
        assert not raw.values(head, b"transfer-encoding")
    await settled(public)
    assert not app.heads("smuggled-" + name)


@pytest.mark.parametrize("trailer", ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil", "Connection: x",
                                     "X-Forwarded-For: 6.6.6.6", "Authorization: x", "TE: trailers", "Trailer: x"])
async def test_trailers_frame_and_route_nothing(tunnel, trailer):
    public, app = tunnel
    name, data = with_name(CHUNKED + b"5\r\nhello\r\n0\r\n" + trailer.encode() + b"\r\n\r\n")
    data = data.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n", 1)
    (answer,) = raw.answers(await raw.talk(public, data))
    assert answer[0] in (200, 400)
    await settled(public)
    for head, body, trailers in app.whole(name):
        assert (raw.values(head, b"host"), body) == ([b"a"], b"hello")
        assert not raw.values(head, b"content-length")
        assert raw.values(head, b"x-forwarded-for") == [b"127.0.0.1"]
        if not trailer.startswith("Authorization"):
            assert trailers == b"\r\n"


# Row 14.


@pytest.mark.parametrize("head", [
    POST + b"Content-Length: %d\r\n\r\n",
    POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n",
    POST + b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n",
], ids=["length", "expect", "keep-alive"])
@pytest.mark.parametrize("how", ["the app refuses", "nobody serves"])
async def test_a_body_nobody_read_is_never_a_request(head, how):
    early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
    async with Early(early) as app, binary.gateway("--set", "gateway.keep_alive_timeout=1s", "--set", "gateway.queue_timeout=1ms") as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with contextlib.AsyncExitStack() as stack:
            if how == "the app refuses":
                await (await stack.enter_async_context(binary.receiver(f"ws://{inner}", app.url))).ready()
            name = raw.number().encode()
            body = NEXT.replace(b"%(n)b", name) * 3 + b"x" * 100_000
            head = head.replace(b"%(n)b", name).replace(b"%d", b"%d" % len(body))
            reader, writer = await raw.connect(public)
            writer.write(head)
            first = await soon(reader.readuntil(b"\r\n\r\n"))
            with contextlib.suppress(ConnectionError):
                writer.write(body)
                await writer.drain()
            (answer,) = raw.answers(first + await soon(raw.read_to_end(reader)))
            assert answer[0] == (413 if how == "the app refuses" else 503)
            assert not any(b"smuggled" in bytes(conn).partition(b"\r\n\r\n")[0] for conn in app.connections)
            writer.transport.abort()


class Early(raw.Recorder):
    """Answers a head at once, whatever body it announces."""

    def __init__(self, answer):
        super().__init__()
        self.early = answer

    async def _serve(self, reader, writer):
        seen = bytearray()
        self.connections.append(seen)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                before = b"\r\n\r\n" in seen
                seen += data
                if not before and b"\r\n\r\n" in seen:
                    writer.write(self.early)
        writer.transport.abort()


# Row 15.

UPGRADE = (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
RAW = b"\x82\x05\x00raw\x01bytes"


@pytest.mark.parametrize("status", [200, 403, 426])
async def test_bytes_behind_a_refused_upgrade_are_not_the_apps(status):
    answer = b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status
    async with raw.Recorder(lambda _: answer) as app, served(app) as public:
        name = raw.number().encode()
        got = raw.answers(await raw.talk(public, UPGRADE.replace(b"%(n)b", name) + RAW))
        assert [answer[0] for answer in got] == [status]
        assert raw.values(got[0][1], b"connection") == [b"close"]
        await settled(public)
        assert not any(b"raw" in bytes(conn) for conn in app.connections)


async def test_bytes_behind_an_upgrade_wait_for_its_101():
    go, first = asyncio.Event(), asyncio.get_running_loop().create_future()

    class Switching(raw.Recorder):
        async def _serve(self, reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"upgrade" not in head.lower():
                writer.write(self.answer(b"/"))
                return
            first.set_result(None)
            await go.wait()
            self.connections.append(bytearray(reader._buffer))
            writer.write(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                         b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            self.raw = await reader.readexactly(len(RAW))
            writer.write(b"bye")
            writer.close()

    async with Switching() as app, served(app) as public:
        reader, writer = await raw.connect(public)
        writer.write(UPGRADE.replace(b"%(n)b", b"up") + RAW)
        await soon(first)
        await settled(public)
        go.set()
        head = await soon(reader.readuntil(b"\r\n\r\n"))
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await soon(raw.read_to_end(reader)) == b"bye"
        assert (app.connections, app.raw) == ([bytearray()], RAW)
        writer.transport.abort()


async def test_an_upgrade_with_a_body_is_400_or_none(tunnel):
    public, app = tunnel
    name, data = with_name(UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"hello")
    got = raw.answers(await raw.talk(public, data.replace(b"smuggled HTTP", b"smuggled\0HTTP")))
    assert got[0][0] in (200, 400)
    assert all(b"upgrade:" not in head.lower() and body == b"hello" for head, body, _ in app.whole("/" + name))


# Row 17.


@pytest.mark.parametrize("named", ["content-length", "transfer-encoding", "host", "x-forwarded-for", "x-request-id"])
async def test_connection_names_no_field_that_matters(tunnel, named):
    public, app = tunnel
    name, data = with_name(length_head(b" 5"))
    data = data.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close, %b\r\n" % named.encode(), 1)
    (answer,) = raw.answers(await raw.talk(public, data))
    assert answer[0] in (200, 400)
    await settled(public)
    for head, body, _ in app.whole(name):
        assert (raw.values(head, b"host"), body) == ([b"a"], b"hello")
        assert len(raw.values(head, b"content-length") + raw.values(head, b"transfer-encoding")) == 1
        assert raw.values(head, b"x-forwarded-for") == [b"127.0.0.1"]
        assert len(raw.values(head, b"x-request-id")) == 1
    assert answer[0] == 400 or app.whole(name)


# Row 30.

SLOW = {
    "silence": b"", "a lone prefix of HTTP/2": b"PRI * HT", "all but the end of the preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
    "the preface and no more": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "half a request line": b"GET /x", "half a head": b"GET /x HTTP/1.1\r\nHost: a\r\n",
    "empty lines": b"\r\n",
}


@pytest.mark.parametrize("label", SLOW)
async def test_who_does_not_finish_a_head_is_closed(tunnel, label):
    public, _ = tunnel
    got = await raw.talk(public, SLOW[label])
    assert not got.startswith(b"HTTP/1.1 2")


@pytest.mark.parametrize("first", [b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ids=["HTTP/1.1", "HTTP/2"])
async def test_who_drips_a_head_is_closed(tunnel, first):
    public, _ = tunnel
    reader, writer = await raw.connect(public)
    writer.write(first)
    closed = asyncio.ensure_future(raw.read_to_end(reader))

    async def drip():
        # A SETTINGS frame of 16 KiB and a field without an end begin alike: with these bytes.
        for byte in b"\x00\x3f\xff\x04" + b"\x00" * 5000 if first.startswith(b"PRI") else b"x" * 5000:
            writer.write(bytes([byte]))
            if (await asyncio.wait([closed], timeout=HOLD / 10_000))[0]:
                return
        raise AssertionError("still open")

    await soon(drip())
    assert not (await closed).startswith(b"HTTP/1.1 2")
    writer.transport.abort()
