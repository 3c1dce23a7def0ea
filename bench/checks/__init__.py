"""The promises that are figures, one module an area. bench/promises runs them."""

from __future__ import annotations

from . import bodies, cancels, crashes, neighbours
from .setup import Promise

PROMISES: list[Promise] = [*bodies.PROMISES, *neighbours.PROMISES, *crashes.PROMISES, *cancels.PROMISES]
