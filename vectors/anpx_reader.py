"""A small reader of ANPX frames, written from docs/protocol.md to check the vectors.

It shares no code with the product. It reads, it does not write, and it prefers plain
code over speed. `decode` turns one message into a dict of fields or raises `Refused`.
"""

import json
import struct
import zlib


class Refused(Exception):
    """Bytes a reader must refuse: `kind` is frame, session or stream, `rule` names why."""

    def __init__(self, kind, rule, detail=""):
        super().__init__(f"{kind}/{rule} {detail}".strip())
        self.kind = kind
        self.rule = rule


HEADER = 24
V1_TYPES = {0x01: "request", 0x02: "response", 0xFF: "error"}
V2_TYPES = {
    0x01: "request", 0x02: "response", 0x03: "data", 0x04: "trailers",
    0x05: "window", 0x06: "reset", 0x07: "settings", 0x08: "goaway",
}
V1_TAGS = {
    0x01: "request_id", 0x02: "http_meta", 0x03: "body", 0x04: "resp_meta",
    0x0A: "chunk_idx", 0x0B: "chunk_tot", 0x0C: "final_chunk",
}
V2_TAGS = {
    0x01: "request_id", 0x03: "body", 0x10: "method", 0x11: "target", 0x12: "authority",
    0x13: "scheme", 0x14: "headers", 0x15: "status", 0x16: "protocol", 0x17: "client_addr",
    0x20: "credit", 0x21: "code", 0x22: "message", 0x23: "last_stream",
    0x30: "max_frame_body", 0x31: "initial_window", 0x32: "max_streams", 0x33: "accepting",
}
V2_SIZES = {
    "status": 2, "credit": 4, "code": 4, "last_stream": 4, "max_frame_body": 4,
    "initial_window": 4, "max_streams": 4, "accepting": 1,
}


def decode(message, version):
    """Decode one message on a session of `version`; `Refused` is raised with kind frame."""
    if len(message) < HEADER:
        raise Refused("frame", "length", f"{len(message)} bytes")
    magic, ver, kind, flags, _, total, header_crc, body_crc, last = struct.unpack(
        ">4sBBBBIIII", message[:HEADER]
    )
    if magic != b"ANPX":
        raise Refused("frame", "magic")
    if ver not in (1, 2):
        raise Refused("frame", "version", str(ver))
    if ver != version:
        raise Refused("session", "version", f"{ver} on a version-{version} session")
    covered = message[:12] + (message[16:24] if ver == 2 else b"")
    if zlib.crc32(covered) != header_crc:
        raise Refused("frame", "header-crc", f"is {header_crc:08X}, should be {zlib.crc32(covered):08X}")
    if total != len(message):
        raise Refused("frame", "length", f"says {total}, is {len(message)}")
    body = message[HEADER:]
    if zlib.crc32(body) != body_crc:
        raise Refused("frame", "body-crc", f"is {body_crc:08X}, should be {zlib.crc32(body):08X}")
    if ver == 1:
        return _version_1(kind, flags, body)
    return _version_2(kind, flags, last, body)


def _tlvs(body):
    at = 0
    while at < len(body):
        if len(body) - at < 5:
            raise Refused("frame", "tlv", "no room for tag and length")
        tag, length = struct.unpack_from(">BI", body, at)
        at += 5
        if length > len(body) - at:
            raise Refused("frame", "tlv", f"tag {tag:02X} says {length}, {len(body) - at} left")
        yield tag, body[at : at + length]
        at += length


def _version_1(kind, flags, body):
    if kind not in V1_TYPES:
        raise Refused("frame", "type", f"{kind:02X}")
    frame = {"type": V1_TYPES[kind], "chunked": bool(flags & 1)}
    for tag, value in _tlvs(body):
        name = V1_TAGS.get(tag)
        if name is None or name in frame:
            continue
        if name == "request_id":
            try:
                value = value.decode("utf-8")
            except UnicodeDecodeError:
                raise Refused("frame", "request-id") from None
        elif name in ("chunk_idx", "chunk_tot"):
            if len(value) != 4:
                raise Refused("frame", "tag-size", name)
            value = int.from_bytes(value, "big")
        elif name == "final_chunk":
            if len(value) not in (1, 4):
                raise Refused("frame", "tag-size", name)
            value = int.from_bytes(value, "big") == 1
        frame[name] = value
    if "request_id" not in frame and frame["type"] != "error":
        raise Refused("frame", "request-id")
    return frame


def _version_2(kind, flags, stream, body):
    frame = {
        "type": V2_TYPES.get(kind, "unknown"), "stream": stream, "end_stream": bool(flags & 2),
        "upgrade": bool(flags & 4), "informational": bool(flags & 8),
    }
    fields = {}
    for tag, value in _tlvs(body):
        name = V2_TAGS.get(tag)
        if name is None:
            continue
        if name in fields:
            raise Refused("frame", "repeated-tag", name)
        size = V2_SIZES.get(name)
        if size is not None:
            if len(value) != size:
                raise Refused("frame", "tag-size", f"{name} has {len(value)} bytes")
            value = int.from_bytes(value, "big")
        elif name == "headers":
            value = _header_fields(value)
        elif name != "body":
            value = value.decode("latin-1")
        fields[name] = value
    if frame["type"] != "unknown":
        frame.update(fields)
    return frame


def _header_fields(value):
    fields, at = [], 0
    while at < len(value):
        pair = []
        for _ in range(2):
            if len(value) - at < 2:
                raise Refused("frame", "headers")
            (length,) = struct.unpack_from(">H", value, at)
            at += 2
            if length > len(value) - at:
                raise Refused("frame", "headers")
            pair.append(value[at : at + length].decode("latin-1"))
            at += length
        fields.append(pair)
    return fields




def meta(frame):
    """The JSON of a version-1 frame as a dict, `headers` and `query` as lists of pairs, or None."""
    name = {"request": "http_meta", "response": "resp_meta"}.get(frame["type"])
    if name is None or name not in frame:
        return None
    try:
        outer = json.loads(frame[name].decode("utf-8"), object_pairs_hook=pairs_hook)
    except (ValueError, RecursionError):
        raise Refused("stream", "meta") from None
    if not isinstance(outer, Object):
        raise Refused("stream", "meta")
    read = {}
    for key, value in outer:
        if key in ("headers", "query"):
            if not isinstance(value, Object):
                raise Refused("stream", "meta")
            read[key] = [[k, v] for k, v in value]
        elif key in ("method", "path", "status", "reason"):
            read[key] = value
    return read


class Object(list):
    """A JSON object as a list of pairs, apart from a JSON array."""


def pairs_hook(items):
    """For `json.loads`: keeps every member of an object, in order."""
    return Object(items)
