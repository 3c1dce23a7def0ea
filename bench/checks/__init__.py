"""The promises that are figures, one module an area. bench/promises runs them."""

from __future__ import annotations

from . import bodies, cancels, crashes, floods, identity, neighbours, network, overload, restarts, scale
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
    *restarts.PROMISES,
    *scale.PROMISES,
]
