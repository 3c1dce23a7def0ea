//! Request and response heads, the same for both wire versions.

use bytes::Bytes;

use crate::fields::Fields;

/// The head of a request on its way from the downstream to the upstream.
///
/// Source: ANPX 3.2, 3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// A method token (RFC 9110 section 9.1), case kept.
    pub method: Bytes,
    /// Origin-form (`/path?query`) or `*`, byte for byte as the caller sent it.
    pub target: Bytes,
    /// `http` or `https`: how the caller reached the gateway.
    pub scheme: Bytes,
    /// The only place of the host; becomes `Host` at the upstream.
    pub authority: Bytes,
    /// Fields without `host` and without hop-by-hop names.
    pub headers: Fields,
    /// 1 to 64 of `[0-9A-Za-z._-]`, minted by the gateway; a UUIDv4 here, since version 1 needs one.
    pub request_id: Bytes,
    /// `ip:port` of the caller after the trusted-proxy rules.
    pub client_addr: Option<Bytes>,
    /// The upgrade token; present exactly on upgrade streams.
    pub protocol: Option<Bytes>,
}

impl RequestHead {
    /// True where processing it twice does what processing it once does (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(
            &self.method[..],
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        )
    }

    /// True where the caller waits to be asked for its body ([`is_100_continue`]).
    pub fn expects_continue(&self) -> bool {
        self.headers.get_all("expect").any(is_100_continue)
    }
}

/// Whether the value of an `Expect` field, a list, has `100-continue` in it; other expectations are for
/// the app alone (RFC 9110 section 10.1.1).
pub fn is_100_continue(value: &[u8]) -> bool {
    let mut members = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    members.any(|member| member.eq_ignore_ascii_case(b"100-continue"))
}

/// The head of a response, final or informational.
///
/// Source: ANPX 3.2, 3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// Fields without hop-by-hop names.
    pub headers: Fields,
}

impl ResponseHead {
    /// True for 1xx other than 101 (RFC 9110 section 15.2): a final head still follows.
    pub fn is_informational(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_100_continue_asks_to_be_asked() {
        for value in [
            "100-continue",
            "100-Continue",
            "x, 100-continue",
            "\t100-continue ,",
        ] {
            assert!(is_100_continue(value.as_bytes()), "{value:?}");
        }
        for value in [
            "",
            ",",
            "200-ok",
            "100-continue=x",
            "100-continues",
            "100 continue",
        ] {
            assert!(!is_100_continue(value.as_bytes()), "{value:?}");
        }
    }
}
