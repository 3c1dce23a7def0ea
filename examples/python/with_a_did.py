"""Run it: `make wheel && pip install python/dist/*.whl && python examples/python/with_a_did.py wss://gateway.example:8765 me/did.json me/key.pem`

The package is not on PyPI yet; `make wheel` builds it.

An agent that proves who it is: the gateway lets it serve what belongs to its DID. The two files are made by
`anp-proxy did new`; docs/identity.md tells how a gateway takes them.
"""

import asyncio
import sys

import anp_proxy


async def app(scope, receive, send):
    """Answer every request with the public path that it came by."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"you asked for {scope['path']}\n".encode()})


async def main(gateway: str, did: str, key: str) -> None:
    """Serve until the gateway gives up on us, or Ctrl-C."""
    async with anp_proxy.Receiver(app, gateway, did=did, key=key, lifespan="off") as receiver:
        print("reached at", *receiver.urls, flush=True)
        await receiver.wait()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: with_a_did.py GATEWAY DID_DOCUMENT KEY")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
    except (anp_proxy.ReceiverFailed, ValueError) as error:
        sys.exit(f"error: {error}")
