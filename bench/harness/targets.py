"""What is to be reached, beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from .pairs import Pairs
from .report import Result, Results

Figure = Callable[[Results, Pairs], float | None]


@dataclass
class Target:
    """A ratio to a peer of the same run, what it must be, and what it would better be."""

    text: str
    figure: Figure
    #: None where there is but the stretch.
    least: float | None
    stretch: float | None = None
    #: Whether more is better.
    more: bool = True

    def row(self, results: Results, pairs: Pairs) -> list[str] | None:
        """A line of the table; nothing where the peer did not run."""
        ratio = self.figure(results, pairs)
        if ratio is None:
            return None
        sign = "≥" if self.more else "≤"
        limits = ("" if limit is None else f"{sign} {limit:g}" for limit in (self.least, self.stretch))
        return [self.text, f"{ratio:.2f}", *limits, self._verdict(ratio)]

    def _verdict(self, ratio: float) -> str:
        if self._holds(ratio, self.stretch):
            return "stretch met"
        if self.least is None:
            return "stretch not met"
        return "met" if self._holds(ratio, self.least) else "MISSED"

    def _holds(self, ratio: float, limit: float | None) -> bool:
        if limit is None:
            return False
        return ratio >= limit if self.more else ratio <= limit


HEADER = ["anp-proxy to", "ratio", "at least", "stretch", ""]


def rows(results: Results, pairs: Pairs) -> list[list[str]]:
    """The table of all targets that were measured."""
    found = (target.row(results, pairs) for target in _TARGETS)
    return [row for row in found if row is not None]


def _small(key: str, connections: int, name: str) -> Figure:
    def of(result: Result) -> float | None:
        figure: float | None = getattr(result.middle(connections), name)
        return figure

    def ratio(results: Results, _: Pairs) -> float | None:
        if "us" not in results or key not in results:
            return None
        ours, theirs = of(results["us"]), of(results[key])
        return ours / theirs if ours and theirs else None

    return ratio


def _bulk(key: str, way: str) -> Figure:
    def ratio(results: Results, _: Pairs) -> float | None:
        if "us" not in results or key not in results:
            return None
        return statistics.median(getattr(results["us"], way)) / statistics.median(getattr(results[key], way))

    return ratio


def _pair(name: str) -> Figure:
    def ratio(_: Results, pairs: Pairs) -> float | None:
        samples = pairs.get(name)
        if not samples:
            return None
        return statistics.median(ours for ours, _ in samples) / statistics.median(other for _, other in samples)

    return ratio


def _beside(key: str) -> Figure:
    def ratio(_: Results, pairs: Pairs) -> float | None:
        ours, theirs = (pairs.get(f"beside bulk: {name}") for name in ("us", key))
        if not ours or not theirs:
            return None
        return statistics.median(beside for beside, _ in ours) / statistics.median(beside for beside, _ in theirs)

    return ratio


_TARGETS = [
    *(
        Target(f"rathole: CPU a request, {count} connections", _small("rathole", count, "cpu"), 0.75, 0.6, more=False)
        for count in (32, 128)
    ),
    *(Target(f"rathole: RPS, {count} connections", _small("rathole", count, "rps"), 1.1, 1.3) for count in (32, 128)),
    *(
        Target(f"nginx → nginx: RPS, {count} connections", _small("nginx", count, "rps"), 1.4, 1.8)
        for count in (32, 128)
    ),
    Target("nginx → nginx: p50, 1 connection", _small("nginx", 1, "p50"), 1.0, more=False),
    Target("rathole: p50, 1 connection", _small("rathole", 1, "p50"), None, 1.0, more=False),
    Target("itself without bulk: p99 beside 4 downloads", _pair("beside bulk: us"), 3.0, 1.5, more=False),
    Target(
        "itself without bulk: p99 beside 4 downloads of 50 MB/s each",
        _pair("beside paced bulk: us"),
        3.0,
        1.5,
        more=False,
    ),
    Target("nginx → nginx: p99 beside 4 downloads", _beside("nginx"), 1.0, more=False),
    Target("rathole: 100 MB download", _bulk("rathole", "download"), 1.3, 2.0),
    Target("rathole: 100 MB upload", _bulk("rathole", "upload"), 1.3, 2.0),
    Target("rathole: 1 GiB download", _pair("1 GiB download"), 1.3, 2.0),
    Target("rathole: 1 GiB upload", _pair("1 GiB upload"), 1.3, 2.0),
    Target(
        "itself with 1 endpoint: CPU a request with 10,000 endpoints and 1,000 tunnels",
        _pair("among thousands"),
        1.1,
        more=False,
    ),
    Target("nginx → nginx with TLS: RPS, 32 connections, wss and https", _pair("TLS"), 1.3, 1.8),
]
