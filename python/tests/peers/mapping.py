"""HTTP heads to version-1 JSON maps and back (protocol.md 2.3).

Header fields on the HTTP side are lists of (name, value) in bytes; on the map side they are
lists of (name, value) in text, in the order of the JSON object.
"""

from urllib.parse import parse_qsl, quote, unquote

FRAMING = {
    b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"te", b"trailer",
    b"upgrade", b"expect", b"proxy-connection",
}
PATH_SAFE = "!$&'()*+,;=:@/-._~"


def without_framing(fields, keep_length=False):
    """Header fields without those that mean nothing in a map, names in lower case."""
    dropped = set(FRAMING)
    for name, value in fields:
        if name.lower() == b"connection":
            dropped |= {token.strip().lower() for token in value.split(b",")}
    if keep_length:
        dropped.discard(b"content-length")
    return [(name.lower(), value) for name, value in fields if name.lower() not in dropped]


def cookie_name(count):
    """The key of the set-cookie number `count`: letter i in upper case where bit i is set."""
    name, bit = "", 0
    for letter in "set-cookie":
        if letter == "-":
            name += letter
            continue
        name += letter.upper() if count >> bit & 1 else letter
        bit += 1
    return name


def to_map(fields, decode):
    """Header fields as the entries of a JSON object; `decode` turns value bytes into text."""
    entries, cookies = {}, 0
    for name, value in fields:
        key, text = name.decode("latin-1"), decode(value)
        if key == "set-cookie":
            key, cookies = cookie_name(cookies), cookies + 1
        if key in entries:
            text = entries[key] + ("; " if key == "cookie" else ", ") + text
        entries[key] = text
    return list(entries.items())


def from_map(entries, encode, keep_length=False):
    """Header fields of a map; `encode` turns text into value bytes."""
    return without_framing([(key.encode("latin-1"), encode(text)) for key, text in entries], keep_length)


def gateway_decode(value):
    """A header value as a gateway writes it: UTF-8, else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def gateway_encode(text):
    """A header value as a gateway reads it: UTF-8."""
    return text.encode("utf-8")


def receiver_decode(value):
    """A header value as a receiver writes it: one character a byte."""
    return value.decode("latin-1")


def receiver_encode(text):
    """A header value as a receiver reads it: one byte a character, above U+00FF its UTF-8."""
    return b"".join(bytes([ord(c)]) if ord(c) < 256 else c.encode() for c in text)


def request_to_meta(method, target, fields):
    """What a gateway writes as http_meta for a request head."""
    path, _, query = target.partition("?")
    return {
        "method": method,
        "path": unquote(path),
        "headers": to_map(without_framing(fields), gateway_decode),
        "query": list(dict(parse_qsl(query, keep_blank_values=True)).items()),
    }


def meta_to_request(meta):
    """What a receiver calls for http_meta: (method, target, fields)."""
    target = ""
    rest = meta["path"]
    while rest:
        if rest[:3] in ("%3F", "%23", "%5C"):
            target, rest = target + rest[:3], rest[3:]
        else:
            target, rest = target + quote(rest[0], safe=PATH_SAFE), rest[1:]
    if meta["query"]:
        target += "?" + "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in meta["query"])
    return meta["method"], target, from_map(meta["headers"], receiver_encode)


def response_to_meta(request_method, status, fields):
    """What a receiver writes as resp_meta for a response head."""
    keep = request_method == "HEAD" or status == 304
    return {"status": status, "headers": to_map(without_framing(fields, keep), receiver_decode)}


def meta_to_response(request_method, meta):
    """What a gateway answers its caller for resp_meta: (status, fields)."""
    keep = request_method == "HEAD" or meta["status"] == 304
    return meta["status"], from_map(meta.get("headers") or [], gateway_encode, keep)
