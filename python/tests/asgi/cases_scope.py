"""What the scope says of a request."""

from .case import Case, add, answer, ask, case, request, sent_fields


def scope_case(name, sent, look, expected, status=200, **settings):
    """A case where the app notes `look` (keys of the scope, or a function of it), and answers 200."""

    def make(seen):
        async def app(scope, _receive, send):
            seen.append({key: scope.get(key) for key in look} if isinstance(look, tuple) else look(scope))
            await answer(send, b"")

        async def caller(place):
            return (await ask(place, sent)).status

        return app, caller

    add(Case(f"scope_{name}", make, ([] if expected is None else [expected], status), settings))


PATHS = ("path", "raw_path", "query_string")


def path_case(name, target, path, raw_path=None, query=b"", **more):
    """A case of a target and what becomes of it."""
    raw_path = target.partition(b"?")[0] if raw_path is None else raw_path
    expected = {"path": path, "raw_path": raw_path, "query_string": query}
    scope_case(name, request(target), PATHS, expected, **more)


scope_case(
    "plain", request(b"/a?b=c"), ("type", "http_version", "method", "scheme", "root_path", "path", "query_string"),
    {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "", "path": "/a", "query_string": b"b=c"},
)
scope_case("asgi", request(), lambda scope: scope["asgi"]["version"], "3.0")
scope_case("extensions", request(), lambda scope: sorted(scope.get("extensions") or {}), ["http.response.trailers"])
scope_case("client", request(), lambda scope: (scope["client"][0], type(scope["client"][1]).__name__), ("127.0.0.1", "int"))
scope_case("server", request(), lambda scope: tuple(map(type, scope["server"])), (str, int))
scope_case("no_state", request(), lambda scope: "state" in scope, False)

path_case("encoded_slash", b"/a%2Fb", "/a/b")
path_case("utf8", b"/%C3%BC/x", "/ü/x")
path_case("bad_utf8", b"/%FF%C3", "/\ufffd\ufffd")
path_case("bad_percent", b"/100%/%zz", "/100%/%zz")
path_case("odd_query", b"/?x=%zz&&=%00&a=1&a=2", "/", query=b"x=%zz&&=%00&a=1&a=2")
path_case("empty_query", b"/a?", "/a")
path_case("query_with_question_mark", b"/a?b?c=/d", "/a", query=b"b?c=/d")
path_case("encoded_question_mark", b"/a%3Fb?c", "/a?b", query=b"c")
path_case("double_slash_inside", b"/a//b/", "/a//b/")
path_case("dots", b"/a/../b/./c", "/a/../b/./c")
path_case("plus", b"/a+b", "/a+b")
path_case("parameters", b"/a;b=c,d:e@f$", "/a;b=c,d:e@f$")
path_case("long", b"/" + b"x" * 4096, "/" + "x" * 4096)
path_case("encoded_nul", b"/a%00b", "/a\0b")
path_case("absolute_target", b"http://app.example/a/b?c", "/a/b", raw_path=b"/a/b", query=b"c")
path_case("mounted", b"/a%2Fb", "/mounted/a/b", raw_path=b"/mounted/a%2Fb", root_path="/mounted")
scope_case("root_path", request(), ("root_path",), {"root_path": "/mounted"}, root_path="/mounted")

for method in (b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND"):
    length = (b"Content-Length: 0",) if method in (b"POST", b"PUT", b"PATCH") else ()
    scope_case(f"method_{method.decode()}", request(b"/", method, *length), ("method",), {"method": method.decode()})
scope_case("method_unknown", request(b"/", b"FROBNICATE"), ("method",), {"method": "FROBNICATE"})
scope_case(
    "http_1_0", b"GET / HTTP/1.0\r\nHost: app.example\r\n\r\n", ("http_version",), {"http_version": "1.1"}
)

HOST = (b"host", b"app.example")


def fields_case(name, fields, expected, **more):
    """A case of header fields and what the app sees of them beside Host."""
    scope_case(f"headers_{name}", request(b"/", b"GET", *fields), sent_fields, [HOST, *expected], **more)


fields_case("repeated", [b"X-A: 1", b"X-B: 2", b"x-a: 3"], [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")])
fields_case("case", [b"X-MiXeD: VaLuE"], [(b"x-mixed", b"VaLuE")])
fields_case("bytes", [b"X-A: caf\xe9 \xff"], [(b"x-a", b"caf\xe9 \xff")])
fields_case("empty", [b"X-A:", b"X-B: "], [(b"x-a", b""), (b"x-b", b"")])
fields_case("space", [b"X-A:  \t a\t b \t "], [(b"x-a", b"a\t b")])
fields_case("two_cookies", [b"Cookie: a=1", b"Cookie: b=2"], [(b"cookie", b"a=1"), (b"cookie", b"b=2")])
fields_case("many", [b"X-%d: %d" % (n, n) for n in range(90)], [(b"x-%d" % n, b"%d" % n) for n in range(90)])
fields_case("long", [b"X-A: " + b"v" * 8000], [(b"x-a", b"v" * 8000)])
fields_case("symbols_in_name", [b"X_a.b!#$%&'*+^`|~: 1"], [(b"x_a.b!#$%&'*+^`|~", b"1")])
fields_case("authorization", [b"Authorization: Bearer a.b.c"], [(b"authorization", b"Bearer a.b.c")])
fields_case("te", [b"TE: trailers"], [])
fields_case("of_the_connection", [b"Connection: x-hop, keep-alive", b"X-Hop: 1", b"X-A: 1"], [(b"x-a", b"1")])
scope_case(
    "headers_forwarded_by_strangers", request(b"/", b"GET", b"X-Forwarded-For: 9.9.9.9"),
    lambda scope: b"9.9.9.9" in dict(scope["headers"]).get(b"x-forwarded-for", b""), False,
)
scope_case(
    "host_first", request(b"/", b"GET", b"X-A: 1"), lambda scope: scope["headers"][0], (b"host", b"app.example")
)


@case(([True, True, True], None))
def scope_is_each_requests_own(seen):
    """What an app does to a scope is seen by no other request."""

    async def app(scope, _receive, send):
        mine = [scope["asgi"], scope.get("extensions", {}), scope["headers"]]
        seen.append(all("x-mine" not in part for part in mine))
        mine[0]["x-mine"] = mine[1]["x-mine"] = True
        mine[2].append("x-mine")
        await answer(send)

    async def caller(place):
        for _ in range(3):
            await ask(place, request())

    return app, caller
