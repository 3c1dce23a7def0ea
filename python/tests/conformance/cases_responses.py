"""Cases: the head of a response, informational ones before it, and answers that come early."""

import asyncio

from .case import case
from .message import OPEN, Broken

STATUSES = [200, 201, 202, 203, 206, 207, 208, 226, 299, 300, 301, 302, 303, 305, 307, 308, 399, 400, 401, 402, 403,
            404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426,
            428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 598, 599]
OURS = {"date", "content-length", "transfer-encoding", "connection", "keep-alive"}


def answering(*args, **more):
    """An app that reads the request and answers so."""
    async def app(exchange):
        await exchange.body()
        await exchange.answer(*args, **more)

    return app


@case()
async def statuses(c):
    """Statuses from 200 to 599 arrive, known or not."""
    async with c.connect() as connection:
        for status in STATUSES:
            answer, _ = await c.call("GET", "/", app=answering(status, [], b"%d" % status), connection=connection)
            assert (answer.status, answer.body) == (status, b"%d" % status)


@case()
async def head_keeps_its_length(c):
    """HEAD: the length of what GET would give, and no body."""
    answer, seen = await c.call("HEAD", "/", app=answering(200, [("content-length", "1234"), ("etag", '"e"')]))
    assert (seen.method, answer.value("content-length"), answer.value("etag")) == ("HEAD", b"1234", b'"e"')
    assert answer.body == b""


@case()
async def head_without_a_length(c):
    """HEAD: without a length there is none."""
    answer, _ = await c.call("HEAD", "/", app=answering(200, [("x-a", "1")]))
    assert (answer.value("content-length"), answer.value("x-a"), answer.body) == (None, b"1", b"")


@case()
async def head_then_get(c):
    """HEAD: the next answer on the connection is in its place."""
    async with c.connect() as connection:
        await c.call("HEAD", "/", app=answering(200, [("content-length", "4")]), connection=connection)
        answer, _ = await c.call("GET", "/", app=answering(200, [], b"next"), connection=connection)
        assert answer.body == b"next"


@case()
async def no_content(c):
    """204 has no body and no length."""
    answer, _ = await c.call("DELETE", "/", app=answering(204, [("x-a", "1")]))
    assert (answer.status, answer.value("x-a"), answer.body) == (204, b"1", b"")
    assert not answer.names() & {"content-length", "transfer-encoding"}


@case()
async def not_modified(c):
    """304 without a length."""
    answer, _ = await c.call("GET", "/", app=answering(304, [("etag", '"e"')]))
    assert (answer.status, answer.value("etag"), answer.body) == (304, b'"e"', b"")


@case()
async def not_modified_keeps_its_length(c):
    """304 with the length of what 200 would give."""
    answer, _ = await c.call("GET", "/", app=answering(304, [("etag", '"e"'), ("content-length", "1234")]))
    assert (answer.status, answer.value("content-length"), answer.body) == (304, b"1234", b"")


@case()
async def not_modified_then_get(c):
    """204 and 304: the next answer on the connection is in its place."""
    async with c.connect() as connection:
        for status in (304, 204):
            await c.call("GET", "/", app=answering(status), connection=connection)
            answer, _ = await c.call("GET", "/", app=answering(200, [], b"next"), connection=connection)
            assert answer.body == b"next"


@case()
async def reset_content(c):
    """205 and its empty body."""
    answer, _ = await c.call("POST", "/", app=answering(205))
    assert (answer.status, answer.body) == (205, b"")


@case()
async def set_cookie_thrice(c):
    """Repeated headers: `set-cookie` is never joined."""
    cookies = ["a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2", "a=3"]
    answer, _ = await c.call("GET", "/", app=answering(200, [("set-cookie", value) for value in cookies]))
    assert answer.values("set-cookie") == [value.encode() for value in cookies]


@case()
async def repeated_response_fields(c):
    """Repeated and ordered headers, of a response."""
    fields = [("vary", "a"), ("link", "<1>"), ("vary", "b, c"), ("link", "<2>"), ("www-authenticate", "X a, Y"),
              ("www-authenticate", "Z"), ("x-empty", "")]
    answer, _ = await c.call("GET", "/", app=answering(200, fields))
    for name in ("vary", "link", "www-authenticate", "x-empty"):
        assert answer.values(name) == [value.encode() for key, value in fields if key == name]


