//! What the head of a response says of what follows it.

use anp_http1::fields::parse_length;
use anpx::{Fields, ResponseHead, session::End};

use crate::error::ProxyError;

/// What follows a final head toward the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing, whatever length the head names: HEAD, 204, 304 (RFC 9112 section 6.3).
    Nothing,
    /// A body of this many bytes.
    Sized(u64),
    /// A body that ends when it ends, and trailers perhaps.
    Streamed,
    /// Raw bytes both ways.
    Raw,
}

/// Judges a final head.
///
/// # Errors
/// 502 where it is no valid HTTP: a status outside 200 to 599, or 101 where no `upgrade` was asked
/// for; a content length that is none, is there twice, or promises what does not follow.
pub(crate) fn judge(
    head: &ResponseHead,
    end: End,
    is_head: bool,
    upgrade: bool,
) -> Result<Follows, ProxyError> {
    let switches = head.status == 101 && upgrade;
    if !switches && !(200..600).contains(&head.status) {
        return Err(ProxyError::BadResponse);
    }
    let length = length(head)?;
    if switches {
        return Ok(Follows::Raw);
    }
    if is_head || matches!(head.status, 204 | 304) {
        return Ok(Follows::Nothing);
    }
    match (length, end) {
        (Some(1..), End::Yes) => Err(ProxyError::BadResponse),
        (_, End::Yes) => Ok(Follows::Sized(0)),
        (Some(length), End::No) => Ok(Follows::Sized(length)),
        (None, End::No) => Ok(Follows::Streamed),
    }
}

/// The content length, of which there may be one (RFC 9112 section 6.3): the framing toward the
/// caller is made from it.
fn length(head: &ResponseHead) -> Result<Option<u64>, ProxyError> {
    let mut length = None;
    for value in head.headers.get_all("content-length") {
        let value = parse_length(value).ok_or(ProxyError::BadResponse)?;
        if length.replace(value).is_some() {
            return Err(ProxyError::BadResponse);
        }
    }
    Ok(length)
}

/// An informational head as callers may have it: without a length, as it has no content (RFC 9110
/// section 8.6). `None` where that cannot be.
pub(crate) fn informational(mut head: ResponseHead) -> Option<ResponseHead> {
    if head.headers.contains("content-length") {
        let fields = head.headers.iter();
        let rest = fields.filter(|(name, _)| *name != b"content-length");
        head.headers = Fields::from_pairs(rest).ok()?;
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, lengths: &[&str]) -> ResponseHead {
        let fields = lengths.iter().map(|l| ("content-length", *l));
        ResponseHead {
            status,
            headers: Fields::from_pairs(fields).unwrap(),
        }
    }

    #[test]
    fn what_follows() {
        for (status, lengths, end, is_head, follows) in [
            (200, &[][..], End::No, false, Follows::Streamed),
            (200, &[], End::Yes, false, Follows::Sized(0)),
            (200, &["0"], End::Yes, false, Follows::Sized(0)),
            (599, &["5"], End::No, false, Follows::Sized(5)),
            (200, &["5"], End::Yes, true, Follows::Nothing),
            (304, &["5"], End::Yes, false, Follows::Nothing),
            (204, &[], End::Yes, false, Follows::Nothing),
        ] {
            assert_eq!(
                judge(&head(status, lengths), end, is_head, false),
                Ok(follows)
            );
        }
        assert_eq!(
            judge(&head(101, &[]), End::No, false, true),
            Ok(Follows::Raw)
        );
    }

    #[test]
    fn an_informational_head_has_no_length() {
        let seen = informational(head(103, &["9", "9"])).unwrap();
        assert_eq!((seen.status, seen.headers.is_empty()), (103, true));
        let link = Fields::from_pairs([("link", "</a>")]).unwrap();
        let hints = ResponseHead {
            status: 103,
            headers: link,
        };
        assert_eq!(informational(hints.clone()), Some(hints));
    }

    #[test]
    fn what_is_not_http_is_502() {
        for status in [0, 99, 100, 101, 150, 600, 999, 65535] {
            let judged = judge(&head(status, &[]), End::Yes, false, false);
            assert_eq!(judged, Err(ProxyError::BadResponse));
        }
        for length in ["1", "", "-1", "+1", "1, 1", "1x", "99999999999999999999"] {
            let judged = judge(&head(200, &[length]), End::Yes, false, false);
            assert_eq!(judged, Err(ProxyError::BadResponse));
        }
        let judged = judge(&head(200, &["0", "0"]), End::Yes, false, false);
        assert_eq!(judged, Err(ProxyError::BadResponse));
    }
}
