"""How a case is written down: a function, the line of HTTP's rules it shows, and where it can run."""

from dataclasses import dataclass

from .column import NAMES


@dataclass
class Case:
    """`caller` and `app` are the versions it can be told in, None where both; `tunnel` is False where
    it is about a plain origin only, True where about the tunnel only. With `half_close` the caller
    ends one direction of its connection, unless that is HTTP/2."""

    run: object
    name: str
    caller: int | None = None
    app: int | None = None
    tunnel: bool | None = None
    half_close: bool = False
    because: str = ""

    def columns(self):
        """The columns it runs in."""
        for name in NAMES:
            way, caller, app = name.split("-")
            if (self.caller in (None, int(caller[1])) and self.app in (None, int(app[1]))
                    and self.tunnel in (None, way != "direct")
                    and not (self.half_close and (way, caller) == ("tls", "h1"))):
                yield name


CASES = []


def case(each=None, **where):
    """Registers a case; with `each`, one for every item, which is its second argument.

    What narrows it to some columns is said in `because`.
    """
    assert not where or where.get("because"), "say why it does not run everywhere"

    def register(function):
        assert function.__doc__, f"{function.__name__} names no line"
        if each is None:
            CASES.append(Case(function, function.__name__, **where))
            return function
        for item in each:
            def run(column, item=item):
                return function(column, item)

            label = item if isinstance(item, str | int) else item[0]
            CASES.append(Case(run, f"{function.__name__}[{label}]", **where))
        return function

    return register
