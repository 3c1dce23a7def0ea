//! What coding a body changes in its head and trailers.

use std::borrow::Cow;

use anpx::{Fields, FieldsError, ResponseHead, fields::FieldsBuilder};

use super::negotiate::ContentCoding;

/// Fields that hold only for the body as the app wrote it: its length, its ranges, and digests of
/// it (RFC 9530 sections 2 and 3, RFC 3230, RFC 1864).
const OF_THE_PLAIN_BODY: [&[u8]; 7] = [
    b"accept-ranges",
    b"content-digest",
    b"content-encoding",
    b"content-length",
    b"content-md5",
    b"digest",
    b"repr-digest",
];

/// The head of a response whose body is coded; `length` is that of the coded body, where it is known.
///
/// # Errors
/// The fields would exceed what the wire takes.
pub(super) fn coded(
    head: &ResponseHead,
    coding: ContentCoding,
    length: Option<usize>,
) -> Result<ResponseHead, FieldsError> {
    let mut fields = builder(&head.headers);
    put_coded(&mut fields, &head.headers, true)?;
    fields.push(b"content-encoding", coding.name().as_bytes())?;
    if let Some(length) = length {
        fields.push(b"content-length", length.to_string().as_bytes())?;
    }
    Ok(with(head, fields))
}

/// The trailers of a response whose body is coded.
///
/// # Errors
/// The fields would exceed what the wire takes.
pub(super) fn coded_trailers(trailers: &Fields) -> Result<Fields, FieldsError> {
    let mut fields = builder(trailers);
    put_coded(&mut fields, trailers, false)?;
    Ok(fields.build())
}

/// The head of a response that is not coded, but would be for another Accept-Encoding
/// (RFC 9110 section 12.5.5).
///
/// # Errors
/// The fields would exceed what the wire takes.
pub(super) fn telling(head: &ResponseHead) -> Result<ResponseHead, FieldsError> {
    let mut fields = builder(&head.headers);
    put(&mut fields, &head.headers, true, |_, value| {
        Some(Cow::Borrowed(value))
    })?;
    Ok(with(head, fields))
}

/// The head of a 304 for a response that was coded when the caller got it.
///
/// # Errors
/// The fields would exceed what the wire takes.
pub(super) fn revalidated(head: &ResponseHead) -> Result<ResponseHead, FieldsError> {
    let mut fields = builder(&head.headers);
    put(&mut fields, &head.headers, true, |name, value| match name {
        b"etag" => weak(value),
        _ => Some(Cow::Borrowed(value)),
    })?;
    Ok(with(head, fields))
}

/// Room for `fields` and what may be added to them.
fn builder(fields: &Fields) -> FieldsBuilder {
    Fields::builder(fields.block().len() + 96)
}

fn with(head: &ResponseHead, fields: FieldsBuilder) -> ResponseHead {
    ResponseHead {
        status: head.status,
        headers: fields.build(),
    }
}

fn put_coded(out: &mut FieldsBuilder, fields: &Fields, vary: bool) -> Result<(), FieldsError> {
    put(out, fields, vary, |name, value| match name {
        b"etag" => weak(value),
        _ if OF_THE_PLAIN_BODY.contains(&name) => None,
        _ => Some(Cow::Borrowed(value)),
    })
}

/// Puts `fields`, each with the value `change` gives it; with `vary`, Vary names Accept-Encoding.
fn put(
    out: &mut FieldsBuilder,
    fields: &Fields,
    vary: bool,
    change: impl for<'a> Fn(&[u8], &'a [u8]) -> Option<Cow<'a, [u8]>>,
) -> Result<(), FieldsError> {
    let mut untold = vary && !varies(fields);
    for (name, value) in fields {
        if name == b"vary" && std::mem::take(&mut untold) {
            let told = match value.is_empty() {
                true => b"accept-encoding".to_vec(),
                false => [value, b", accept-encoding"].concat(),
            };
            out.push(name, &told)?;
        } else if let Some(value) = change(name, value) {
            out.push(name, &value)?;
        }
    }
    match untold {
        true => out.push(b"vary", b"accept-encoding"),
        false => Ok(()),
    }
}

