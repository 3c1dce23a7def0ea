"""A receiver that floods the gateway costs it next to nothing, and is closed where it breaks a rule."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from itertools import chain, repeat

from harness.hostile import (
    BINARY,
    CODE,
    CREDIT,
    DATA,
    HTTP_BODY,
    PING,
    RESET,
    TEXT,
    WINDOW,
    HostileReceiver,
    frame,
    message,
)

from .setup import Bench, Finding, Promise

#: Pieces a flood has; the gateway may end it sooner.
_MANY = 1_000_000
#: Seconds a flood may last if nobody ends it.
_SECONDS = 10.0

_UNASKED: dict[str, bytes] = {
    "DATA on an idle stream": frame(DATA, 77, (HTTP_BODY, bytes(1024))),
    "WINDOW on an idle stream": frame(WINDOW, 77, (CREDIT, struct.pack("!I", 1))),
    "RESET on an idle stream": frame(RESET, 77, (CODE, struct.pack("!I", 1))),
    "frames of an unknown type": frame(0x6E, 0),
}


def _floods(bench: Bench, floods: Mapping[str, Iterable[bytes]], limit_mib: int, seconds: float) -> Finding:
    """Runs each flood against one gateway; the slowest closing and the sum of growth count."""
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.gateway.resident_kib()
    slowest, open_ones = 0.0, []
    for name, pieces in floods.items():
        peer = HostileReceiver(("127.0.0.1", tunnel.tunnel_port))
        ending = peer.flood(pieces, _SECONDS)
        if ending.closed:
            slowest = max(slowest, ending.seconds)
        else:
            open_ones.append(name)
        peer.close()
    added = tunnel.gateway.peak_kib() - before
    tunnel.gateway.wait_until("an answer after the floods", tunnel.answers)
    still = f", not closed: {', '.join(open_ones)}" if open_ones else ""
    return Finding(
        f"closed within {slowest:.3f} s{still}, {added / 1024:+.2f} MiB",
        f"{seconds:g} s, +{limit_mib} MiB",
        not open_ones and slowest <= seconds and added <= limit_mib * 1024,
    )


def _unasked(bench: Bench) -> Finding:
    floods = {name: repeat(message(BINARY, piece), _MANY) for name, piece in _UNASKED.items()}
    return _floods(bench, floods, 4, 1.0)


def _websocket(bench: Bench) -> Finding:
    floods: dict[str, Iterable[bytes]] = {
        "a length of 2⁶³": iter([message(BINARY, b"", announced=1 << 63)]),
        "a length of 2⁶³ − 1": iter([message(BINARY, b"", announced=(1 << 63) - 1)]),
        "tiny fragments": chain([message(BINARY, b"A", fin=False)], repeat(message(0, b"A", fin=False), _MANY)),
        "empty fragments": chain([message(BINARY, b"", fin=False)], repeat(message(0, b"", fin=False), _MANY)),
        "text messages": repeat(message(TEXT, b'{"type":"noise"}'), _MANY),
    }
    return _floods(bench, floods, 1, _SECONDS)


def _pings(bench: Bench) -> Finding:
    """Pings break no rule, so the tunnel may stay; the gateway owes one pong at a time."""
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.gateway.resident_kib()
    peer = HostileReceiver(("127.0.0.1", tunnel.tunnel_port))
    ending = peer.flood(repeat(message(PING, bytes(125)), _MANY), _SECONDS)
    added = tunnel.gateway.peak_kib() - before
    peer.close()
    tunnel.gateway.wait_until("an answer after the pings", tunnel.answers)
    note = f"closed with {ending.code}" if ending.closed else "left open"
    return Finding(f"{added / 1024:+.2f} MiB, {note}", "+1 MiB", added <= 1024)


PROMISES = [
    Promise(
        "flood-unasked",
        "A receiver floods frames nobody asked for: it is closed within a second, and the gateway grows by at most"
        " 4 MiB",
        _unasked,
    ),
    Promise(
        "flood-websocket",
        "A receiver announces lengths of 2⁶³, or sends a million fragments or texts: it is closed, and the gateway"
        " grows by at most 1 MiB",
        _websocket,
    ),
    Promise(
        "flood-pings", "A receiver sends a million pings without a pause: the gateway grows by at most 1 MiB", _pings
    ),
]
