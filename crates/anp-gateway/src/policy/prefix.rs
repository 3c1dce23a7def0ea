//! The path of an endpoint taken off the targets of its requests.

use bytes::Bytes;

use crate::{
    error::ProxyError,
    route::path::{names_a_host, normalized},
};

/// `target` without `prefix`, with which it begins: the place of an endpoint, without a slash at
/// its end.
///
/// # Errors
/// 400 where what is left would not be the same place below the prefix: it climbs above its root,
/// or begins with what some read as a host.
pub(super) fn strip(target: &Bytes, prefix: &str) -> Result<Bytes, ProxyError> {
    const ELSEWHERE: ProxyError = ProxyError::BadRequest(
        "the path is spelled in a way that would change where it goes without its prefix",
    );
    if &target[..] == b"*" {
        return Ok(target.clone());
    }
    let rest = target.strip_prefix(prefix.as_bytes()).ok_or(ELSEWHERE)?;
    let path = |target: &[u8]| {
        target
            .iter()
            .position(|b| *b == b'?')
            .unwrap_or(target.len())
    };
    let rest = match rest.first() {
        Some(b'/') => target.slice_ref(rest),
        Some(_) => [b"/", rest].concat().into(),
        None => Bytes::from_static(b"/"),
    };
    if names_a_host(&rest[..path(&rest)]) {
        return Err(ELSEWHERE);
    }
    if let Some(plain) = normalized(&rest[..path(&rest)]) {
        let before = normalized(&target[..path(target)]);
        let below = before
            .as_deref()
            .and_then(|b| b.strip_prefix(prefix.as_bytes()));
        if below != Some(&plain) {
            return Err(ELSEWHERE);
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_goes() {
        for (target, rest) in [
            ("/a", "/"),
            ("/a/", "/"),
            ("/a?x=/a/b", "/?x=/a/b"),
            ("/a/b%20c?d", "/b%20c?d"),
            ("/a/b//c", "/b//c"),
            ("/a/a", "/a"),
            ("/a/b/c/..//d", "/b/c/..//d"),
            ("/a/%2Fb", "/%2Fb"),
            ("/a/b/../c", "/b/../c"),
            ("/a/%2561", "/%2561"),
            ("*", "*"),
        ] {
            let stripped = strip(&Bytes::from_static(target.as_bytes()), "/a");
            assert_eq!(stripped.as_deref(), Ok(rest.as_bytes()), "{target}");
        }
        let whole = Bytes::from_static(b"/x");
        assert_eq!(strip(&whole, ""), Ok(whole.clone()));
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for target in [
            "/a//evil",
            "/a/\\evil",
            "/a/.//evil",
            "/a/x/..//evil",
            "/a/x/%2e%2E/\\evil",
            "/a/../a/x",
            "/a/%2e%2e/a/x",
            "/a/b/../../a/x",
        ] {
            let target = Bytes::from_static(target.as_bytes());
            assert!(strip(&target, "/a").is_err(), "{target:?}");
        }
    }
}
