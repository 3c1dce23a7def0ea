"""Version-1 frames: encode, decode, split into chunks, put together (protocol.md 2.1, 2.2)."""

import json
import struct
import uuid
import zlib
from dataclasses import dataclass, field

REQUEST, RESPONSE, ERROR = 0x01, 0x02, 0xFF
REQUEST_ID, HTTP_META, HTTP_BODY, RESP_META = 0x01, 0x02, 0x03, 0x04
CHUNK_IDX, CHUNK_TOT, FINAL_CHUNK = 0x0A, 0x0B, 0x0C
KNOWN = {REQUEST_ID, HTTP_META, HTTP_BODY, RESP_META, CHUNK_IDX, CHUNK_TOT, FINAL_CHUNK}
CHUNKED = 0x01
HEADER = struct.Struct(">4sBBBBIIII")
CHUNK_SIZE = 64 * 1024


class FrameError(Exception):
    """The bytes are no version-1 frame, or the frame breaks its message."""


@dataclass
class Frame:
    """One frame, decoded.

    `meta` is the JSON of http_meta or resp_meta, with `headers` and `query` as lists of
    (name, value) in the order of the object.
    """

    kind: int
    request_id: str | None = None
    chunked: bool = False
    meta: dict | None = None
    body: bytes = b""
    index: int | None = None
    total: int | None = None
    final: bool = False
    tags: list = field(default_factory=list)
    extra: list = field(default_factory=list)
    """More TLVs to write behind request_id, as (tag, value)."""


def _to_json(meta):
    plain = {key: dict(value) if key in ("headers", "query") else value for key, value in meta.items()}
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode()


def _from_json(value):
    try:
        meta = json.loads(value)
        return {key: list(part.items()) if key in ("headers", "query") else part for key, part in meta.items()}
    except (ValueError, AttributeError) as error:
        raise FrameError(f"meta: {error}") from None


def _tlv(tag, value):
    return struct.pack(">BI", tag, len(value)) + value


def encode(frame, final_width=1):
    """The bytes of `frame`; `final_width` is 1 or 4 bytes of final_chunk."""
    parts = []
    if frame.request_id is not None:
        parts.append(_tlv(REQUEST_ID, frame.request_id.encode()))
    parts += [_tlv(tag, value) for tag, value in frame.extra]
    if frame.meta is not None:
        tag = HTTP_META if frame.kind == REQUEST else RESP_META
        parts.append(_tlv(tag, _to_json(frame.meta)))
    if frame.body:
        parts.append(_tlv(HTTP_BODY, frame.body))
    if frame.index is not None:
        parts.append(_tlv(CHUNK_IDX, struct.pack(">I", frame.index)))
    if frame.total is not None:
        parts.append(_tlv(CHUNK_TOT, struct.pack(">I", frame.total)))
    if frame.final:
        parts.append(_tlv(FINAL_CHUNK, (1).to_bytes(final_width, "big")))
    body = b"".join(parts)
    start = struct.pack(
        ">4sBBBBI", b"ANPX", 1, frame.kind, CHUNKED if frame.chunked else 0, 0, HEADER.size + len(body)
    )
    return start + struct.pack(">III", zlib.crc32(start), zlib.crc32(body), 0) + body


def decode(data, strict_tags=False):
    """The frame in `data`; with `strict_tags`, an unknown tag is an error (2.2 number 2)."""
    if len(data) < HEADER.size:
        raise FrameError(f"{len(data)} bytes are no header")
    magic, version, kind, flags, _, total, header_crc, body_crc, _ = HEADER.unpack_from(data)
    if magic != b"ANPX" or version != 1:
        raise FrameError(f"magic {magic!r}, version {version}")
    if kind not in (REQUEST, RESPONSE, ERROR):
        raise FrameError(f"type {kind:#x}")
    if zlib.crc32(data[:12]) != header_crc:
        raise FrameError("header CRC")
    if total != len(data):
        raise FrameError(f"total length {total} in a message of {len(data)}")
    if zlib.crc32(data[HEADER.size :]) != body_crc:
        raise FrameError("body CRC")
    frame = Frame(kind, chunked=bool(flags & CHUNKED))
    at = HEADER.size
    while at < len(data):
        if at + 5 > len(data):
            raise FrameError("TLV cut short")
        tag, length = struct.unpack_from(">BI", data, at)
        at += 5
        if at + length > len(data):
            raise FrameError(f"tag {tag:#x} of {length} bytes cut short")
        if tag not in frame.tags:
            _field(frame, tag, data[at : at + length], strict_tags)
        frame.tags.append(tag)
        at += length
    return frame


