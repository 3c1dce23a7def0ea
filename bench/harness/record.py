"""A run of record: a part of a document that each recorded run replaces."""

from __future__ import annotations

import datetime
import shlex
import sys
from pathlib import Path

from . import machine


def head(program: str, *facts: str) -> list[str]:
    """Markdown lines that say when, how and on what the run was made: these facts of the machine, or all."""
    found = machine.facts()
    lines = [
        f"- date: {datetime.date.today().isoformat()}",
        f"- command: `{shlex.join([program, *sys.argv[1:]])}`",
    ]
    return lines + [f"- {name}: {found[name]}" for name in facts or found]


def replace(path: Path, heading: str, lines: list[str]) -> None:
    """Puts the lines under the heading of that name in place of what is there up to the next of its level, or at
    the end."""
    before, _, after = path.read_text().partition(f"\n{heading}\n")
    level = heading.split()[0]
    following = after.find(f"\n{level} ")
    rest = after[following:] if following >= 0 else ""
    text = "\n".join(lines).rstrip()
    path.write_text(f"{before.rstrip()}\n\n{heading}\n\n{text}\n{rest}")
