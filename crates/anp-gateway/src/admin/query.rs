//! The query of a request: known keys, each once.

use std::borrow::Cow;

use http::StatusCode;

use super::reply::Problem;

/// Items of a page, unless asked otherwise, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// The decoded values of `query`, in the order of `keys`.
///
/// # Errors
/// A key is not one of `keys`, or is there twice.
pub(super) fn values<'q, const N: usize>(
    query: &'q str,
    keys: [&str; N],
) -> Result<[Option<Cow<'q, str>>; N], Problem> {
    let mut values = [const { None }; N];
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let at = keys.iter().position(|known| *known == key);
        let Some(place) = at.and_then(|at| values.get_mut(at)) else {
            return Err(bad(match keys.is_empty() {
                true => "this path takes no query".to_owned(),
                false => format!("{key:?} is not known here; there are: {}", keys.join(" ")),
            }));
        };
        if place.replace(value).is_some() {
            return Err(bad(format!("{key:?} is there twice")));
        }
    }
    Ok(values)
}

/// How many items a page shall have.
///
/// # Errors
/// `limit` is no number from 1 to 1000.
pub(super) fn limit(limit: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = limit else {
        return Ok(PAGE);
    };
    let number = text
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok());
    match number.flatten() {
        Some(limit) if (1..=MAX_PAGE).contains(&limit) => Ok(limit),
        _ => Err(bad(format!(
            "limit: {text:?} is no number from 1 to {MAX_PAGE}"
        ))),
    }
}

/// True for what is written as DIDs are: a place in a list of them. It need not be one.
pub(super) fn is_like_did(text: &str) -> bool {
    let like = |b: u8| b.is_ascii_alphanumeric() || b"._~%:-".contains(&b);
    text.strip_prefix("did:wba:")
        .is_some_and(|rest| (1..=504).contains(&rest.len()) && rest.bytes().all(like))
}

/// 400 with `detail`.
pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_once() {
        let [after, limit] = values("limit=7&after=a%2Eb", ["after", "limit"]).unwrap();
        assert_eq!(
            (after.as_deref(), limit.as_deref()),
            (Some("a.b"), Some("7"))
        );
        assert!(values("", []).is_ok());
        for query in ["x=1", "after=a&after=a", "after", "=", "a&b"] {
            assert_eq!(
                values(query, ["after"]).is_ok(),
                query == "after",
                "{query}"
            );
        }
    }

    #[test]
    fn limits() {
        assert_eq!(limit(None).unwrap(), 100);
        assert_eq!(limit(Some("1000")).unwrap(), 1000);
        for text in [
            "",
            "0",
            "1001",
            "-1",
            "+1",
            "1.0",
            "x",
            "99999999999999999999999",
        ] {
            assert!(limit(Some(text)).is_err(), "{text}");
        }
    }
}
