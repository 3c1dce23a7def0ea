//! How long a document may be kept (RFC 9111).

use std::time::Duration;

use http::{
    HeaderMap,
    header::{AGE, CACHE_CONTROL},
};

/// Without a word from the server.
const DEFAULT: Duration = Duration::from_secs(300);

/// Whatever the server says: otherwise each forged header that names a DID would fetch.
const LEAST: Duration = Duration::from_secs(60);

/// Whatever the server says: a removed key must not be believed for longer.
const MOST: Duration = Duration::from_secs(24 * 3600);

/// How long an answer with these headers is fresh, from 1 minute to 1 day.
pub(super) fn fresh_for(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase());
    let mut max_age = None;
    for directive in directives {
        match directive.split_once('=') {
            // The least counts if it is repeated.
            Some(("max-age", seconds)) => {
                let seconds = seconds.trim_matches('"').parse::<u64>().unwrap_or(0);
                max_age = Some(max_age.unwrap_or(u64::MAX).min(seconds));
            }
            None if matches!(directive.as_str(), "no-store" | "no-cache") => max_age = Some(0),
            _ => {}
        }
    }
    let Some(seconds) = max_age else {
        return DEFAULT;
    };
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| age.parse().ok()).unwrap_or(0);
    Duration::from_secs(seconds.saturating_sub(age)).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_heard_within_limits() {
        for (value, age, seconds) in [
            ("", "", 300),
            ("public", "", 300),
            ("max-age=3600", "", 3600),
            ("public, Max-Age=\"3600\"", "", 3600),
            ("max-age=3600", "600", 3000),
            ("max-age=3600", "4000", 60),
            ("max-age=3600, max-age=600", "", 600),
            ("max-age=99999999999", "", 86_400),
            ("max-age=99999999999999999999999", "", 60),
            ("max-age=1", "", 60),
            ("max-age=x", "", 60),
            ("no-store", "", 60),
            ("max-age=3600, no-cache", "", 60),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            headers.insert(AGE, age.parse().unwrap());
            assert_eq!(fresh_for(&headers).as_secs(), seconds, "{value}");
        }
    }
}
