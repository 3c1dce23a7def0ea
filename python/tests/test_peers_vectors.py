"""The Python peers against the vectors: mapping to and from HTTP, and version-1 frames."""

import pathlib
import struct
import tomllib

import pytest

from peers import frames, mapping

WRITTEN = (0x01, 0x02, 0x04, 0x03, 0x0A, 0x0B, 0x0C)
"""The order in which the peers write tags."""
VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors"


def cases(name):
    found = tomllib.loads((VECTORS / name).read_text(encoding="utf-8"))["case"]
    return pytest.mark.parametrize("case", found, ids=[case["name"] for case in found])


def unhex(text):
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def raw(fields):
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]


def by_name(fields):
    """Order between different names is not compared."""
    return sorted(((name, value) for name, value in fields), key=lambda field: field[0].lower())


@cases("v1-http.toml")
def test_mapping(case):
    expect = case["expect"]
    body = case.get("body", "").encode("latin-1")
    if case["direction"] == "gateway-request":
        http, want = case["http"], expect["http_meta"]
        got = mapping.request_to_meta(http["method"], http["target"], raw(http["headers"]))
        assert (got["method"], got["path"]) == (want["method"], want["path"])
        assert by_name(got["query"]) == by_name(map(tuple, want["query"]))
    elif case["direction"] == "receiver-request":
        want = expect["http"]
        method, target, fields = mapping.meta_to_request(case["http_meta"])
        assert (method, target) == (want["method"], want["target"])
        assert want.get("content_length", 0) == len(body)
        assert by_name(fields) == by_name(raw(want["headers"]))
        return
    elif case["direction"] == "receiver-response":
        http, want = case["http"], expect["resp_meta"]
        got = mapping.response_to_meta(case["method"], http["status"], raw(http["headers"]))
        assert got["status"] == want["status"]
    else:
        want = expect["http"]
        status, fields = mapping.meta_to_response(case["method"], case["resp_meta"])
        assert status == want["status"]
        assert want.get("content_length", 0) == len(body)
        assert by_name(fields) == by_name(raw(want["headers"]))
        return
    assert by_name(got["headers"]) == by_name(map(tuple, want["headers"]))


@cases("v1-golden.toml")
def test_golden_frames(case):
    data, expect = unhex(case["hex"]), case["expect"]
    frame = frames.decode(data, strict_tags=True)
    assert (frame.request_id, frame.chunked) == (expect.get("request_id"), expect.get("chunked", False))
    assert (frame.index, frame.total) == (expect.get("chunk_idx"), expect.get("chunk_tot"))
    assert frame.final == expect.get("final_chunk", False)
    assert frame.body == expect.get("body", "").encode("latin-1")
    assert frames.decode(frames.encode(frame)).body == frame.body
    if "json" not in case["name"] and frame.tags == [tag for tag in WRITTEN if tag in frame.tags]:
        assert frames.encode(frame) == data


@cases("v1-quirks.toml")
def test_quirks_decode(case):
    frame = frames.decode(unhex(case["hex"]))
    assert frame.final == case["expect"].get("final_chunk", False)
    assert frame.body == case["expect"].get("body", "").encode("latin-1")


@cases("v1-hostile.toml")
def test_hostile_frames(case):
    error = case["expect"]["error"]
    if error["kind"] == "frame" and error["rule"] != "request-id":
        with pytest.raises((frames.FrameError, ValueError, struct.error)):
            frames.decode(unhex(case["hex"]))


@cases("v1-messages.toml")
def test_messages(case):
    session, whole = frames.Reassembly(), []
    blocks = [unhex(block) for block in case["frames"]]
    expected = case["expect"]["messages"]
    try:
        for block in blocks:
            message = session.read(frames.decode(block))
            if message and message.meta:
                whole.append(message)
    except frames.FrameError:
        assert case["expect"]["error"]["rule"] in ("chunk-order", "chunk-total")
    if case["expect"].get("error", {}).get("rule") != "meta":
        assert [(m.request_id, m.body) for m in whole] == [
            (m["request_id"], m["body"].encode("latin-1")) for m in expected
        ]
