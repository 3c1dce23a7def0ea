"""What a session makes of decoded frames: the rules beyond one frame's bytes.

Written from docs/protocol.md to check the vectors; shares no code with the product.
"""

import re

from anpx_reader import Refused, decode, meta

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
LOWER_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+\Z")
REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{1,64}\Z")
TARGET = re.compile(r"(/[!-~\x80-\xff]*|\*)\Z")
NEVER = {
    "host", "connection", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade",
    "proxy-connection",
}
DEFAULTS = {"max_frame_body": 65536, "initial_window": 65536, "max_streams": 1024, "accepting": 1}
RANGES = {
    "max_frame_body": (4096, 1 << 20), "initial_window": (16384, 16 << 20), "max_streams": (1, 65535),
}


def judge_version_1_frame(message, reader):
    """Read one version-1 frame as `reader`; returns its fields with the JSON parsed."""
    frame = decode(message, 1)
    parsed = meta(frame)
    if parsed is None:
        if frame["type"] != "error" and not frame["chunked"]:
            raise Refused("stream", "meta")
        return frame
    if frame["type"] == "request":
        if not isinstance(parsed.get("method"), str) or not isinstance(parsed.get("path"), str):
            raise Refused("stream", "meta")
        if not TOKEN.match(parsed["method"]):
            raise Refused("stream", "method")
        parsed.setdefault("query", [])
    else:
        status = parsed.get("status")
        if not isinstance(status, int) or isinstance(status, bool):
            raise Refused("stream", "meta")
        if not 200 <= status <= 599:
            raise Refused("stream", "status")
    for name, value in parsed.setdefault("headers", []):
        if not TOKEN.match(name):
            raise Refused("stream", "header-name")
        if set(value) & set("\r\n\0"):
            raise Refused("stream", "header-value")
    frame["http_meta" if frame["type"] == "request" else "resp_meta"] = parsed
    return frame


class Reassembly:
    """Version-1 messages put together from chunks; one object a session."""

    def __init__(self, reader):
        self.reader = reader
        self.open = {}
        self.ended = set()

    def read(self, message):
        """Read one frame; returns the message that became whole, or None."""
        frame = judge_version_1_frame(message, self.reader)
        rid = frame["request_id"]
        name = "http_meta" if frame["type"] == "request" else "resp_meta"
        if rid in self.ended:
            return None
        if not frame["chunked"]:
            return {"request_id": rid, name: frame[name], "body": frame.get("body", b"")}
        part = self.open.setdefault(rid, {"next": 0, "tot": None, "meta": None, "body": b""})
        try:
            whole = self._chunk(part, frame, name)
        except Refused:
            self._end(rid)
            raise
        if not whole:
            return None
        self._end(rid)
        return {"request_id": rid, name: part["meta"], "body": part["body"]}

    def _end(self, rid):
        self.ended.add(rid)
        self.open.pop(rid, None)

    @staticmethod
    def _chunk(part, frame, name):
        index, total = frame.get("chunk_idx"), frame.get("chunk_tot")
        if index is None or index != part["next"]:
            raise Refused("stream", "chunk-order")
        if total is not None:
            if part["tot"] not in (None, total):
                raise Refused("stream", "chunk-total")
            part["tot"] = total
        if part["tot"] is not None and index >= part["tot"]:
            raise Refused("stream", "chunk-total")
        if name == "http_meta" and index == 0 and name not in frame:
            raise Refused("stream", "meta")
        part["next"] += 1
        part["body"] += frame.get("body", b"")
        part["meta"] = part["meta"] or frame.get(name)
        final = frame.get("final_chunk", False)
        if final and part["tot"] is not None and part["next"] != part["tot"]:
            raise Refused("stream", "chunk-total")
        if not final and part["next"] != part["tot"]:
            return False
        if part["meta"] is None:
            raise Refused("stream", "meta")
        return True


