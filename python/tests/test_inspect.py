"""`anp-proxy inspect` on every vector that is one frame: what it accepts, and what it refuses."""

import pathlib
import subprocess
import tomllib

import pytest

import binary

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors"
# A stream of frames is what inspect reads, so two joined frames are two.
CASES = [
    pytest.param(case, id=f"{path.stem}/{case['name']}")
    for path in sorted(VECTORS.glob("*.toml"))
    for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    if "hex" in case and case["name"] != "two-frames"
]


@pytest.mark.parametrize("case", CASES)
def test_inspect(case):
    data = bytes.fromhex("".join(line.split("#")[0] for line in case["hex"].splitlines()))
    kind = case["expect"].get("error", {}).get("kind")
    run = subprocess.run([binary.PATH, "inspect", "-"], input=data, capture_output=True, timeout=binary.PATIENCE)
    if kind is None:
        assert run.returncode == 0, run.stdout.decode()
    elif kind == "frame":
        assert run.returncode not in (0, 101), run.stdout.decode()
    else:
        assert run.returncode in (0, 1), run.stderr.decode()
