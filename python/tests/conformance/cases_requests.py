"""Cases: the head of a request as the app sees it."""

from .case import case
from .message import OPEN

TARGETS = {
    "decoy": "/a%2Fb//../x?y=%zz", "empty-query": "/?", "double-slash": "//x", "lone-percent": "/%",
    "encoded-nul": "/%00%0d%0a", "query-marks": "/x??a?b", "parameters": "/;p=1/~!$&'()*+,;=:@",
    "brackets": "/x?a[]=1&b={c}|d", "dots": "/./a/../b/.", "case": "/%2f%2F%e2%98%95", "plus": "/a+b?c+d=e%20f",
}
ADDED = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id"}
"""What a gateway says to the app about the caller; docs/http.md."""
FRAMING = {"host", "x-case", "content-length", "transfer-encoding", "te"}


@case(each=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def method(c, name):
    """Methods: each arrives as it is."""
    answer, seen = await c.call(name, "/m")
    assert (answer.status, seen.method, seen.got) == (200, name, b"")


@case(each=["FROB", "get", "M-SEARCH", "PROPFIND", "x!#$%&'*+-.^_`|~9"])
async def unknown_method(c, name):
    """Methods nobody heard of, also in lower case and of every token character."""
    answer, seen = await c.call(name, "/m")
    assert (answer.status, seen.method) == (200, name)


@case()
async def asterisk_form(c):
    """Absolute-form and asterisk-form targets: `OPTIONS *`."""
    _, seen = await c.call("OPTIONS", "*")
    assert (seen.method, seen.target) == ("OPTIONS", "*")


@case(each=list(TARGETS))
async def odd_target(c, name):
    """The target arrives byte for byte."""
    _, seen = await c.call("GET", TARGETS[name])
    assert seen.target == TARGETS[name]


@case()
async def long_target(c):
    """A target of 15 KiB."""
    target = "/" + "p" * 8000 + "?q=" + "%41" * 2400
    _, seen = await c.call("GET", target)
    assert seen.target == target


@case(each=["app.example", "app.example:8443", "UPPER.example", "[::1]:80"])
async def host_is_kept(c, host):
    """`Host` is kept: signatures cover it."""
    _, seen = await c.call("GET", "/", authority=host)
    assert seen.authority == host.encode()


@case()
async def sixty_kib_of_headers(c):
    """64 KiB of headers."""
    fields = [(f"x-{n}", b"%02d" % n + b"v" * 4094) for n in range(15)]
    _, seen = await c.call("GET", "/", fields)
    assert [field for field in seen.fields if field[0] in dict(fields)] == fields


@case()
async def one_long_value(c):
    """64 KiB of headers, in one field."""
    _, seen = await c.call("GET", "/", [("x-long", b"v" * 50_000)])
    assert seen.value("x-long") == b"v" * 50_000


@case()
async def many_fields(c):
    """256 fields: 250 of the caller's, and what the gateway adds."""
    fields = [(f"x-{n}", b"%d" % n) for n in range(249)]
    _, seen = await c.call("GET", "/", fields)
    assert [field for field in seen.fields if field[0] in dict(fields)] == fields


@case()
async def non_utf8_values(c):
    """Non-UTF-8 values: every byte that a value may hold."""
    value = bytes(b for b in range(0x21, 0x100) if b != 0x7F) + b" \t" + b"\xff\xfe"
    _, seen = await c.call("GET", "/", [("x-bytes", value), ("x-latin", b"caf\xe9"), ("x-utf8", "café".encode())])
    assert (seen.value("x-bytes"), seen.value("x-latin")) == (value, b"caf\xe9")
    assert seen.value("x-utf8") == "café".encode()


@case()
async def repeated_fields(c):
    """Repeated and ordered headers: the values of a name keep number and order."""
    fields = [("x-a", "1"), ("x-b", "one, two"), ("x-a", "2"), ("x-b", "three"), ("x-a", "1")]
    _, seen = await c.call("GET", "/", fields)
    assert seen.values("x-a") == [b"1", b"2", b"1"]
    assert seen.values("x-b") == [b"one, two", b"three"]


@case()
async def empty_values(c):
    """Fields without a value arrive without one."""
    _, seen = await c.call("GET", "/", [("x-empty", ""), ("x-after", "1"), ("x-empty", "")])
    assert (seen.values("x-empty"), seen.value("x-after")) == ([b"", b""], b"1")


@case()
async def names_of_every_character(c):
    """Names of every token character, underscores included."""
    _, seen = await c.call("GET", "/", [("x!#$%&'*+-.^_`|~09", "1"), ("x_under_score", "2")])
    assert (seen.value("x!#$%&'*+-.^_`|~09"), seen.value("x_under_score")) == (b"1", b"2")


@case()
async def one_cookie_field(c):
    """Cookies arrive as one field."""
    _, seen = await c.call("GET", "/", [("cookie", 'a=1; b="2 3"; c=')])
    assert seen.values("cookie") == [b'a=1; b="2 3"; c=']


@case(caller=2, because="only HTTP/2 lets cookies be split (RFC 9113, 8.2.3)")
async def cookie_crumbs(c):
    """Cookies that HTTP/2 split are joined for the app."""
    _, seen = await c.call("GET", "/", [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2"), ("cookie", "c=3")])
    assert seen.values("cookie") == [b"a=1; b=2; c=3"]


@case()
async def nothing_is_added(c):
    """The app gets the caller's fields, and behind a gateway those that say who called."""
    _, seen = await c.call("POST", "/", [("x-mine", "1"), ("accept", "*/*")], b"body")
    assert seen.names() - {"x-mine", "accept"} - FRAMING <= (ADDED if c.tunnel else set())


@case()
async def ordinary_fields_are_kept(c):
    """What agents send: credentials, types, conditions, ranges, traces."""
    fields = [
        ("authorization", "DIDWba did=\"did:wba:a.example\", nonce=\"n\""), ("content-type", "application/json"),
        ("accept", "text/event-stream"), ("accept-encoding", "gzip, br;q=0.5"), ("if-none-match", '"e", W/"f"'),
        ("range", "bytes=0-1,5-"), ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("user-agent", ""), ("referer", "http://x/?y#z"), ("origin", "null"), ("via", "1.1 before"),
        ("proxy-authorization", "Basic eA=="), ("max-forwards", "3"), ("priority", "u=1"),
    ]
    _, seen = await c.call("POST", "/", fields, b"{}")
    for name, value in fields:
        if name != "proxy-authorization":
            assert seen.values(name) == [value.encode()], name


@case(tunnel=True, because="a plain origin has nobody who would strip")
async def strangers_do_not_say_who_calls(c):
    """X-Forwarded-* and Forwarded are set once; a stranger's are removed."""
    fields = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7"), ("x_forwarded_for", "8.8.8.8"),
              ("x-forwarded-proto", "gopher"), ("x-forwarded-host", "evil.example"), ("forwarded", "for=6.6.6.6"),
              ("x-request-id", "mine"), ("anp-caller-did", "did:wba:evil.example")]
    _, seen = await c.call("GET", "/", fields, authority="app.example:81")
    assert seen.values("x-forwarded-for") == [b"127.0.0.1"]
    assert seen.values("x-forwarded-proto") == [b"https" if c.tls else b"http"]
    assert seen.values("x-forwarded-host") == [b"app.example:81"]
    assert len(seen.values("forwarded")) == 1 and b"6.6.6.6" not in seen.value("forwarded")
    assert len(seen.values("x-request-id")) == 1 and seen.value("x-request-id") != b"mine"
    assert not seen.values("x_forwarded_for") and not seen.values("anp-caller-did")


@case(caller=1, tunnel=True, because="HTTP/2 has no Connection field, and a plain origin no second side")
async def hop_by_hop_ends_here(c):
    """Hop-by-hop fields are stripped, and those that Connection names."""
    fields = [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Connection", "x-two"),
              ("Proxy-Connection", "keep-alive"), ("X-Two", "2"), ("X-Stays", "3")]
    _, seen = await c.call("GET", "/", fields)
    assert seen.value("x-stays") == b"3"
    assert not seen.names() & {"x-hop", "x-two", "keep-alive", "proxy-connection"}
    assert not any(b"hop" in value for value in seen.values("connection"))


@case(app=2, because="in HTTP/1.1 `te` is for the next hop, and the receiver has no use for it")
async def te_trailers(c):
    """`te: trailers` reaches the app: it asks for trailers (RFC 9110, 10.1.4)."""
    fields = [("te", "trailers")] + ([("connection", "te")] if c.caller == 1 else [])
    _, seen = await c.call("GET", "/", fields)
    assert seen.values("te") == [b"trailers"]


@case()
async def many_requests_on_a_connection(c):
    """A connection serves one request after the other, with and without bodies."""
    async with c.connect() as connection:
        for n in range(20):
            body = None if n % 3 == 0 else b"x" * n * 100
            answer, seen = await c.call("POST" if body else "GET", f"/{n}", body=body, connection=connection)
            assert (answer.status, answer.body, seen.target) == (200, body or b"", f"/{n}")


@case(each=["GET", "DELETE", "OPTIONS", "HEAD", "FROB", "PATCH"])
async def body_on_any_method(c, name):
    """Bodies on any method, with a length and without."""
    _, seen = await c.call(name, "/", body=b"a body")
    assert (seen.method, seen.got, seen.value("content-length")) == (name, b"a body", b"6")
    async with c.begin(whole, name, "/", body=OPEN) as call:
        await call.send(b"a bo")
        await call.send(b"dy")
        await call.end()
        assert (await call.head()).value("x-got") == b"a body"


async def whole(exchange):
    """Answers with what it got in a field."""
    await exchange.answer(200, [("x-got", await exchange.body())])
