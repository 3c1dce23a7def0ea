"""Answers that are no answers: row 16 of the threats. The caller gets 502, or a broken message.

Once from an app behind our receiver, once from a receiver that is not ours.
"""

import asyncio
import contextlib

import pytest
import pytest_asyncio

import binary
import raw
from binary import soon
from peers import version2
from peers.version2 import DATA, END_STREAM, INFORMATIONAL, RESPONSE, TRAILERS, encode

pytestmark = pytest.mark.asyncio(loop_scope="module")
OK = b"HTTP/1.1 200 OK\r\n"
APPS = {
    "status 0": b"HTTP/1.1 0 X\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 X\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "status 101 unasked": b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    "status 99999": b"HTTP/1.1 99999 X\r\nContent-Length: 0\r\n\r\n",
    "status +200": b"HTTP/1.1 +200 X\r\nContent-Length: 0\r\n\r\n",
    "status 2x0": b"HTTP/1.1 2x0 X\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": OK + b"X-A: a\rX-Injected: 1\r\nContent-Length: 0\r\n\r\n",
    "control byte in a value": OK + b"X-A: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "space in a name": OK + b"X A: 1\r\nContent-Length: 0\r\n\r\n",
    "no name": OK + b": 1\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"X-Injected\r\nContent-Length: 0\r\n\r\n",
    "folded": OK + b"X-A: 1\r\n X-Injected: 2\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "length with a plus": OK + b"Content-Length: +2\r\n\r\nok",
    "length in hex": OK + b"Content-Length: 0x2\r\n\r\nok",
    "length of 2^64": OK + b"Content-Length: 18446744073709551616\r\n\r\nok",
    "coding gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "coding chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
}
TOO_LARGE = {
    "head of 300 KiB": OK + b"X-A: " + b"a" * (300 << 10) + b"\r\n\r\n",
    "300 fields": OK + b"X-A: a\r\n" * 300 + b"Content-Length: 0\r\n\r\n",
}
CUT = {
    "length too long": OK + b"Content-Length: 100\r\n\r\nbody",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
    "chunk too long": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbodybody\r\n0\r\n\r\n",
    "chunk size that is none": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nx\r\n\r\n",
    "trailer that is none": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx y\r\n\r\n",
}
PLAIN = {
    # What follows a whole answer is nobody's.
    "more than the length": (OK + b"Content-Length: 4\r\n\r\nbodyHTTP/1.1 200 Injected\r\nX-Injected: 1\r\n\r\n", 200, b"body"),
    "body of 204": (b"HTTP/1.1 204 No\r\nX-A: 1\r\n\r\nHTTP/1.1 200 Injected\r\nX-Injected: 1\r\n\r\n", 204, b""),
    "both lengths": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 200, b"body"),
    "equal lengths": (OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody", 200, b"body"),
    "extensions": (OK + b"Transfer-Encoding: chunked\r\n\r\n4;a=\"b\"\r\nbody\r\n0;x\r\n\r\n", 200, b"body"),
}