/// True where Vary says enough already.
fn varies(fields: &Fields) -> bool {
    fields
        .iter()
        .filter(|(name, _)| *name == b"vary")
        .flat_map(|(_, value)| value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .any(|member| member == b"*" || member.eq_ignore_ascii_case(b"accept-encoding"))
}

/// `tag` as a weak one: a coded body is not the same bytes (RFC 9110 section 8.8.1). `None` for
/// what is no tag.
fn weak(tag: &[u8]) -> Option<Cow<'_, [u8]>> {
    match tag {
        [b'W', b'/', b'"', ..] => Some(Cow::Borrowed(tag)),
        [b'"', ..] => Some(Cow::Owned([b"W/", tag].concat())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&str, &str)]) -> ResponseHead {
        ResponseHead {
            status: 200,
            headers: Fields::from_pairs(pairs.iter().copied()).unwrap(),
        }
    }

    fn texts(fields: &Fields) -> Vec<(String, String)> {
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        fields.iter().map(|(n, v)| (text(n), text(v))).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
        list.iter().map(owned).collect()
    }

    #[test]
    fn a_coded_head_speaks_of_the_coded_body() {
        let plain = head(&[
            ("content-type", "text/html"),
            ("content-length", "5000"),
            ("etag", "\"v1\""),
            ("set-cookie", "a=1"),
            ("vary", "origin"),
            ("accept-ranges", "bytes"),
            ("content-md5", "x"),
            ("content-digest", "sha-256=:AA==:"),
            ("repr-digest", "sha-256=:AA==:"),
            ("digest", "sha-256=AA=="),
            ("content-encoding", "identity"),
            ("set-cookie", "b=2"),
        ]);
        let expected = [
            ("content-type", "text/html"),
            ("etag", "W/\"v1\""),
            ("set-cookie", "a=1"),
            ("vary", "origin, accept-encoding"),
            ("set-cookie", "b=2"),
            ("content-encoding", "br"),
        ];
        let streamed = coded(&plain, ContentCoding::Br, None).unwrap();
        assert_eq!(texts(&streamed.headers), pairs(&expected));
        let whole = coded(&plain, ContentCoding::Br, Some(99)).unwrap();
        let with_length = [&expected[..], &[("content-length", "99")]].concat();
        assert_eq!(texts(&whole.headers), pairs(&with_length));
    }

    #[test]
    fn vary_is_said_once_and_the_star_stays() {
        for (before, after) in [
            (&[][..], &[("vary", "accept-encoding")][..]),
            (&[("vary", "")], &[("vary", "accept-encoding")]),
            (&[("vary", "*")], &[("vary", "*")]),
            (
                &[("vary", "origin, Accept-Encoding")],
                &[("vary", "origin, Accept-Encoding")],
            ),
            (
                &[("vary", "a"), ("vary", "b")],
                &[("vary", "a, accept-encoding"), ("vary", "b")],
            ),
            (
                &[("vary", "a"), ("vary", "accept-encoding")],
                &[("vary", "a"), ("vary", "accept-encoding")],
            ),
        ] {
            let told = telling(&head(before)).unwrap();
            assert_eq!(texts(&told.headers), pairs(after), "{before:?}");
        }
    }

    #[test]
    fn tags_become_weak() {
        for (before, after) in [
            ("\"a\"", Some("W/\"a\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("\"\"", Some("W/\"\"")),
            ("a", None),
            ("w/\"a\"", None),
        ] {
            let coded = coded(&head(&[("etag", before)]), ContentCoding::Gzip, None).unwrap();
            let etag = coded
                .headers
                .get("etag")
                .map(|v| v.escape_ascii().to_string());
            let after = after.map(|v| v.escape_default().to_string());
            assert_eq!(etag, after, "{before}");
        }
        let known = revalidated(&head(&[("etag", "\"a\""), ("age", "1")])).unwrap();
        let expected = [
            ("etag", "W/\"a\""),
            ("age", "1"),
            ("vary", "accept-encoding"),
        ];
        assert_eq!(texts(&known.headers), pairs(&expected));
    }

    #[test]
    fn trailers_lose_what_they_say_of_the_plain_body() {
        let trailers = head(&[
            ("server-timing", "app;dur=5"),
            ("repr-digest", "sha-256=:AA==:"),
            ("etag", "\"a\""),
        ]);
        let coded = coded_trailers(&trailers.headers).unwrap();
        let expected = [("server-timing", "app;dur=5"), ("etag", "W/\"a\"")];
        assert_eq!(texts(&coded), pairs(&expected));
    }
}
