//! What a signature is for.

/// What is signed: a request without a body.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The method, such as `GET`.
    pub method: &'a str,
    /// The URL, as a client writes it: `wss://gateway.example/anpx`.
    pub url: &'a str,
    /// Host and port of the URL, as it has them.
    pub authority: &'a str,
    /// The host alone.
    pub host: &'a str,
}

impl<'a> Target<'a> {
    /// The target of a URL with a scheme, as a client writes it. `None` if it has no scheme or no
    /// host, or a fragment, a user or white space, which nobody sends.
    pub fn of(method: &'a str, url: &'a str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        let (authority, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let forbidden = |b: u8| !b.is_ascii_graphic() || matches!(b, b'#' | b'"' | b'\\');
        if url.bytes().any(forbidden) || authority.contains('@') {
            return None;
        }
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        (!host.is_empty()).then_some(Self {
            method,
            url,
            authority,
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_parts_of_its_url() {
        for (url, authority, host) in [
            (
                "wss://gw.example:8765/anpx",
                "gw.example:8765",
                "gw.example",
            ),
            ("ws://gw.example", "gw.example", "gw.example"),
            ("https://gw.example?a=b:c/d", "gw.example", "gw.example"),
            ("ws://[::1]:8765/", "[::1]:8765", "[::1]"),
            ("ws://[::1]/", "[::1]", "[::1]"),
        ] {
            let target = Target::of("GET", url).unwrap();
            assert_eq!((target.authority, target.host), (authority, host), "{url}");
        }
        for url in [
            "",
            "gw.example",
            "ws://",
            "ws:///x",
            "ws://a@b/",
            "ws://a/#b",
            "ws://a/ b",
            "ws://a/\r\nx",
        ] {
            assert!(Target::of("GET", url).is_none(), "{url:?}");
        }
    }
}