class Session:
    """A version-2 session of role `reader`; `read` raises `Refused` for what it must refuse."""

    def __init__(self, reader, initial_window=65536):
        self.reader = reader
        self.window = initial_window
        self.peer = None
        self.streams = {}
        self.highest = 0

    def open(self, kind):
        """Open a stream as a gateway under test does."""
        self.highest += 1
        self._add(self.highest, head=kind == "head", upgrade=kind == "upgrade", ours=kind in ("get", "head"))

    def _add(self, sid, head=False, upgrade=False, ours=False):
        self.streams[sid] = {
            "head": head, "upgrade": upgrade, "ours_ended": ours, "ended": False, "final": None,
            "informational": 0, "length": None, "got": 0, "recv": self.window,
            "send": self.peer["initial_window"], "closed": False,
        }

    def read(self, message):
        """Read one message from the peer; returns its fields."""
        frame = decode(message, 2)
        kind, sid = frame["type"], frame["stream"]
        if self.peer is None and kind != "settings":
            raise Refused("session", "settings", "is not the first frame")
        if kind == "unknown":
            return frame
        if (sid == 0) != (kind in ("settings", "goaway")):
            raise Refused("session", "stream-zero")
        if kind == ("request" if self.reader == "gateway" else "response"):
            raise Refused("session", "wrong-side")
        if kind == "settings":
            self._settings(frame)
        elif kind == "request":
            self._request(frame)
        elif kind != "goaway":
            self._on_stream(frame)
        return frame

    def _settings(self, frame):
        values = {k: v for k, v in frame.items() if k in DEFAULTS}
        if self.peer is not None:
            if set(values) - {"accepting"}:
                raise Refused("session", "settings", "a later one holds accepting only")
            self.peer.update(values)
            return
        for name, (low, high) in RANGES.items():
            if name in values and not low <= values[name] <= high:
                raise Refused("session", "settings", name)
        self.peer = {**DEFAULTS, **values}

    def _request(self, frame):
        sid = frame["stream"]
        if sid <= self.highest:
            raise Refused("session", "stream-order")
        self.highest = sid
        for tag in ("method", "target", "scheme", "authority", "headers", "request_id"):
            if tag not in frame:
                raise Refused("stream", "missing-tag", tag)
        if frame["upgrade"]:
            if "protocol" not in frame:
                raise Refused("stream", "missing-tag", "protocol")
            if frame["end_stream"] or frame.get("body"):
                raise Refused("stream", "upgrade")
            if frame["protocol"] == "websocket" and frame["method"] != "GET":
                raise Refused("stream", "upgrade")
        for tag, pattern in (("method", TOKEN), ("target", TARGET), ("request_id", REQUEST_ID)):
            if not pattern.match(frame[tag]):
                raise Refused("stream", tag.replace("_", "-"))
        _check_headers(frame["headers"])
        self._add(sid, upgrade=frame["upgrade"])
        state = self.streams[sid]
        state["final"] = "request"
        self._length(state, frame)
        self._bytes(state, frame)

    def _on_stream(self, frame):
        kind, sid = frame["type"], frame["stream"]
        state = self.streams.get(sid)
        if sid > self.highest:
            raise Refused("session", "idle")
        if kind == "window":
            if "credit" not in frame:
                raise Refused("stream", "missing-tag")
            if frame["credit"] == 0:
                raise Refused("session", "window")
        if state is None or state["closed"]:
            # The late allowance is what the reader's own RESETs left, and here it sends none.
            if frame.get("body"):
                raise Refused("session", "late")
            return
        if kind == "window":
            state["send"] += frame["credit"]
            if state["send"] > 2**31 - 1:
                raise Refused("session", "window")
        elif kind == "reset":
            state["closed"] = True
        elif state["ended"]:
            raise Refused("stream", "after-end")
        elif kind == "response":
            self._response(state, frame)
        elif kind == "trailers":
            self._trailers(state, frame)
        else:
            if state["final"] is None:
                raise Refused("stream", "order")
            self._bytes(state, frame)

    def _response(self, state, frame):
        for tag in ("status", "headers"):
            if tag not in frame:
                raise Refused("stream", "missing-tag", tag)
        status = frame["status"]
        _check_headers(frame["headers"])
        if state["final"] is not None:
            raise Refused("stream", "order")
        if frame["informational"]:
            if status != 100 and not 102 <= status <= 199:
                raise Refused("stream", "status")
            state["informational"] += 1
            if frame["end_stream"] or frame.get("body") or state["informational"] > 16:
                raise Refused("stream", "informational")
            return
        if not 200 <= status <= 599 and not (status == 101 and state["upgrade"]):
            raise Refused("stream", "status")
        state["final"] = status
        if not state["head"] and status != 304:
            self._length(state, frame)
        self._bytes(state, frame)

    @staticmethod
    def _trailers(state, frame):
        if not frame["end_stream"]:
            raise Refused("stream", "trailers")
        if state["final"] is None:
            raise Refused("stream", "order")
        if state["final"] == 101:
            raise Refused("stream", "upgrade")
        _check_headers(frame["headers"])
        state["ended"] = True
        state["closed"] = state["ours_ended"]

    @staticmethod
    def _length(state, frame):
        lengths = {value for name, value in frame["headers"] if name == "content-length"}
        if lengths:
            state["length"] = int(lengths.pop())

    @staticmethod
    def _bytes(state, frame):
        count = len(frame.get("body", b""))
        state["recv"] -= count
        state["got"] += count
        if state["recv"] < 0:
            raise Refused("session", "window")
        wrong = state["length"] is not None and (
            state["got"] > state["length"] or frame["end_stream"] and state["got"] < state["length"]
        )
        if wrong:
            raise Refused("stream", "content-length")
        if frame["end_stream"]:
            state["ended"] = True
            state["closed"] = state["ours_ended"]


def _check_headers(fields):
    for name, value in fields:
        if not LOWER_TOKEN.match(name) or name in NEVER:
            raise Refused("stream", "header-name", repr(name))
        if set(value) & set("\r\n\0"):
            raise Refused("stream", "header-value")
