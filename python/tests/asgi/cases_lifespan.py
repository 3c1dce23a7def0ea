"""Lifespans around a request."""

from .case import Case, add, answer, ask, request
from .servers import Refused


def lifespan_case(name, startup, shutdown="complete", expected=None, mode="on", **events):
    """A case of an app whose startup and shutdown end as they are called; `raise` raises instead."""

    def make(seen):
        async def app(scope, receive, send):
            if scope["type"] == "http":
                seen.append(dict(scope.get("state", {})))
                scope.setdefault("state", {})["mine"] = True
                return await answer(send, b"served")
            for step, end in (("startup", startup), ("shutdown", shutdown)):
                event = await receive()
                seen.append(event["type"])
                if end == "raise":
                    raise ValueError("on purpose")
                if step == "startup":
                    scope["state"]["pool"] = "shared"
                await send({"type": f"lifespan.{step}.{end}", **events})

        async def caller(place):
            if isinstance(place, Refused):
                return "refused"
            got = [(await ask(place, request())).body for _ in range(2)]
            await place.stop()
            return got

        return app, caller

    add(Case(f"lifespan_{name}", make, expected, {"lifespan": mode}))


STATE = {"pool": "shared"}
SERVED = [b"served", b"served"]
WHOLE = ["lifespan.startup", STATE, STATE, "lifespan.shutdown"]
lifespan_case("whole", "complete", expected=(WHOLE, SERVED))
lifespan_case("whole_and_auto", "complete", expected=(WHOLE, SERVED), mode="auto")
lifespan_case("startup_fails", "failed", expected=(["lifespan.startup"], "refused"), message="no database")
lifespan_case("startup_fails_and_auto", "failed", expected=(["lifespan.startup"], "refused"), mode="auto", message="no database")
lifespan_case("startup_raises", "raise", expected=(["lifespan.startup"], "refused"))
lifespan_case("startup_raises_and_auto", "raise", expected=(["lifespan.startup", {}, {}], SERVED), mode="auto")
lifespan_case("shutdown_fails", "complete", "failed", expected=(WHOLE, SERVED))
lifespan_case("shutdown_raises", "complete", "raise", expected=(WHOLE, SERVED))
lifespan_case("off", "complete", expected=([{}, {}], SERVED), mode="off")
