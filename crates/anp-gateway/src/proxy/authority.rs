//! What a host and port look like.

use crate::error::ProxyError;

/// The authority as text.
///
/// # Errors
/// 400 where it is none.
pub(super) fn check_authority(authority: &[u8]) -> Result<&str, ProxyError> {
    std::str::from_utf8(authority)
        .ok()
        .filter(|authority| is_authority(authority))
        .ok_or(ProxyError::BadRequest(
            "the Host header is not a host and port",
        ))
}

/// True for a name or address and an optional port. Narrower than RFC 3986: no user, no escapes, no
/// commas or quotes that another reader might take for a list or an end.
pub(super) fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rfind([':', ']']) {
        Some(at) if authority.as_bytes()[at] == b':' => (&authority[..at], &authority[at + 1..]),
        _ => (authority, ""),
    };
    let port = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~');
    let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=255).contains(&host.len()) && host.bytes().all(name),
    };
    host && port
}
