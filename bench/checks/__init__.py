"""The promises that are figures, one module an area. bench/promises runs them."""

from __future__ import annotations

from . import (
    bodies,
    cancels,
    certificates,
    crashes,
    floods,
    identity,
    neighbours,
    network,
    overload,
    python,
    restarts,
    scale,
    slow,
)
from .setup import Promise

PROMISES: list[Promise] = [
    *bodies.PROMISES,
    *neighbours.PROMISES,
    *crashes.PROMISES,
    *cancels.PROMISES,
    *floods.PROMISES,
    *identity.PROMISES,
    *network.PROMISES,
    *overload.PROMISES,
    *python.PROMISES,
    *restarts.PROMISES,
    *certificates.PROMISES,
    *scale.PROMISES,
    *slow.PROMISES,
]
