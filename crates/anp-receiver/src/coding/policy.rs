//! Which responses may be coded. Pure: heads in, a plan out.

use anpx::{RequestHead, ResponseHead};

use super::negotiate::{ContentCoding, choose};

/// Bodies of this many bytes or less stay as they are: coding them saves next to nothing.
pub(super) const SMALL: u64 = 1024;

/// Types outside `text/`, `+json`, `+xml` and `+yaml` whose bodies are text.
const TEXT_TYPES: [&[u8]; 18] = [
    b"application/ecmascript",
    b"application/graphql",
    b"application/javascript",
    b"application/json",
    b"application/json-seq",
    b"application/jsonl",
    b"application/ndjson",
    b"application/rtf",
    b"application/sql",
    b"application/toml",
    b"application/x-javascript",
    b"application/x-jsonlines",
    b"application/x-ndjson",
    b"application/x-www-form-urlencoded",
    b"application/x-yaml",
    b"application/xml",
    b"application/xml-dtd",
    b"application/yaml",
];

/// What becomes of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It stays as the app wrote it.
    Leave,
    /// Its body stays, and caches are told that another caller might get it coded.
    Tell,
    /// Its body is coded. A body that turns out small stays as with `Tell`.
    Code(ContentCoding),
    /// A 304 to a caller that knows the response by the weak tag it was coded under: its tag is
    /// made weak again, or a cache could not tell which response it means (RFC 9111 section 4.3.4).
    Revalidated,
}

/// What to do with the response `head` to `request`.
pub(super) fn plan(
    request: &RequestHead,
    head: &ResponseHead,
    preference: &[ContentCoding],
) -> Plan {
    if preference.is_empty() || request.method == "HEAD" {
        return Plan::Leave;
    }
    if head.status == 304 {
        return match is_known_as_weak(request, head) {
            true => Plan::Revalidated,
            false => Plan::Leave,
        };
    }
    if !may_be_coded(head) {
        return Plan::Leave;
    }
    // Whoever resumes a download wants bytes of the representation it has.
    let wants_range = request.headers.get("range").is_some();
    if wants_range || values(&request.headers, "cache-control").any(forbids_transforming) {
        return Plan::Tell;
    }
    let accepted = request.headers.iter();
    let accepted = accepted.filter_map(|(n, v)| (n == b"accept-encoding").then_some(v));
    choose(accepted, preference).map_or(Plan::Tell, Plan::Code)
}

/// True where the response is one that some caller gets coded.
fn may_be_coded(head: &ResponseHead) -> bool {
    // No body, a part of one (RFC 9110 section 15.3.7), or one that changes another (RFC 3229).
    if head.status < 200 || matches!(head.status, 204..=206 | 226 | 304) {
        return false;
    }
    let mut is_text = false;
    for (name, value) in &head.headers {
        let allows = match name {
            b"content-type" => {
                is_text = is_text_type(value);
                is_text
            }
            b"content-encoding" => value.is_empty() || value.eq_ignore_ascii_case(b"identity"),
            b"content-length" => {
                let length = std::str::from_utf8(value).unwrap_or_default();
                length.parse::<u64>().is_ok_and(|length| length > SMALL)
            }
            b"cache-control" => !forbids_transforming(value),
            // A signature may cover whatever would have to change (RFC 9421).
            b"content-range" | b"signature" | b"signature-input" => false,
            _ => true,
        };
        if !allows {
            return false;
        }
    }
    is_text
}

/// True for media types whose bodies are text, and streams of text.
fn is_text_type(value: &[u8]) -> bool {
    let essence = value.split(|b| *b == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    // RPC over HTTP frames and compresses messages by itself, and reads no Content-Encoding.
    let own_framing = [&b"application/grpc"[..], b"application/connect+"];
    if own_framing.iter().any(|prefix| essence.starts_with(prefix)) {
        return false;
    }
    let suffixes = [&b"+json"[..], b"+xml", b"+yaml"];
    essence.starts_with(b"text/")
        || TEXT_TYPES.contains(&&essence[..])
        || suffixes.iter().any(|suffix| essence.ends_with(suffix))
}

/// RFC 9111 sections 5.2.1.6 and 5.2.2.6.
fn forbids_transforming(cache_control: &[u8]) -> bool {
    cache_control
        .split(|b| *b == b',')
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// True where the caller asked with the response's strong tag made weak, and not with itself.
fn is_known_as_weak(request: &RequestHead, head: &ResponseHead) -> bool {
    let Some(strong) = head
        .headers
        .get("etag")
        .filter(|tag| tag.starts_with(b"\""))
    else {
        return false;
    };
    let mut weak = false;
    for tag in values(&request.headers, "if-none-match").flat_map(tags) {
        match tag.strip_prefix(b"W/") {
            Some(tag) => weak |= tag == strong,
            None if tag == strong => return false,
            None => {}
        }
    }
    weak
}

/// The entity tags of a list (RFC 9110 section 13.1.2). A tag may hold commas.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|b| !b", \t".contains(b))?;
        rest = rest.get(start..)?;
        let quote = rest.iter().position(|b| *b == b'"')?;
        let inside = rest.get(quote + 1..)?;
        let len = inside.iter().position(|b| *b == b'"')?;
        let (tag, after) = rest.split_at_checked(quote + len + 2)?;
        rest = after;
        Some(tag)
    })
}