def _field(frame, tag, value, strict_tags):
    if tag == REQUEST_ID:
        frame.request_id = value.decode()
    elif tag == HTTP_BODY:
        frame.body = value
    elif tag == (HTTP_META if frame.kind == REQUEST else RESP_META):
        frame.meta = _from_json(value)
    elif tag == CHUNK_IDX:
        (frame.index,) = struct.unpack(">I", value)
    elif tag == CHUNK_TOT:
        (frame.total,) = struct.unpack(">I", value)
    elif tag == FINAL_CHUNK:
        if len(value) not in (1, 4):
            raise FrameError(f"final_chunk of {len(value)} bytes")
        frame.final = int.from_bytes(value, "big") == 1
    elif strict_tags and tag not in KNOWN:
        raise FrameError(f"unknown tag {tag:#x}")


class Reassembly:
    """Messages put together from frames, by request id."""

    def __init__(self):
        self._open = {}

    def read(self, frame):
        """Take a frame; the whole message as a `Frame` when it is complete, else None.

        `FrameError` is raised when the frame breaks its message, which is then forgotten.
        """
        if not frame.chunked:
            return frame
        whole = self._open.setdefault(frame.request_id, Frame(frame.kind, frame.request_id, index=0))
        try:
            done = self._add(whole, frame)
        except FrameError:
            self.forget(frame.request_id)
            raise
        if done:
            return self._open.pop(frame.request_id)
        return None

    def forget(self, request_id):
        """Drop what is held of a message."""
        self._open.pop(request_id, None)

    @property
    def open(self):
        """Ids of the messages that are not yet whole."""
        return set(self._open)

    @staticmethod
    def _add(whole, frame):
        if frame.index != whole.index:
            raise FrameError(f"chunk {frame.index} where {whole.index} is next")
        if frame.total is not None:
            if whole.total not in (None, frame.total):
                raise FrameError(f"chunk_tot {whole.total} became {frame.total}")
            whole.total = frame.total
        if whole.total is not None and frame.index >= whole.total:
            raise FrameError(f"chunk {frame.index} of {whole.total}")
        whole.index += 1
        whole.body += frame.body
        whole.meta = whole.meta or frame.meta
        if frame.final and whole.total not in (None, whole.index):
            raise FrameError(f"final_chunk after {whole.index} of {whole.total}")
        return frame.final or whole.index == whole.total


def split(body, size=CHUNK_SIZE):
    """The body in parts of `size` bytes; one empty part if it is empty."""
    return [body[at : at + size] for at in range(0, len(body), size)] or [b""]


def faults(data, frame):
    """What a careful reader could hold against a frame that decodes; empty for a good writer."""
    found = []
    if data[7] or any(data[20:24]) or data[6] & ~CHUNKED:
        found.append("reserved bits are not zero")
    if frame.tags and frame.request_id is not None and frame.tags[0] != REQUEST_ID:
        found.append("request_id is not the first TLV")
    if len(set(frame.tags)) != len(frame.tags):
        found.append("a tag is repeated")
    if set(frame.tags) - KNOWN:
        found.append("a tag is outside the table")
    if HTTP_BODY in frame.tags and not frame.body:
        found.append("an empty http_body is present")
    if FINAL_CHUNK in frame.tags and struct.pack(">BI", FINAL_CHUNK, 1) not in data:
        found.append("final_chunk is not one byte")
    if frame.chunked and frame.index is None:
        found.append("a chunk without chunk_idx")
    if not frame.chunked and {CHUNK_IDX, CHUNK_TOT, FINAL_CHUNK} & set(frame.tags):
        found.append("chunk TLVs without the chunked flag")
    if frame.kind == REQUEST and (frame.meta is None) != (frame.chunked and frame.index != 0):
        found.append("http_meta is not in chunk 0 and there only")
    if frame.request_id is not None and not _is_uuid4(frame.request_id):
        found.append(f"request_id {frame.request_id!r} is no UUIDv4")
    return found


def _is_uuid4(text):
    try:
        return uuid.UUID(text).version == 4
    except ValueError:
        return False
