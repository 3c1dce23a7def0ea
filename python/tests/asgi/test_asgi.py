"""The same apps by uvicorn and in the receiver's process: the same is seen, or the difference is listed."""

import pytest

from . import (  # noqa: F401
    cases_lifespan,
    cases_requests,
    cases_responses,
    cases_scope,
    cases_websocket,
)
from .case import CASES
from .differences import DIFFERENCES
from .servers import SERVERS, Refused

async def observe(case, server):
    """What app and caller see of a case at one of the servers."""
    seen = []
    app, caller = case.make(seen)
    try:
        async with SERVERS[server](app, **case.settings) as place:
            got = await caller(place)
    except Refused as refused:
        got = await caller(refused)
    return seen, got


@pytest.mark.asyncio
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", CASES)
async def test_case(name, server):
    case = CASES[name]
    difference = DIFFERENCES.get((name, server))
    expected = difference.sees if difference else case.expected
    assert await observe(case, server) == (list(expected[0]), expected[1])


def test_every_difference_is_one_of_a_case_and_says_why():
    for (name, server), difference in DIFFERENCES.items():
        assert name in CASES and server in SERVERS, name
        assert difference.why.endswith(".") and difference.sees != CASES[name].expected, name


def test_there_are_enough_cases():
    assert len(CASES) >= 80
