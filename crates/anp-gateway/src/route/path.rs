//! Paths and hosts as routing reads them.

use std::borrow::Cow;

/// The host of an authority in lower case, without its port and without a dot at its end.
pub(crate) fn host_of(authority: &str) -> Cow<'_, str> {
    let last = |b: &u8| matches!(b, b':' | b']');
    let host = match authority.as_bytes().iter().rposition(last) {
        Some(at) if authority.as_bytes()[at] == b':' => &authority[..at],
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The path decoded once, with `\` read as `/`, and without dot and empty segments.
/// `None` where that changes nothing.
pub(crate) fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    let odd = |w: &[u8]| matches!(w, b"//" | b"/.");
    if !path.iter().any(|b| matches!(b, b'%' | b'\\')) && !path.windows(2).any(odd) {
        return None;
    }
    Some(plain(&decode(path), <[u8]>::len))
}

/// As [`normalized`], where segments end at a `;`: some apps take what follows for parameters (RFC 3986
/// section 3.3), before they decode the path or afterwards. Nothing where there is none.
pub(crate) fn without_parameters(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let semicolon = |bytes: &[u8]| bytes.contains(&b';');
    let first = semicolon(path).then(|| {
        let segments = path.split(|b| matches!(b, b'/' | b'\\'));
        let named: Vec<&[u8]> = segments.map(|s| &s[..name_length(s)]).collect();
        plain(&decode(&named.join(&b'/')), <[u8]>::len)
    });
    let odd = path.iter().any(|b| matches!(b, b'%' | b';'));
    let decoded = odd.then(|| decode(path)).filter(|path| semicolon(path));
    first
        .into_iter()
        .chain(decoded.map(|path| plain(&path, name_length)))
}

/// True where apps that resolve dot segments come to more than one path: what the dots take away
/// depends on whether encoded slashes and dots are decoded before, whether empty segments count, and
/// whether parameters do (WHATWG URL, RFC 3986 section 5.2.4 and servlet containers differ in each).
pub(crate) fn has_ambiguous_dots(path: &[u8]) -> bool {
    let encoded = path.iter().any(|b| matches!(b, b'%' | b'\\'));
    if !encoded && !path.windows(2).any(|two| two == b"/.") {
        return false;
    }
    let decoded = decode(path);
    let is_dots = |segment: &&[u8]| matches!(&segment[..name_length(segment)], b"." | b"..");
    let dots = decoded.split(|b| *b == b'/').filter(is_dots).count();
    if dots == 0 {
        return false;
    }
    let literal = path.split(|b| *b == b'/').filter(is_dots).count();
    let slashes = |path: &[u8]| path.iter().filter(|b| **b == b'/').count();
    // A slash that was not one before, parameters, empty segments, or dots some of which are encoded.
    slashes(&decoded) != slashes(path)
        || decoded.contains(&b';')
        || decoded.windows(2).any(|two| two == b"//")
        || !(literal == 0 || literal == dots)
}

/// How much of a segment is its name: what follows a `;` may be taken for parameters.
fn name_length(segment: &[u8]) -> usize {
    let end = segment.iter().position(|b| *b == b';');
    end.unwrap_or(segment.len())
}

/// True where a path without its dot segments (RFC 3986 section 5.2.4) begins with two slashes: what
/// follows may be taken for a host.
pub(crate) fn names_a_host(path: &[u8]) -> bool {
    let is_slash = |b: &u8| matches!(b, b'/' | b'\\');
    if !path.windows(2).any(|two| two.iter().all(is_slash)) {
        return false;
    }
    let mut left: Vec<&[u8]> = Vec::new();
    for segment in path.split(is_slash).skip(1) {
        match &decode(segment)[..] {
            b"." => {}
            b".." => drop(left.pop()),
            _ => left.push(segment),
        }
    }
    left.len() > 1 && left.first().is_some_and(|first| first.is_empty())
}

/// A decoded path without dot and empty segments, of each of which `length` bytes count.
fn plain(decoded: &[u8], length: impl Fn(&[u8]) -> usize) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::with_capacity(decoded.len());
    let mut segments = decoded.split(|b| *b == b'/').peekable();
    segments.next();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment.get(..length(segment)).unwrap_or_default() {
            b".." => {
                let parent = plain.iter().rposition(|b| *b == b'/').unwrap_or(0);
                plain.truncate(parent);
            }
            b"." | b"" => {}
            name => {
                plain.push(b'/');
                plain.extend_from_slice(name);
                continue;
            }
        }
        if last {
            plain.push(b'/');
        }
    }
    plain
}

fn decode(path: &[u8]) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let mut byte = path[at];
        at += 1;
        if byte == b'%'
            && let (Some(high), Some(low)) = (hex(path.get(at)), hex(path.get(at + 1)))
        {
            byte = u8::try_from(high * 16 + low).unwrap_or(b'%');
            at += 2;
        }
        out.push(if byte == b'\\' { b'/' } else { byte });
    }
    out
}
