"""More than an app can serve does not make it serve less, nor others wait."""

from __future__ import annotations

import statistics

from harness import arrivals, client, subjects
from harness.app import GREETING
from harness.arrivals import Outcome, Plan

from .setup import Bench, Finding, Promise, expect, gateway_args, receiver_args

#: Milliseconds a request takes the app.
_SERVICE_MS = 10
#: Requests the app is given at once: two tunnels of two places.
_PLACES = ["--set", "receiver.max_streams=2", "--set", "receiver.tunnels=2"]
_SECONDS = 10.0
_PAIRS = 3
#: Requests a second of the tenant that wants its peace, and of the crowd at the other.
_CALM_RATE = 50.0
_CROWD_RATE = 800.0


def _sound(outcome: Outcome, behind: float = 0.25) -> Outcome:
    """An outcome that counts: nothing broke, and the generator kept its schedule."""
    expect(not outcome.failures, f"{len(outcome.failures)} failures, such as: {outcome.failures[:1]}")
    expect(outcome.behind <= behind, f"the load generator was {outcome.behind:.2f} s behind its schedule")
    return outcome


def _goodput(bench: Bench) -> Finding:
    _, public, tunnel = subjects.start_gateway(bench.owner, bench.binary, gateway_args())
    app = subjects.start_sink(bench.owner)
    receiver = subjects.start_receiver(bench.owner, bench.binary, tunnel, app, [*receiver_args(), *_PLACES])
    receiver.wait_until("the right answer", lambda: client.is_answering(("127.0.0.1", public), "/", GREETING))
    plan = Plan("127.0.0.1", public, f"/work?ms={_SERVICE_MS}", _SECONDS)
    peak = max(
        _sound(arrivals.run(Plan(**{**vars(plan), "callers": callers, "seconds": 5.0}))).goodput
        for callers in (4, 8, 16)
    )
    crowd = _sound(arrivals.run(Plan(**{**vars(plan), "rate": 2 * peak})))
    share = crowd.goodput / peak
    return Finding(
        f"{share:.0%} of a peak of {peak:.0f}/s; p50 of answers {crowd.p50:.2f} s, {crowd.refused} refused"
        f" (p50 after {crowd.refused_p50 * 1000:.1f} ms), {crowd.late} late",
        "90%",
        share >= 0.9,
    )


def _crowd(bench: Bench) -> Finding:
    endpoints = (
        '[{name = "crowded", path = "/work", receivers = ["crowded"]}, {name = "calm", receivers = ["calm"]}]'
    )
    settings = ["--set", f"gateway.endpoints={endpoints}", "--set", "gateway.tenant_max_requests=64"]
    _, public, tunnel = subjects.start_gateway(bench.owner, bench.binary, [*gateway_args(), *settings])
    for name in ("crowded", "calm"):
        places = _PLACES if name == "crowded" else []
        args = [*receiver_args(), "--name", name, *places]
        receiver = subjects.start_receiver(bench.owner, bench.binary, tunnel, subjects.start_sink(bench.owner), args)
    receiver.wait_until("the right answer", lambda: client.is_answering(("127.0.0.1", public), "/", GREETING))
    calm = Plan("127.0.0.1", public, "/", 6.0, rate=_CALM_RATE, warm_up=1.0)
    flood = Plan("127.0.0.1", public, f"/work?ms={_SERVICE_MS}", 7.5, rate=_CROWD_RATE, warm_up=1.0)
    alone, beside, unserved, refused = [], [], 0, 0
    for _ in range(_PAIRS):
        alone.append(_sound(arrivals.run(calm)).p99)
        crowd = arrivals.start(flood)
        outcome = _sound(arrivals.run(calm))
        refused += _sound(arrivals.finish(crowd), 1.0).refused
        beside.append(outcome.p99)
        unserved += outcome.refused + outcome.late
    expect(refused > 0, "the crowd was no crowd: none of it was refused")
    before, now = statistics.median(alone), statistics.median(beside)
    return Finding(
        f"p99 {now * 1000:.1f} ms beside the crowd, {before * 1000:.1f} ms alone; {unserved} not served,"
        f" {refused} of the crowd refused",
        "2 times, 0 not served",
        now <= 2 * before and unserved == 0,
    )


PROMISES = [
    Promise(
        "overload-goodput",
        "Requests come at twice the rate that an app can serve: those served in time stay at 90 % of its peak",
        _goodput,
    ),
    Promise(
        "tenant-crowd",
        "A crowd at one tenant, more than twice what its app serves: another tenant's p99 at most doubles and all its"
        " requests are served",
        _crowd,
    ),
]
