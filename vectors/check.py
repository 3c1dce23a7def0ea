"""Check every vector: `python vectors/check.py [FILE ...]`. See README.md.

Decodes each case with a reader of its own (anpx_reader.py, anpx_judge.py), verifies CRCs
and compares what came out with the case's `expect`. A CRC that is wrong in a case that
should decode is printed with the value it should have.
"""

import pathlib
import sys
import tomllib

from anpx_judge import DEFAULTS, Reassembly, Session, judge_version_1_frame
from anpx_reader import Refused, decode

HERE = pathlib.Path(__file__).resolve().parent
V1_FIELDS = ("type", "chunked", "request_id", "http_meta", "resp_meta", "body", "chunk_idx", "chunk_tot", "final_chunk")
V2_FIELDS = (
    "type", "stream", "end_stream", "upgrade", "informational", "method", "target", "scheme", "authority",
    "headers", "request_id", "client_addr", "protocol", "body", "status", "credit", "code", "message",
    "last_stream", "max_frame_body", "initial_window", "max_streams", "accepting",
)
FLAGS = ("chunked", "final_chunk", "end_stream", "upgrade", "informational")


def cases():
    """Every case of every file as (file name, case)."""
    for path in sorted(HERE.glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
            yield path.name, case


def unhex(text):
    """The bytes of a hex block: comments start at #, white space means nothing."""
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def check(name, case):
    """Check one case; raises AssertionError or Refused if it is wrong."""
    assert case["name"] and case["about"] and case["about"].endswith((".", "]")), "name and about"
    {
        "v1-golden.toml": _v1_frame, "v1-quirks.toml": _v1_frame, "v1-hostile.toml": _v1_frame,
        "v1-messages.toml": _v1_messages, "v1-control.toml": _v1_control, "v1-http.toml": _v1_http,
        "v2-golden.toml": _v2_frame, "v2-hostile.toml": _v2_hostile, "v2-session.toml": _v2_session,
    }[name](case)


def _same(got, expect, fields):
    for field in fields:
        have, want = got.get(field), expect.get(field)
        if field in FLAGS:
            have, want = bool(have), bool(want)
        if field == "body":
            have, want = have or b"", (want or "").encode("latin-1")
        assert have == want, f"{field} is {have!r}, expect says {want!r}"
    extra = set(expect) - set(fields) - {"effective"}
    assert not extra, f"expect has unknown fields {extra}"


def _refused(case, read, *args):
    """Run `read`; compare a refusal with expect.error. Returns what was read, or None."""
    error = case["expect"].get("error")
    try:
        got = read(*args)
    except Refused as refused:
        if error is None:
            raise
        assert (refused.kind, refused.rule) == (error["kind"], error["rule"]), f"{refused}, expect says {error}"
        return None
    assert error is None, f"accepted as {got}, expect says {error}"
    return got


def _v1_frame(case):
    got = _refused(case, judge_version_1_frame, unhex(case["hex"]), case.get("reader"))
    if got is not None:
        _same(got, case["expect"], V1_FIELDS)


def _v1_messages(case):
    session = Reassembly(case["reader"])
    frames = [unhex(frame) for frame in case["frames"]]

    def run():
        got = []
        for frame in frames:
            message = session.read(frame)
            if message:
                got.append(message)
        return got

    got = _refused(case, run) or []
    want = [dict(m, body=m["body"].encode("latin-1")) for m in case["expect"]["messages"]]
    assert got == want, f"{got} is not {want}"


def _v2_frame(case):
    frame = _refused(case, decode, unhex(case["hex"]), 2)
    _same(frame, case["expect"], V2_FIELDS)
    effective = case["expect"].get("effective")
    if effective:
        session = Session("gateway")
        session.read(unhex(case["hex"]))
        assert session.peer == {**DEFAULTS, **effective}, session.peer


def _v2_hostile(case):
    session = Session(case["reader"])
    session.peer = dict(DEFAULTS)
    if case["reader"] == "gateway":
        session.open("get")
    assert "error" in case["expect"], "a hostile case expects an error"
    _refused(case, session.read, unhex(case["hex"]))


def _v2_session(case):
    session = Session(case["reader"], case.get("initial_window", 65536))
    frames = [unhex(frame) for frame in case["frames"]]
    error = case["expect"].get("error")
    assert error or case["expect"]["accepted"]
    for frame in frames[:-1]:
        session.read(frame)
        if session.highest == 0:
            for kind in case.get("opened", []):
                session.open(kind)
    _refused(case, session.read, frames[-1])


def _v1_control(case):
    assert case["reader"] in ("gateway", "receiver")
    assert ("pong" in case["expect"]) != ("ignored" in case["expect"])


def _v1_http(case):
    direction = case["direction"]
    given, made = {
        "gateway-request": ("http", "http_meta"), "receiver-request": ("http_meta", "http"),
        "receiver-response": ("http", "resp_meta"), "gateway-response": ("resp_meta", "http"),
    }[direction]
    assert given in case and list(case["expect"]) == [made]
    for side in (case.get("http"), case["expect"].get("http")):
        if side:
            for name, value in side["headers"]:
                (name + value).encode("latin-1")


def main(argv):
    """Check the named files, or all; returns the exit code."""
    names = {pathlib.Path(arg).name for arg in argv}
    failed = count = 0
    seen = set()
    for name, case in cases():
        if names and name not in names:
            continue
        count += 1
        try:
            assert (name, case["name"]) not in seen, "the name is taken"
            seen.add((name, case["name"]))
            check(name, case)
        except (AssertionError, Refused, ValueError, KeyError) as error:
            failed += 1
            print(f"{name}: {case.get('name')}: {type(error).__name__}: {error}")
    print(f"{count} cases, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
