"""Lifespans, starts, stops, gateways that go away, and WSGI."""

import asyncio
import contextlib
import gc
import os
import random
import threading
import weakref

import anp_proxy
import pytest
from binary import soon
from anp_proxy._core import GatewaySettings, ReceiverSettings
from http11 import BrokenMessage, read_body, read_head

pytestmark = pytest.mark.asyncio


async def hello(scope, _receive, send):
    """An app without a lifespan."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def with_lifespan(steps, startup="complete", shutdown="complete"):
    """An app that tells its steps, and shares its state with requests."""

    async def app(scope, receive, send):
        if scope["type"] == "http":
            steps.append(("request", dict(scope["state"])))
            scope["state"]["mine"] = True
            return await hello(scope, receive, send)
        for step, answer in (("startup", startup), ("shutdown", shutdown)):
            assert await receive() == {"type": f"lifespan.{step}"}
            scope["state"]["pool"] = "shared"
            steps.append(step)
            await send({"type": f"lifespan.{step}.{answer}", "message": "no database"})

    return app


async def test_a_lifespan_spans_the_requests_and_shares_its_state():
    steps = []
    async with contextlib.AsyncExitStack() as stack:
        from conftest import serving

        served = await stack.enter_async_context(serving(with_lifespan(steps)))
        for _ in range(2):
            assert (await served.get())[2] == b"hello"
    request = ("request", {"pool": "shared"})
    assert steps == ["startup", request, request, "shutdown"]


async def test_a_failed_startup_stops_the_receiver_with_the_apps_message():
    receiver = anp_proxy.Receiver(with_lifespan([], startup="failed"), "ws://127.0.0.1:1")
    with pytest.raises(anp_proxy.LifespanFailed, match="no database"):
        await soon(receiver.start())


async def test_an_app_that_takes_every_scope_for_a_request_has_no_lifespan(serve):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["type"].encode()})

    served = await serve(app)
    status, _, data = await served.get("/")
    assert (status, data) == (200, b"http")


async def test_a_lifespan_that_is_wanted_must_be_there():
    receiver = anp_proxy.Receiver(hello, "ws://127.0.0.1:1", lifespan="on")
    with pytest.raises(anp_proxy.LifespanFailed):
        await soon(receiver.start())


async def test_no_gateway_is_an_error_that_says_why():
    receiver = anp_proxy.Receiver(hello, "ws://127.0.0.1:1", max_reconnect_attempts=0)
    with pytest.raises(anp_proxy.ReceiverFailed, match="127.0.0.1:1"):
        await soon(receiver.start())


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"gateway": []}, "gateways"),
        ({"gateway": "ftp://x"}, "not a gateway address.*got ftp$"),
        ({"gateway": "ws://x", "tunnels": 0}, "tunnels"),
        ({"gateway": "ws://x", "no_such": 1}, "no_such"),
        ({"gateway": "ws://x", "tunels": 1}, 'unknown setting "tunels"; did you mean "tunnels"'),
        ({"gateway": "ws://x", "max_mesage": 1}, 'did you mean "max_message"'),
        ({"gateway": "ws://x", "gateways": ["ws://y"]}, "gateways"),
        ({"gateway": "ws://x", "tunnels": -1}, "tunnels: expected a whole number from 0 to 65535, found integer -1"),
        ({"gateway": "ws://x", "tunnels": 1 << 80}, "tunnels: expected a whole number"),
        ({"gateway": "ws://x", "max_message": -1}, "max_message: .*got -1"),
        ({"gateway": "ws://x", "max_message": 1 << 64}, "max_message"),
        ({"gateway": "ws://x", "max_message": "1MiB"}, "max_message"),
        ({"gateway": "ws://x", "to": ["http://x"]}, "to"),
        ({"gateway": "ws://x", "compress": ["br"]}, "compress"),
        ({"gateway": "ws://x", "status_listen": "127.0.0.1:0"}, "status_listen"),
        ({"gateway": "ws://x", "lifespan": "maybe"}, "lifespan"),
        ({"gateway": "ws://x", "root_path": "api"}, """root_path: expected a path that begins with "/", got 'api'"""),
    ],
)
async def test_a_setting_that_cannot_be_is_a_value_error_that_names_it(settings, word):
    with pytest.raises(ValueError, match=word):
        anp_proxy.Receiver(hello, **settings)


async def test_the_settings_that_an_unknown_one_is_told_of_are_those_to_be_had():
    with pytest.raises(ValueError) as refused:
        anp_proxy.Receiver(hello, "ws://x", no_such=1)
    known = str(refused.value).partition("known: ")[2].split(", ")
    assert {"tunnels", "lifespan"} < set(known) and not {"to", "compress", "health_path", "status_listen", "gateways"} & set(known)


async def test_a_gateway_that_is_no_address_is_a_type_error_at_once():
    with pytest.raises(TypeError, match="gateway: expected an address or several, got 5"):
        anp_proxy.Receiver(hello, 5)


async def test_an_app_that_cannot_be_called_is_a_type_error_at_once():
    with pytest.raises(TypeError, match="app: expected an ASGI app, got 5"):
        anp_proxy.Receiver(5, "ws://x")
    with pytest.raises(TypeError, match="app: expected a WSGI app, got 5"):
        anp_proxy.WSGI(5)


async def test_a_gateways_settings_are_checked_and_its_address_is_known():
    with pytest.raises(ValueError, match="queue_size"):
        anp_proxy.Gateway(queue_size="many")
    async with anp_proxy.Gateway(listen="127.0.0.1:0", tunnel_listen="127.0.0.1:0") as gateway:
        assert gateway.url.startswith("http://127.0.0.1:") and gateway.tunnel_url.startswith("ws://127.0.0.1:")
        with pytest.raises(OSError, match="listen"):
            await anp_proxy.Gateway(listen="127.0.0.1:0", tunnel_listen=gateway.tunnel_url[5:]).start()


async def test_a_gateway_that_ends_by_itself_says_why(monkeypatch):
    class Running:
        """One whose end is that of a pipe."""

        def __init__(self, _settings):
            self.over, self.open = os.pipe()

        def fileno(self):
            return self.over

        def end(self):
            return "a worker broke"

        def kill(self):
            pass

    monkeypatch.setattr("anp_proxy._gateway.RunningGateway", Running)
    with pytest.raises(anp_proxy.GatewayFailed, match="a worker broke"):
        async with anp_proxy.Gateway() as gateway:
            os.close(gateway._core().open)
            await soon(gateway.wait())


@pytest.mark.parametrize("serves", [False, True])
async def test_dev_ends_with_its_gateway(monkeypatch, serves):
    from anp_proxy import _command
    from conftest import Served

    started = asyncio.get_running_loop().create_future()

    class Gateway(anp_proxy.Gateway):
        async def start(self):
            await super().start()
            started.set_result(self)

    class Asked:
        app, root_path = "hello", ""
        receiver = ReceiverSettings.from_json('{"gateways": ["ws://x"]}')
        gateway = GatewaySettings.from_json('{"listen": "127.0.0.1:0", "tunnel_listen": "127.0.0.1:0", "workers": 1}')

    monkeypatch.setattr(_command, "Gateway", Gateway)
    serving = asyncio.ensure_future(_command._serve(hello, Asked))
    gateway = await soon(started)
    while serves and (await Served(gateway, None).get())[0] != 200:
        pass
    gateway._core().kill()
    with pytest.raises(anp_proxy.GatewayFailed, match="the gateway ended"):
        await soon(serving)


async def test_a_stop_lets_a_response_end_and_then_takes_no_more(serve):
    go, begun = asyncio.Event(), asyncio.Event()

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first,", "more_body": True})
        begun.set()
        await go.wait()
        await send({"type": "http.response.body", "body": b"last"})

    served = await serve(app, lifespan="off")
    async with served.caller() as caller:
        await caller.send("GET", "/")
        await soon(begun.wait())
        stopping = asyncio.ensure_future(served.receiver.stop())
        head = await soon(read_head(caller.reader))
        go.set()
        assert b"".join([part async for part in read_body(caller.reader, head)]) == b"first,last"
    await soon(stopping)


async def test_a_stop_now_ends_the_app_too(serve):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def app(_scope, _receive, _send):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    served = await serve(app, lifespan="off")
    async with served.caller() as caller:
        await caller.send("GET", "/")
        await soon(begun.wait())
        await soon(served.receiver.stop(now=True))
        assert ended.is_set()


async def test_a_stop_that_is_cancelled_ends_answers_that_their_app_left_behind(serve):
    left = asyncio.Event()

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        # More than anybody takes of a caller that does not read; nothing of it is waited for.
        send({"type": "http.response.body", "body": bytes(64 << 20)})
        left.set()

    served = await serve(app, lifespan="off")
    async with served.caller() as caller:
        await caller.send("GET", "/")
        await soon(left.wait())
        head = await soon(read_head(caller.reader))
        stopping = asyncio.ensure_future(served.receiver.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(stopping)

        async def read():
            return [len(part) async for part in read_body(caller.reader, head)]

        with pytest.raises((BrokenMessage, ConnectionError)):
            await soon(read())


async def test_several_receivers_live_side_by_side(serve):
    def named(name):
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": name})

        return app

    one, two = await serve(named(b"one"), lifespan="off"), await serve(named(b"two"), lifespan="off")
    for _ in range(5):
        answers = await asyncio.gather(one.get(), two.get())
        assert [body for _, _, body in answers] == [b"one", b"two"]


async def test_a_loop_that_watches_no_descriptors_is_woken_by_a_thread(serve, monkeypatch):
    def add_reader(*_):
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", add_reader, raising=False)
    served = await serve(hello, lifespan="off")
    for _ in range(5):
        assert (await served.get())[2] == b"hello"


async def test_a_receiver_that_ended_is_let_go():
    class App:
        async def __call__(self, scope, receive, send):
            await hello(scope, receive, send)

    app = App()
    gone = weakref.ref(app)
    async with contextlib.AsyncExitStack() as stack:
        from conftest import serving

        served = await stack.enter_async_context(serving(app, lifespan="off"))
        assert (await served.get())[0] == 200
        assert served.receiver.stats().requests == 1
    assert served.receiver.stats() == anp_proxy.Stats(1, 0, 0)
    del app, served
    gc.collect()
    assert gone() is None


async def test_serve_ends_when_it_is_cancelled():
    from conftest import Served

    steps = []

    async def until_served(gateway):
        while (await Served(gateway, None).get())[0] != 200:
            pass

    async with anp_proxy.Gateway(listen="127.0.0.1:0", tunnel_listen="127.0.0.1:0", workers=1) as gateway:
        serving = asyncio.ensure_future(anp_proxy.serve(with_lifespan(steps), gateway.tunnel_url))
        await soon(until_served(gateway))
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(serving)
    assert [steps[0], steps[-1]] == ["startup", "shutdown"]


async def test_wsgi_apps_run_in_threads(serve):
    threads = set()

    def app(environ, start_response):
        threads.add(threading.current_thread() is threading.main_thread())
        assert environ["wsgi.url_scheme"] == "http" and environ["REMOTE_ADDR"] == "127.0.0.1"
        body = environ["wsgi.input"].read()
        start_response("201 Created", [("X-Cookie", environ.get("HTTP_COOKIE", "")), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        yield f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']} {environ['PATH_INFO']}?{environ['QUERY_STRING']} ".encode()
        yield body

    served = await serve(anp_proxy.WSGI(app), root_path="/mounted")
    status, head, body = await served.call("POST", "/a%20b?x=1", [("Cookie", "k=v")], b"data" * 100_000)
    assert (status, head.value("x-cookie"), head.values("set-cookie")) == (201, "k=v", ["a=1", "b=2"])
    assert body == b"POST /mounted /a b?x=1 " + b"data" * 100_000
    assert threads == {False}


async def test_a_wsgi_app_gets_a_path_of_any_bytes(serve):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode("latin-1")]

    served = await serve(anp_proxy.WSGI(app), root_path="/m")
    for path, there in [("/%E9%FF/x", b"/\xe9\xff/x"), ("/%C3%A9", "/é".encode()), ("/m/y", b"/m/y"), ("/", b"/")]:
        assert (await served.call("GET", path))[2] == there


async def test_a_wsgi_app_that_fails_is_500(serve):
    def app(_environ, _start_response):
        raise ValueError("on purpose")

    served = await serve(anp_proxy.WSGI(app))
    assert (await served.get())[0] == 500


async def test_the_urls_that_a_gateway_grants_are_told():
    async def app(scope, receive, send):
        raise AssertionError("nobody asks")

    settings = {"listen": "127.0.0.1:0", "tunnel_listen": "127.0.0.1:0", "public_url": "https://gate.example"}
    async with anp_proxy.Gateway(**settings) as gateway:
        async with anp_proxy.Receiver(app, gateway.tunnel_url) as receiver:
            assert receiver.urls == ["https://gate.example/"]


class Traced(dict):
    """A thing of one request that can be watched."""


async def test_requests_whose_callers_leave_leave_nothing_behind(serve):
    alive, chance = weakref.WeakSet(), random.Random(1)

    async def app(scope, receive, send):
        scope["traced"] = Traced()
        alive.add(scope["traced"])
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                pass
            return
        while (event := await receive())["type"] == "http.request" and event["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while scope["path"] == "/stream":
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"done"})

    served = await serve(app, lifespan="off")
    tasks = len(asyncio.all_tasks())
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]

    async def one(_):
        way = chance.randrange(5)
        async with served.caller() as caller:
            if way == 0:
                await caller.send("GET", "/")
                await soon(read_head(caller.reader))
            elif way == 1:
                await caller.send("GET", "/stream")
                await soon(caller.reader.read(chance.choice((1, 100, 10_000))))
            elif way == 2:
                await caller.send("POST", "/", [("Content-Length", "100000")], None)
                caller.writer.write(bytes(chance.randrange(50_000)))
            elif way == 3:
                await caller.send("GET", "/socket", upgrade)
                await soon(read_head(caller.reader))
            else:
                await caller.send("GET", "/")

    for _ in range(20):
        await asyncio.gather(*map(one, range(50)))

    async def quiet():
        """The app hears of the last ones a little later than they leave."""
        while served.receiver.stats().in_flight or len(asyncio.all_tasks()) > tasks + 1:
            assert (await served.get())[2] == b"done"

    await soon(quiet())
    gc.collect()
    assert (served.receiver.stats().requests > 500, len(alive)) == (True, 0)
