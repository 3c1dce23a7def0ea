"""Every case in every column: direct and through the tunnel, HTTP/1.1 and HTTP/2, on version 2.

What is expected never depends on the way, so an app cannot tell whether it is behind a tunnel.
"""

import re

import pytest
import pytest_asyncio

from binary import ROOT, soon

from . import cases_bodies, cases_flow, cases_http1, cases_requests, cases_responses, cases_upgrades  # noqa: F401
from .case import CASES
from .column import Table

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEAST = 80
"""Cases that the suite is to have."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table():
    """The origin and the tunnels to it, for all cases."""
    async with Table() as table:
        yield table


@pytest.mark.parametrize(("case", "column"), [
    pytest.param(case, column, id=f"{case.name}-{column}") for case in CASES for column in case.columns()])
async def test_case(table, case, column):
    column = await table.column(column)
    await soon(case.run(column))
    assert not table.origin.strangers


async def test_there_are_cases_enough():
    both = [case for case in CASES if case.tunnel is None]
    assert len(both) >= LEAST


async def test_the_table_of_the_documents_names_every_case():
    table = (ROOT / "docs/http.md").read_text().partition("\n## What shows it\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {case.name.partition("[")[0] for case in CASES}