@case()
async def response_bytes(c):
    """Non-UTF-8 values, of a response."""
    value = bytes(b for b in range(0x21, 0x100) if b != 0x7F) + b" \t" + b"\xff"
    answer, _ = await c.call("GET", "/", app=answering(200, [("x-bytes", value)]))
    assert answer.value("x-bytes") == value


@case()
async def sixty_kib_of_response_headers(c):
    """64 KiB of headers, of a response."""
    fields = [(f"x-{n}", b"%02d" % n + b"v" * 4000) for n in range(15)]
    answer, _ = await c.call("GET", "/", app=answering(200, fields))
    assert [field for field in answer.fields if field[0] in dict(fields)] == fields


@case()
async def many_response_fields(c):
    """256 fields, of a response."""
    fields = [(f"x-{n}", b"%d" % n) for n in range(250)]
    answer, _ = await c.call("GET", "/", app=answering(200, fields))
    assert [field for field in answer.fields if field[0] in dict(fields)] == fields


@case()
async def nothing_is_added_to_answers(c):
    """The caller gets the app's fields, and none that name the tunnel."""
    answer, _ = await c.call("GET", "/", app=answering(200, [("x-mine", "1")], b"body"))
    assert answer.names() - {"x-mine"} <= OURS


@case()
async def ordinary_response_fields_are_kept(c):
    """What apps answer: their date and server, types, ranges, redirects."""
    fields = [("date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("server", "mine/1.0"), ("via", "1.0 x"), ("age", "3"),
              ("content-type", "text/plain; charset=latin-1"), ("content-range", "bytes 0-3/100"), ("alt-svc", 'h3=":1"'),
              ("location", "http://127.0.0.1:1/a b"), ("retry-after", "1"), ("cache-control", "no-store"), ("etag", 'W/"x"')]
    answer, _ = await c.call("GET", "/", app=answering(206, fields, b"part"))
    for name, value in fields:
        assert answer.values(name) == [value.encode()], name


@case(app=1, tunnel=True, because="HTTP/2 has no such fields, and a plain origin no second side")
async def hop_by_hop_of_answers_ends_here(c):
    """Hop-by-hop fields are stripped, of a response."""
    fields = [("Connection", "x-hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close"), ("x-b", "2")]
    answer, _ = await c.call("GET", "/", app=answering(200, fields, b"body"))
    assert (answer.value("x-b"), answer.body) == (b"2", b"body")
    assert not answer.names() & {"x-hop", "keep-alive", "proxy-connection"}


@case()
async def continue_accepted(c):
    """1xx (100-continue end to end): the caller is asked when the app asks, and not before."""
    asked = False

    async def app(exchange):
        nonlocal asked
        assert exchange.value("expect").lower() == b"100-continue"
        # Whoever asks in the app's place has done so by the end of another exchange.
        await c.call("GET", "/meanwhile")
        asked = True
        await exchange.inform(100)
        await exchange.answer(200, [], await exchange.body())

    async with c.begin(app, "POST", "/", [("expect", "100-continue"), ("content-length", "5")], OPEN) as call:
        assert (await call.inform()).status == 100
        assert asked
        await call.send(b"hello")
        await call.end()
        answer = await call.head()
        assert (answer.status, [inform.status for inform in answer.informs]) == (200, [100])
        assert await call.body() == b"hello"


@case(each=[417, 413, 401])
async def continue_refused(c, status):
    """1xx (100-continue end to end): refused, and no byte of the body is asked for."""
    async def app(exchange):
        await exchange.answer(status, [("x-why", "no")], b"refused")

    async with c.begin(app, "POST", "/", [("expect", "100-continue"), ("content-length", "5")], OPEN) as call:
        answer = await call.head()
        assert (answer.status, answer.informs, await call.body()) == (status, [], b"refused")


@case()
async def continue_without_a_length(c):
    """1xx (100-continue end to end), of a body without a length."""
    async def app(exchange):
        await exchange.inform(100)
        await exchange.answer(200, [], await exchange.body())

    async with c.begin(app, "PUT", "/", [("expect", "100-continue")], OPEN) as call:
        assert (await call.inform()).status == 100
        await call.send(b"one")
        await call.send(b"two")
        await call.end()
        await call.head()
        assert await call.body() == b"onetwo"


@case()
async def early_hints(c):
    """1xx: 103 and its links, at once and before the answer."""
    seen = asyncio.Event()

    async def app(exchange):
        await exchange.inform(103, [("link", "</a.css>; rel=preload"), ("link", "</b.js>"), ("x-early", "1")])
        await seen.wait()
        await exchange.answer(200, [("link", "</c>")], b"page")

    async with c.begin(app, "GET", "/") as call:
        hints = await call.inform()
        assert (hints.status, hints.value("x-early")) == (103, b"1")
        assert hints.values("link") == [b"</a.css>; rel=preload", b"</b.js>"]
        seen.set()
        answer = await call.head()
        assert (answer.status, answer.values("link"), await call.body()) == (200, [b"</c>"], b"page")


@case()
async def several_informs(c):
    """1xx: several, known or not, in their order."""
    async def app(exchange):
        for status in (102, 103, 103, 199):
            await exchange.inform(status, [("x-n", str(status))])
        await exchange.answer(200)

    answer, _ = await c.call("GET", "/", app=app)
    assert [(inform.status, inform.value("x-n")) for inform in answer.informs] == [
        (102, b"102"), (103, b"103"), (103, b"103"), (199, b"199")]


@case()
async def hints_during_an_upload(c):
    """1xx: while the body is under way, after the app asked for it."""
    async def app(exchange):
        await exchange.inform(100)
        assert await exchange.exactly(3) == b"one"
        await exchange.inform(103, [("x-got", "one")])
        await exchange.answer(200, [], await exchange.body())

    async with c.begin(app, "POST", "/", [("expect", "100-continue")], OPEN) as call:
        assert (await call.inform()).status == 100
        await call.send(b"one")
        assert (await call.inform()).value("x-got") == b"one"
        await call.send(b"two")
        await call.end()
        assert [inform.status for inform in (await call.head()).informs] == [100, 103]
        assert await call.body() == b"two"


@case()
async def early_answer(c):
    """Early responses while the upload goes on: it goes on to the end."""
    async def app(exchange):
        await exchange.start(200, [("x-early", "1")])
        await exchange.send(b"head")
        rest = await exchange.body()
        await exchange.send(b"%d" % len(rest))
        await exchange.end()

    async with c.begin(app, "POST", "/", body=OPEN) as call:
        answer = await call.head()
        assert (answer.value("x-early"), await call.exactly(4)) == (b"1", b"head")
        for _ in range(64):
            await call.send(b"x" * 16_384)
        await call.end()
        assert await call.body() == b"%d" % (64 * 16_384)


@case(each=["length", "chunked"])
async def early_whole_answer(c, framing):
    """Early responses while the upload goes on: one that is whole does not end it."""
    async def app(exchange):
        if framing == "length":
            await exchange.answer(200, [], b"whole")
        else:
            await exchange.start(200)
            await exchange.send(b"whole")
            await exchange.end()
        return await exchange.body()

    parts = [b"%04d" % n * 4_096 for n in range(64)]
    fields = [("content-length", str(64 * 16_384))] if framing == "length" else []
    async with c.connect() as connection:
        async with c.begin(app, "POST", "/", fields, OPEN, connection) as call:
            answer = await call.head()
            assert (answer.status, await call.body()) == (200, b"whole")
            for part in parts:
                await call.send(part)
            await call.end()
        assert call.part.result.result() == b"".join(parts)
        answer, exchange = await c.call("POST", "/", body=b"next", connection=connection)
        assert (answer.body, exchange.got) == (b"next", b"next")


@case(each=["length", "chunked"])
async def early_refusal(c, framing):
    """Early responses while the upload goes on: the app answers and reads no further."""
    async def app(exchange):
        assert await exchange.exactly(5) == b"first"
        await exchange.answer(413, [("connection", "close")] if c.app == 1 else [], b"too large")

    fields = [("content-length", str(1 << 30))] if framing == "length" else []
    async with c.begin(app, "POST", "/", fields, OPEN) as call:
        await call.send(b"first")
        answer = await call.head()
        assert (answer.status, await call.body()) == (413, b"too large")
        # What is sent on is nobody's; how soon that is noticed is not said.
        try:
            for _ in range(2):
                await call.send(b"x" * 16_384)
        except Broken:
            pass


@case(each=["GET", "POST"])
async def nobody_answers(c, method):
    """An app that goes away before its answer: 502 of the gateway, a broken message without one."""
    async def app(exchange):
        await exchange.body()
        exchange.abort()

    async with c.begin(app, method, "/", body=b"x" if method == "POST" else None) as call:
        try:
            answer = await call.head()
        except Broken:
            assert not c.tunnel
        else:
            assert (c.tunnel, answer.status) == (True, 502)
            assert answer.value("content-type") == b"application/problem+json"