fn values<'a>(fields: &'a anpx::Fields, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter_map(move |(n, value)| (n == name.as_bytes()).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anpx::Fields;
    use bytes::Bytes;

    const JSON: (&str, &str) = ("content-type", "application/json");
    const GZIP: (&str, &str) = ("accept-encoding", "gzip");
    const CODE: Plan = Plan::Code(ContentCoding::Gzip);

    fn planned(
        method: &'static str,
        asked: &[(&str, &str)],
        status: u16,
        answered: &[(&str, &str)],
    ) -> Plan {
        let request = RequestHead {
            method: Bytes::from_static(method.as_bytes()),
            target: Bytes::from_static(b"/"),
            scheme: Bytes::from_static(b"http"),
            authority: Bytes::from_static(b"public.example"),
            headers: Fields::from_pairs(asked.iter().copied()).unwrap(),
            request_id: Bytes::new(),
            client_addr: None,
            protocol: None,
        };
        let headers = Fields::from_pairs(answered.iter().copied()).unwrap();
        plan(
            &request,
            &ResponseHead { status, headers },
            &[ContentCoding::Gzip],
        )
    }

    #[test]
    fn bodies_of_text_are_coded_for_whoever_takes_it() {
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(planned(method, &[GZIP], 200, &[JSON]), CODE);
        }
        for status in [201, 203, 207, 301, 400, 404, 500, 599] {
            assert_eq!(planned("GET", &[GZIP], status, &[JSON]), CODE, "{status}");
        }
        assert_eq!(planned("GET", &[], 200, &[JSON]), Plan::Tell);
        let other = ("accept-encoding", "br");
        assert_eq!(planned("GET", &[other], 200, &[JSON]), Plan::Tell);
    }

    #[test]
    fn types_decide() {
        for text in [
            "text/html; charset=utf-8",
            "TEXT/Plain",
            "text/event-stream",
            "application/json",
            "application/problem+json",
            "application/x-ndjson",
            "image/svg+xml",
            "application/javascript",
            "application/yaml ; x=y",
        ] {
            let plan = planned("GET", &[GZIP], 200, &[("content-type", text)]);
            assert_eq!(plan, CODE, "{text}");
        }
        for other in [
            "",
            "image/png",
            "video/mp4",
            "application/zip",
            "application/octet-stream",
            "application/wasm",
            "multipart/byteranges; boundary=x",
            "application/grpc",
            "application/grpc+json",
            "application/grpc-web-text",
            "application/connect+json",
            "application/jsonx",
        ] {
            let plan = planned("GET", &[GZIP], 200, &[("content-type", other)]);
            assert_eq!(plan, Plan::Leave, "{other}");
        }
        assert_eq!(planned("GET", &[GZIP], 200, &[]), Plan::Leave);
    }

    #[test]
    fn what_the_response_says_about_itself_is_respected() {
        for (field, plan) in [
            (("content-length", "1024"), Plan::Leave),
            (("content-length", "1025"), CODE),
            (("content-length", "x"), Plan::Leave),
            (("content-encoding", "br"), Plan::Leave),
            (("content-encoding", "identity"), CODE),
            (("content-range", "bytes 0-9/10"), Plan::Leave),
            (("cache-control", "max-age=5, No-Transform"), Plan::Leave),
            (("cache-control", "max-age=5"), CODE),
            (("signature-input", "s=()"), Plan::Leave),
            (("signature", "s=:AA==:"), Plan::Leave),
            (("etag", "\"x\""), CODE),
        ] {
            let answered = [field, JSON];
            assert_eq!(planned("GET", &[GZIP], 200, &answered), plan, "{field:?}");
        }
        for status in [204, 205, 206, 226, 304] {
            let plan = planned("GET", &[GZIP], status, &[JSON]);
            assert_eq!(plan, Plan::Leave, "{status}");
        }
        assert_eq!(planned("HEAD", &[GZIP], 200, &[JSON]), Plan::Leave);
    }

    #[test]
    fn what_the_request_asks_for_is_respected() {
        for field in [
            ("range", "bytes=0-"),
            ("cache-control", "no-cache, no-transform"),
        ] {
            let plan = planned("GET", &[GZIP, field], 200, &[JSON]);
            assert_eq!(plan, Plan::Tell, "{field:?}");
        }
    }

    #[test]
    fn a_304_bears_the_tag_the_caller_knows() {
        for (asked, etag, plan) in [
            ("W/\"a,b\"", "\"a,b\"", Plan::Revalidated),
            ("\"x\" , W/\"y\",W/\"a\"", "\"a\"", Plan::Revalidated),
            ("\"a\"", "\"a\"", Plan::Leave),
            ("W/\"a\", \"a\"", "\"a\"", Plan::Leave),
            ("W/\"b\"", "\"a\"", Plan::Leave),
            ("W/\"a\"", "W/\"a\"", Plan::Leave),
            ("*", "\"a\"", Plan::Leave),
            ("W/\"a", "\"a\"", Plan::Leave),
            ("W/", "\"a\"", Plan::Leave),
        ] {
            let asked = [("if-none-match", asked)];
            let got = planned("GET", &asked, 304, &[("etag", etag)]);
            assert_eq!(got, plan, "{asked:?} {etag}");
        }
    }
}