class App(raw.Recorder):
    """Answers the first request of each connection with the bytes that `said` has for its target."""

    said = {}

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                data = await reader.readuntil(b"\r\n\r\n")
                name = data.split(b" ")[1].decode().strip("/")
                writer.write(self.said.get(name, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"))
                await writer.drain()
                if name in self.said:
                    writer.write_eof()
                    await reader.read()
                    break
        writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind():
    """`(public address, app)`."""
    async with App() as app, binary.gateway() as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with binary.receiver(f"ws://{inner}", app.url) as receiver:
            await receiver.ready()
            yield public, app


def get(name):
    """A request whose connection ends with its answer."""
    return f"GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()


def not_raw(data):
    """Checks that nothing went out as it was said: no bare CR or LF, no NUL, no field in a field."""
    head = data.partition(b"\r\n\r\n")[0]
    assert b"\0" not in head and b"injected" not in data.lower()
    assert not head.replace(b"\r\n", b"").strip(bytes(range(32, 256)) + b"\t")


async def whole_next(public):
    """The app's next answer is whole: nothing of the one before is in it."""
    (answer,) = raw.answers(await raw.talk(public, get(raw.number())))
    assert (answer[0], answer[2]) == (200, b"next")


@pytest.mark.parametrize("label", [*APPS, *TOO_LARGE])
async def test_what_is_no_answer_is_502(behind, label):
    public, app = behind
    name = raw.number()
    app.said[name] = (APPS | TOO_LARGE)[label]
    data = await raw.talk(public, get(name))
    not_raw(data)
    (answer,) = raw.answers(data)
    # What exceeds the protocol's limits is TOO_LARGE, which is 413 (protocol.md, 3.8).
    assert answer[0] == (502 if label in APPS else 413)
    raw.is_problem(*answer)
    await whole_next(public)


def is_cut(data):
    """Checks that an answer began and is not whole."""
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    if lengths := raw.values(head, b"content-length"):
        assert len(body) < int(lengths[0])
    else:
        assert raw.values(head, b"transfer-encoding") == [b"chunked"]
        assert not body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("label", CUT)
async def test_an_answer_that_breaks_is_never_whole(behind, label):
    public, app = behind
    name = raw.number()
    app.said[name] = CUT[label]
    data = await raw.talk(public, get(name))
    if not data.startswith(b"HTTP/1.1 502 "):
        is_cut(data)
    await whole_next(public)


@pytest.mark.parametrize("label", PLAIN)
async def test_what_follows_an_answer_is_nobodys(behind, label):
    public, app = behind
    name = raw.number()
    app.said[name], status, body = PLAIN[label]
    data = await raw.talk(public, get(name))
    not_raw(data)
    (answer,) = raw.answers(data)
    assert (answer[0], answer[2]) == (status, body)
    await whole_next(public)


FRAMES = {
    "CR LF in a value": [(b"x-a", b"1\r\nx-injected: 1")], "LF in a value": [(b"x-a", b"1\nx-injected: 1")],
    "CR in a value": [(b"x-a", b"1\rx-injected: 1")], "NUL in a value": [(b"x-a", b"1\0")],
    "DEL in a value": [(b"x-a", b"1\x7f")], "CR LF in a name": [(b"x-a: 1\r\nx-injected", b"1")],
    "colon in a name": [(b"x-a:", b"1")], "space in a name": [(b"x a", b"1")], "no name": [(b"", b"1")],
    "name in capitals": [(b"X-A", b"1")], "a pseudo-header": [(b":status", b"200")], "host": [(b"host", b"evil")],
    "transfer-encoding": [(b"transfer-encoding", b"chunked")], "connection": [(b"connection", b"close")],
    "upgrade": [(b"upgrade", b"websocket")], "keep-alive": [(b"keep-alive", b"timeout=5")],
    "two lengths": [(b"content-length", b"4"), (b"content-length", b"5")], "length with a plus": [(b"content-length", b"+4")],
    "length empty": [(b"content-length", b"")],
}
STATUSES = [0, 99, 100, 101, 103, 199, 600, 999, 65535]


@contextlib.asynccontextmanager
async def scripted(answer):
    """The public address of a gateway whose receiver sends what `answer` gives."""
    async with binary.gateway("--set", "gateway.response_timeout=5s") as gateway:
        public, inner = await gateway.address("public"), await gateway.address("tunnel")
        async with version2.Receiver(f"ws://{inner}", answer) as receiver:
            yield public, receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def script():
    """`(public address, frames by name of the request)`."""
    said = {}

    def answer(request):
        name = request.tags[version2.TARGET].decode().strip("/")
        fine = [encode(RESPONSE, request.stream, END_STREAM, status=200, headers=[(b"x-next", b"1")])]
        return said[name](request.stream) if name in said else fine

    async with scripted(answer) as (public, _):
        yield public, said


async def refused(script, frames):
    """The caller gets 502, and the tunnel goes on."""
    public, said = script
    name = raw.number()
    said[name] = frames
    data = await raw.talk(public, get(name))
    not_raw(data)
    (answer,) = raw.answers(data)
    assert answer[0] == 502
    raw.is_problem(*answer)
    (answer,) = raw.answers(await raw.talk(public, get(raw.number())))
    assert (answer[0], raw.values(answer[1], b"x-next")) == (200, [b"1"])


@pytest.mark.parametrize("label", FRAMES)
async def test_a_receivers_fields_are_checked(script, label):
    await refused(script, lambda stream: [encode(RESPONSE, stream, status=200, headers=FRAMES[label], body=b"body"),
                                          encode(DATA, stream, END_STREAM)])


@pytest.mark.parametrize("status", STATUSES)
async def test_a_receivers_status_is_checked(script, status):
    await refused(script, lambda stream: [encode(RESPONSE, stream, END_STREAM, status=status, headers=[])])


@pytest.mark.parametrize("status", [0, 99, 101, 200, 600])
async def test_a_receivers_informational_status_is_checked(script, status):
    await refused(script, lambda stream: [encode(RESPONSE, stream, INFORMATIONAL, status=status, headers=[])])


async def test_a_receivers_informational_fields_are_checked(script):
    bad = [(b"link", b"1\r\nx-injected: 1")]
    await refused(script, lambda stream: [encode(RESPONSE, stream, INFORMATIONAL, status=103, headers=bad)])


LIES = {
    "less than the length": lambda stream: [
        encode(RESPONSE, stream, status=200, headers=[(b"content-length", b"100")], body=b"body"), encode(DATA, stream, END_STREAM)],
    "more than the length": lambda stream: [
        encode(RESPONSE, stream, status=200, headers=[(b"content-length", b"8")], body=b"body"),
        encode(DATA, stream, END_STREAM, body=b"HTTP/1.1 200 Injected\r\n\r\n")],
    "trailers with CR LF": lambda stream: [
        encode(RESPONSE, stream, status=200, headers=[], body=b"body"),
        encode(TRAILERS, stream, END_STREAM, headers=[(b"x-a", b"1\r\nx-injected: 1")])],
    "trailers with a length": lambda stream: [
        encode(RESPONSE, stream, status=200, headers=[], body=b"body"),
        encode(TRAILERS, stream, END_STREAM, headers=[(b"transfer-encoding", b"chunked")])],
}


@pytest.mark.parametrize("label", LIES)
async def test_a_receivers_lies_break_the_message(script, label):
    public, said = script
    name = raw.number()
    said[name] = LIES[label]
    data = await raw.talk(public, get(name))
    assert b"injected" not in data.lower()
    if not data.startswith(b"HTTP/1.1 502 "):
        is_cut(data)
    (answer,) = raw.answers(await raw.talk(public, get(raw.number())))
    assert answer[0] == 200


async def test_a_length_on_no_body_is_no_lie(script):
    public, said = script
    for method, status in (("HEAD", 200), ("GET", 304)):
        name = raw.number()
        said[name] = lambda stream, status=status: [
            encode(RESPONSE, stream, END_STREAM, status=status, headers=[(b"content-length", b"1234")])]
        data = await soon(raw.talk(public, get(name).replace(b"GET", method.encode())))
        (answer,) = raw.answers(data, [method] if method == "HEAD" else ["HEAD"])
        assert (answer[0], raw.values(answer[1], b"content-length")) == (status, [b"1234"])
