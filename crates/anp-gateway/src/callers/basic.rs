//! Name and secret of basic authentication (RFC 7617).

use anpx::Fields;
use base64::{Engine, engine::general_purpose::STANDARD};

/// Longest credentials looked at, in bytes: those that `anp-proxy token new` makes are shorter.
const MAX: usize = 512;

/// The name and the secret that a request shows; nothing where it shows none, or more than one.
pub(super) fn shown(fields: &Fields) -> Option<(String, String)> {
    let mut values = fields.iter().filter(|(name, _)| *name == b"authorization");
    let (_, value) = values.next()?;
    if values.next().is_some() || value.len() > MAX {
        return None;
    }
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, secret) = text.split_once(':')?;
    Some((name.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<(String, String)> {
        shown(&Fields::from_pairs(values.iter().map(|v| ("authorization", v))).unwrap())
    }

    #[test]
    fn only_one_whole_pair_is_read() {
        let pair = |name: &str, secret: &str| Some((name.to_owned(), secret.to_owned()));
        assert_eq!(read(&["Basic YTpi"]), pair("a", "b"));
        assert_eq!(read(&["bAsIc   YTpiOmM="]), pair("a", "b:c"));
        assert_eq!(read(&["Basic Og=="]), pair("", ""));
        for values in [
            &[][..],
            &["Basic YTpi", "Basic YTpi"],
            &["Basic YTpi", "Bearer x"],
            &["Basic"],
            &["BasicYTpi"],
            &["Basic YQ=="],
            &["Basic ?"],
            &["Basic /zr/"],
            &["Bearer YTpi"],
            &[&format!("Basic {}", "YTpi".repeat(200))],
        ] {
            assert_eq!(read(values), None, "{values:?}");
        }
    }
}
