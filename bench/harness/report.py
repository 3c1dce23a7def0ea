"""The figures of a bench run, as Markdown and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .load import Small, median

#: Connections the small requests are measured at.
CONNECTIONS = (1, 32, 128)


@dataclass
class Result:
    """All samples of one subject. Rates in MB (10⁶ bytes) a second, memory in KiB by process."""

    label: str
    small: dict[int, list[Small]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    download: list[float] = field(default_factory=list)
    upload: list[float] = field(default_factory=list)
    peak_small: list[dict[str, int]] = field(default_factory=list)
    peak_bulk: list[dict[str, int]] = field(default_factory=list)

    def middle(self, connections: int) -> Small:
        """Medians at this number of connections."""
        return median(self.small[connections])


Results = dict[str, Result]
Row = list[str]


def markdown(facts: dict[str, str], results: Results) -> str:
    """Everything people read: the machine, the figures, the ratios, the goals."""
    parts = [facts_lines(facts)]
    for connections in CONNECTIONS:
        parts.append(f"### 12-byte answers, {connections} connection{'s' if connections > 1 else ''}")
        parts.append(table(["", "RPS", "p50", "p99", "CPU a request"], _small_rows(results, connections)))
    parts.append("### 100 MB bodies and memory")
    parts.append(
        table(["", "download", "upload", "peak memory, small requests", "peak memory, bulk"], _bulk_rows(results))
    )
    if "us" in results and len(results) > 1:
        parts.append("### anp-proxy as a ratio to each")
        parts.append(
            "RPS and MB/s: above 1 is faster than the peer. p50, CPU and memory: below 1 is less than the peer."
        )
        parts.append(table(["anp-proxy to", *(name for name, _ in _RATIOS)], _ratio_rows(results)))
    return "\n\n".join(parts) + "\n"


def write_json(
    path: Path, facts: dict[str, str], results: Results, pairs: dict[str, list[tuple[float, float]]]
) -> None:
    """Every sample, for machines."""
    subjects = {key: asdict(result) for key, result in results.items()}
    path.write_text(json.dumps({"machine": facts, "subjects": subjects, "pairs": pairs}, indent=2) + "\n")


def facts_lines(facts: dict[str, str]) -> str:
    """The machine, a line each."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def table(header: Row, rows: list[Row]) -> str:
    """A Markdown table, its figures to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _small_rows(results: Results, connections: int) -> list[Row]:
    rows = []
    for result in results.values():
        figures = result.middle(connections)
        cpu = f"{figures.cpu:.1f} µs" if figures.cpu is not None else ""
        rows.append([result.label, f"{figures.rps:,.0f}", time_text(figures.p50), time_text(figures.p99), cpu])
    return rows


def _bulk_rows(results: Results) -> list[Row]:
    return [
        [
            result.label,
            f"{statistics.median(result.download):,.0f} MB/s",
            f"{statistics.median(result.upload):,.0f} MB/s",
            _memory(result.peak_small),
            _memory(result.peak_bulk),
        ]
        for result in results.values()
    ]


def time_text(microseconds: float) -> str:
    """A time with its unit."""
    return f"{microseconds:.0f} µs" if microseconds < 10_000 else f"{microseconds / 1000:.1f} ms"


def _memory(samples: list[dict[str, int]]) -> str:
    """The round with the median sum, and its parts."""
    if not samples or not samples[0]:
        return ""
    sample = sorted(samples, key=lambda parts: sum(parts.values()))[len(samples) // 2]
    parts = " + ".join(f"{kib / 1024:.1f}" for kib in sample.values())
    return f"{sum(sample.values()) / 1024:.1f} MiB ({parts})"


def _peak(samples: list[dict[str, int]]) -> float | None:
    sums = [sum(parts.values()) for parts in samples]
    return statistics.median(sums) or None


_RATIOS: list[tuple[str, Callable[[Result], float | None]]] = [
    *((f"RPS {count}", lambda result, count=count: result.middle(count).rps) for count in CONNECTIONS),
    ("p50 1", lambda result: result.middle(1).p50),
    *((f"CPU {count}", lambda result, count=count: result.middle(count).cpu) for count in CONNECTIONS),
    ("download", lambda result: statistics.median(result.download)),
    ("upload", lambda result: statistics.median(result.upload)),
    ("memory, small", lambda result: _peak(result.peak_small)),
    ("memory, bulk", lambda result: _peak(result.peak_bulk)),
]


def _ratio_rows(results: Results) -> list[Row]:
    rows = []
    for key, result in results.items():
        if key != "us":
            cells = []
            for _, figure in _RATIOS:
                ours, theirs = figure(results["us"]), figure(result)
                cells.append(f"{ours / theirs:.2f}" if ours and theirs else "")
            rows.append([result.label, *cells])
    return rows
