//! Request targets of version 1 (ANPX 2.3): `path` and `query` of http_meta, and back.
//!
//! Lost on the way: an encoded slash, bytes that are not UTF-8, `a` against `a=`, `+` against `%20`,
//! an empty query, and all but the last of a repeated query key.

use serde_json::{Map, Value};

/// What was lost between a head and its meta because version 1 cannot say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Query pairs written over by a later one with the same key.
    pub query_keys: u64,
}

/// Splits `target` into the decoded path and the decoded query pairs.
pub(super) fn split(target: &[u8], losses: &mut Losses) -> (String, Map<String, Value>) {
    let cut = target.iter().position(|b| *b == b'?');
    let (path, query) = match cut {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[][..]),
    };
    let mut pairs = Map::new();
    for pair in query.split(|b| *b == b'&').filter(|p| !p.is_empty()) {
        let at = pair.iter().position(|b| *b == b'=');
        let (key, value) = match at {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let value = Value::String(decode(value, true));
        if pairs.insert(decode(key, true), value).is_some() {
            losses.query_keys += 1;
        }
    }
    (decode(path, false), pairs)
}

/// The target for a decoded `path` and decoded query pairs: origin-form, or `*`.
pub(super) fn join<'a>(
    path: &str,
    query: impl IntoIterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<u8>,
) {
    if path == "*" {
        out.push(b'*');
        return;
    }
    if !path.starts_with('/') {
        out.push(b'/');
    }
    let bytes = path.as_bytes();
    for (at, byte) in bytes.iter().copied().enumerate() {
        let kept = is_unreserved(byte)
            || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+')
            || matches!(byte, b',' | b';' | b'=' | b':' | b'@' | b'/')
            || byte == b'%' && matches!(bytes.get(at..at + 3), Some(b"%3F" | b"%23" | b"%5C"));
        put(out, byte, kept);
    }
    let mut separator = b'?';
    for (key, value) in query {
        out.push(separator);
        separator = b'&';
        key.bytes().for_each(|b| put(out, b, is_unreserved(b)));
        out.push(b'=');
        value.bytes().for_each(|b| put(out, b, is_unreserved(b)));
    }
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn put(out: &mut Vec<u8>, byte: u8, as_is: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if as_is {
        out.push(byte);
    } else {
        out.extend([
            b'%',
            HEX[usize::from(byte >> 4)],
            HEX[usize::from(byte & 15)],
        ]);
    }
}

/// Percent-decodes `text`, and `+` to a space where `form`. A `%` without two hex digits stays.
fn decode(text: &[u8], form: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            (b'+', _) if form => out.push(b' '),
            _ => out.push(byte),
        }
    }
    match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
