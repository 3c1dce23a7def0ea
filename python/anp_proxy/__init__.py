"""ANP Proxy: gives an app that nothing can reach a public HTTP address, from within its own process.

    import anp_proxy

    async def app(scope, receive, send):   # or a FastAPI, Starlette, Django … app
        ...

    anp_proxy.run(app, gateway="ws://gateway.example:8765")

`serve` is the same for a program that has an event loop; `Receiver` and `Gateway` are what both are
made of. `anp-proxy` on the command line has every command of the `anp-proxy` program, and
`--app module:attr` for `receiver` and `dev`.
"""

from ._core import __version__
from ._gateway import Gateway, GatewayFailed
from ._lifespan import LifespanFailed
from ._receiver import Receiver, ReceiverFailed, Stats, run, serve
from ._wsgi import WSGI

__all__ = [
    "WSGI",
    "Gateway",
    "GatewayFailed",
    "LifespanFailed",
    "Receiver",
    "ReceiverFailed",
    "Stats",
    "__version__",
    "run",
    "serve",
]
