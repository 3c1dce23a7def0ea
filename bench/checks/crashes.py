"""What dies is noticed at once, and never looks like a complete answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from harness.client import Call
from harness.processes import free_port
from harness.wire import Broken

from .setup import Bench, Finding, Promise, Tunnel, expect, within

#: Seconds the gateway is away in the restart checks.
_AWAY_SECONDS = 3.0


def _status_after(call: Call, start: float, wanted: int, limit: float) -> Finding:
    head = call.read_head()
    seconds = time.monotonic() - start
    call.read_whole(head)
    expect(head.status == wanted, f"the caller got {head.status} instead of {wanted}")
    return within(seconds, limit, f" to {wanted}")


def _broken_after(call: Call, target: str, strike: Callable[[], None]) -> float:
    """Starts an answer, strikes in its middle; seconds until the caller sees that it is broken."""
    call.send_head("GET", target)
    pieces = call.read_body(call.read_head())
    next(pieces)
    start = time.monotonic()
    strike()
    try:
        for _ in pieces:
            pass
    except Broken:
        return time.monotonic() - start
    expect(False, "the caller got what looks like a complete answer")
    return 0.0


def _killed_before_head(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    with Call(tunnel.address) as call:
        call.send_head("GET", "/hang?id=before")
        tunnel.app.wait_arrived("before")
        start = time.monotonic()
        tunnel.receiver.kill()
        return _status_after(call, start, 502, 1.0)


def _killed_mid_body(bench: Bench) -> Finding:
    worst = 0.0
    for target in ("/bytes?n=10000000000", "/bytes?n=10000000000&chunked=1", "/drip"):
        tunnel = bench.tunnel()
        with Call(tunnel.address) as call:
            worst = max(worst, _broken_after(call, target, tunnel.receiver.kill))
    return within(worst, 1.0, " at most, of a body with length, a chunked one and a token stream")


def _killed_mid_upload(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    with Call(tunnel.address) as call:
        call.send_head("POST", "/count?id=upload", [("Content-Length", "1000000")])
        call.send_body([bytes(500_000)])
        tunnel.app.wait_arrived("upload")
        start = time.monotonic()
        tunnel.receiver.kill()
        return _status_after(call, start, 502, 1.0)


def _sent_once(bench: Bench) -> Finding:
    """With a second receiver there that could take it."""
    tunnel = bench.tunnel()
    with Call(tunnel.address) as call:
        call.send_head("POST", "/hang?id=once", [("Content-Length", "4")])
        call.send_body([b"once"])
        tunnel.app.wait_arrived("once")
        tunnel.start_receiver()
        start = time.monotonic()
        tunnel.receiver.kill()
        finding = _status_after(call, start, 502, 1.0)
    tunnel.gateway.wait_until("an answer through the second receiver", tunnel.answers)
    arrivals = tunnel.app.arrivals("once")
    return Finding(f"arrived {arrivals} time(s), {finding.figure}", "once", arrivals == 1 and finding.ok)


def _app_refuses(bench: Bench) -> Finding:
    tunnel = bench.tunnel(origin=free_port())
    with Call(tunnel.address) as call:
        start = time.monotonic()
        call.send_head("GET", "/")
        return _status_after(call, start, 502, 1.0)


def _app_resets(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    with Call(tunnel.address) as call:
        start = time.monotonic()
        call.send_head("POST", "/reset", [("Content-Length", "0")])
        return _status_after(call, start, 502, 1.0)


def _app_hangs(bench: Bench) -> Finding:
    tunnel = bench.tunnel(gateway=["--set", "gateway.response_timeout=2s"])
    with Call(tunnel.address) as call:
        start = time.monotonic()
        call.send_head("GET", "/hang?id=hangs")
        finding = _status_after(call, start, 504, 3.0)
    tunnel.app.wait_left("hangs")
    return finding


def _app_dies(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    worst = 0.0
    for key, query in (("length", ""), ("chunked", "&chunked=1")):

        def strike(key: str = key) -> None:
            tunnel.app.release(key)

        with Call(tunnel.address) as call:
            worst = max(worst, _broken_after(call, f"/die?n=1000&id={key}{query}", strike))
    return within(worst, 1.0, " at most, of a body with length and a chunked one")


def _until_back(bench: Bench, end: Callable[[Tunnel], None]) -> Finding:
    tunnel = bench.tunnel()
    end(tunnel)
    time.sleep(_AWAY_SECONDS)
    tunnel.restart_gateway()
    start = time.monotonic()
    tunnel.receiver.wait_until("an answer through the new gateway", tunnel.answers)
    return within(time.monotonic() - start, 15.0, f" after the gateway was away for {_AWAY_SECONDS:g} s")


def _gateway_killed(bench: Bench) -> Finding:
    return _until_back(bench, lambda tunnel: tunnel.gateway.kill())


def _gateway_stopped(bench: Bench) -> Finding:
    def stop(tunnel: Tunnel) -> None:
        tunnel.gateway.send(signal.SIGTERM)
        tunnel.gateway.process.wait(10)

    return _until_back(bench, stop)


PROMISES = [
    Promise(
        "receiver-killed-before-head",
        "A receiver is killed before a response head: the caller gets 502 within a second",
        _killed_before_head,
    ),
    Promise(
        "receiver-killed-mid-body",
        "A receiver is killed in the middle of a body: the caller sees a broken message within a second",
        _killed_mid_body,
    ),
    Promise(
        "receiver-killed-mid-upload",
        "A receiver is killed in the middle of an upload: the caller gets 502 within a second",
        _killed_mid_upload,
    ),
    Promise(
        "post-sent-once",
        "A POST whose receiver is killed is not sent again to another one",
        _sent_once,
    ),
    Promise("app-refuses", "Nothing listens at the app's address: 502 within a second", _app_refuses),
    Promise("app-resets", "The app resets the connection before a response head: 502 within a second", _app_resets),
    Promise("app-hangs", "The app never answers: 504 when the response timeout, here 2 s, is over", _app_hangs),
    Promise(
        "app-dies-mid-body",
        "The app dies in the middle of a body: the caller sees a broken message within a second",
        _app_dies,
    ),
    Promise(
        "gateway-killed-and-back",
        "After kill -9 and a new start of the gateway, the receiver serves again without help",
        _gateway_killed,
    ),
    Promise(
        "gateway-stopped-and-back",
        "After a stop and a new start of the gateway, the receiver serves again without help",
        _gateway_stopped,
    ),
]
