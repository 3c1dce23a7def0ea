//! Header sections: what both ends do the same way when they write and read them.

use std::borrow::Cow;

use anpx::Fields;
use bytes::{BufMut, BytesMut};

/// Appends one field line, `name: value` and CRLF (RFC 9112 section 5). The two are written as
/// they are: what comes from [`Fields`] is safe.
pub fn put(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Appends all of `fields` as [`put`] does, for less than it costs one by one: a block of the wire has
/// two bytes of length where text has `: ` and CRLF, so that one copy and those marks are all.
pub fn put_all(out: &mut BytesMut, fields: &Fields) {
    let Some(block) = fields.block().get(2..) else {
        return;
    };
    let mut at = out.len();
    out.reserve(block.len() + 2);
    out.put_slice(block);
    out.put_slice(CRLF);
    let mut mark = |at: usize, mark: &[u8; 2]| {
        if let Some(place) = out.get_mut(at..at + 2) {
            place.copy_from_slice(mark);
        }
    };
    for (name, value) in fields {
        at += name.len();
        mark(at, b": ");
        at += 2 + value.len();
        mark(at, CRLF);
        at += 2;
    }
}

const CRLF: &[u8; 2] = b"\r\n";

/// Appends the last chunk with `trailers` behind it (RFC 9112 section 7.1.2).
pub fn put_trailers(out: &mut BytesMut, trailers: &Fields) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers {
        // Framing fields are never merged from trailers (RFC 9110 section 6.5.1).
        if name != b"content-length" {
            put(out, name, value);
        }
    }
    out.put_slice(b"\r\n");
}

/// The members of a comma-separated list without the white space around them, empty ones included
/// (RFC 9110 section 5.6.1).
pub fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

/// A `Content-Length` value: digits only, and they fit (RFC 9110 section 8.6).
pub fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// `name` in lower case, as [`Fields`] wants it: in `scratch` where it fits, which nearly every
/// name does.
pub fn lower_case<'a>(name: &[u8], scratch: &'a mut [u8; 64]) -> Cow<'a, [u8]> {
    match scratch.get_mut(..name.len()) {
        Some(place) => {
            place.copy_from_slice(name);
            // A whole block at a time is one step for the processor; behind the name are zeros.
            let (blocks, _) = scratch.as_chunks_mut::<16>();
            for block in blocks.iter_mut().take(name.len().div_ceil(16)) {
                block.make_ascii_lowercase();
            }
            Cow::Borrowed(scratch.get(..name.len()).unwrap_or_default())
        }
        None => Cow::Owned(name.to_ascii_lowercase()),
    }
}

/// The names that `Connection` holds (RFC 9110 section 7.6.1), but those that mean the connection
/// itself.
#[derive(Debug)]
pub struct Named<'a>(Vec<&'a [u8]>);

impl<'a> Named<'a> {
    /// Each field of the message is looked for among the names: together they must not cost a lot.
    const MOST: usize = 64;

    /// Those of a message's `fields`, whose names are in any case.
    ///
    /// # Errors
    /// There are more than 64; what to say of it.
    pub fn of(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, &'static str> {
        let mut names = Vec::new();
        let mut note = |name: &'a [u8]| {
            let usual = [&b"keep-alive"[..], b"close", b"upgrade", b""];
            if !usual.iter().any(|u| name.eq_ignore_ascii_case(u)) {
                names.push(name);
            }
        };
        for (_, value) in fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"connection")) {
            if value != b"keep-alive" {
                tokens(value).for_each(&mut note);
            }
        }
        match names.len() <= Self::MOST {
            true => Ok(Self(names)),
            false => Err("Connection names more than 64 fields"),
        }
    }

    /// Whether the field `name`, in any case, is one of them.
    pub fn holds(&self, name: &[u8]) -> bool {
        self.0.iter().any(|n| n.eq_ignore_ascii_case(name))
    }
}

