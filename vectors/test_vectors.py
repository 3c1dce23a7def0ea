"""Every vector holds what it says; run by pytest."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from check import cases, check  # noqa: E402

CASES = list(cases())


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{n[:-5]}/{c['name']}" for n, c in CASES])
def test_vector(name, case):
    check(name, case)


def test_names_are_unique_in_a_file():
    names = [(name, case["name"]) for name, case in CASES]
    assert len(names) == len(set(names))