/// True where every LF of `head` has a CR before it and every CR an LF behind it. Lines that end
/// otherwise are read differently by different parsers (RFC 9112 section 2.2).
pub fn lines_end_in_crlf(head: &[u8]) -> bool {
    let mut after_cr = false;
    for b in head {
        if after_cr != (*b == b'\n') {
            return false;
        }
        after_cr = *b == b'\r';
    }
    !after_cr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_trailers_are_written_as_they_are() {
        let mut out = BytesMut::new();
        put(&mut out, b"x-a", b"b c");
        assert_eq!(&out[..], b"x-a: b c\r\n");
        let trailers = Fields::from_pairs([
            ("grpc-status", "0"),
            ("content-length", "9"),
            ("x-sum", "\u{e9}"),
        ])
        .unwrap();
        let mut out = BytesMut::new();
        put_trailers(&mut out, &trailers);
        assert_eq!(
            &out[..],
            "0\r\ngrpc-status: 0\r\nx-sum: \u{e9}\r\n\r\n".as_bytes()
        );
        let mut out = BytesMut::new();
        put_trailers(&mut out, &Fields::default());
        assert_eq!(&out[..], b"0\r\n\r\n");
    }

    #[test]
    fn all_fields_at_once_are_what_they_are_one_by_one() {
        for pairs in [
            &[][..],
            &[("a", "")],
            &[("x-a", "b: c"), ("x-a", ""), ("empty", ""), ("z", "\u{e9}")],
        ] {
            let fields = Fields::from_pairs(pairs.iter().copied()).unwrap();
            let (mut all, mut each) = (BytesMut::from("before"), BytesMut::from("before"));
            put_all(&mut all, &fields);
            for (name, value) in &fields {
                put(&mut each, name, value);
            }
            assert_eq!(all, each);
        }
    }

    #[test]
    fn names_get_lower_case_whatever_their_length() {
        for len in [1, 15, 16, 17, 63, 64, 65, 200] {
            let name = "X-Ab[@Z".repeat(len).into_bytes()[..len].to_vec();
            let mut scratch = [0; 64];
            assert_eq!(*lower_case(&name, &mut scratch), name.to_ascii_lowercase());
        }
    }

    #[test]
    fn connection_names_what_is_its_own() {
        let fields = [
            ("Connection", "keep-alive"),
            ("X-Other", "x-not"),
            ("CONNECTION", " close, X-Hop ,,upgrade,y"),
            ("connection", "\tZ "),
        ];
        let named = Named::of(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()))).unwrap();
        for (name, is) in [
            ("x-hop", true),
            ("Y", true),
            ("z", true),
            ("x-not", false),
            ("keep-alive", false),
            ("", false),
        ] {
            assert_eq!(named.holds(name.as_bytes()), is, "{name}");
        }
    }

    #[test]
    fn connection_names_so_many_fields_and_no_more() {
        let named = |names: usize| {
            let value = "a,".repeat(names) + &"close,,".repeat(names);
            Named::of([(&b"connection"[..], value.as_bytes())].into_iter()).map(|_| ())
        };
        assert_eq!(named(64), Ok(()));
        assert_eq!(named(65), Err("Connection names more than 64 fields"));
    }

    #[test]
    fn lists_are_split_and_trimmed() {
        let members: Vec<_> = tokens(b"close , X-Hop,\tkeep-alive,").collect();
        let expected: [&[u8]; 4] = [b"close", b"X-Hop", b"keep-alive", b""];
        assert_eq!(members, expected);
    }

    #[test]
    fn lengths_are_digits_that_fit() {
        assert_eq!(parse_length(b"0"), Some(0));
        assert_eq!(parse_length(b"0012"), Some(12));
        assert_eq!(parse_length(b"18446744073709551615"), Some(u64::MAX));
        for bad in [
            "",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1,1",
            "0x1",
            "18446744073709551616",
            "\u{661}",
        ] {
            assert_eq!(parse_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn names_of_any_length_come_in_lower_case() {
        for len in [0, 1, 63, 64, 65, 300] {
            let name = "Aa".repeat(len)[..len].to_owned();
            assert_eq!(
                lower_case(name.as_bytes(), &mut [0; 64]),
                name.to_lowercase().as_bytes()
            );
        }
    }

    #[test]
    fn only_crlf_ends_a_line() {
        for head in ["", "a: b\r\n", "a: b\r\n\r\n", "ab"] {
            assert!(lines_end_in_crlf(head.as_bytes()), "{head:?}");
        }
        for head in [
            "\n", "\r", "a\nb\r\n", "a\rb\r\n", "\r\r\n", "\r\n\n", "a\r\n\r",
        ] {
            assert!(!lines_end_in_crlf(head.as_bytes()), "{head:?}");
        }
    }
}
