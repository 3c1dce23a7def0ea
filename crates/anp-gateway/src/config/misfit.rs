//! Why a value does not fit its setting: what serde says, in words for people. The configuration file
//! and the admin API say the same of the same mistake.

use std::fmt;

use serde::de;

/// A value that does not fit, or a key that there is not. Where it stands is for the reader to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// In the words of the type itself.
    Message(String),
    /// Another kind of value.
    Expected {
        /// What was expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A key that there is not.
    UnknownKey {
        /// The key.
        key: String,
        /// Those that there are.
        known: &'static [&'static str],
    },
    /// A word that is none of some.
    UnknownChoice {
        /// The word.
        found: String,
        /// Those that there are.
        known: &'static [&'static str],
    },
    /// A key without which there can be nothing.
    Missing(&'static str),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.write_str(message),
            Self::Expected { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::UnknownKey { key, known } => {
                write!(f, "unknown key \"{key}\"; {}", meant(key, known))
            }
            Self::UnknownChoice { found, known } => {
                write!(f, "expected one of {}, found \"{found}\"", quoted(known))?;
                match nearest(found, known.iter().copied()) {
                    Some(meant) => write!(f, "; did you mean \"{meant}\"?"),
                    None => Ok(()),
                }
            }
            Self::Missing(key) => write!(f, "\"{key}\" is missing"),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What somebody who wrote `key` may have meant.
pub fn meant(key: &str, known: &[&str]) -> String {
    match nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = match (plain(&expected.to_string()), found) {
            (list, de::Unexpected::Str(text)) if list == LIST && !is_token(text) => {
                format!("{LIST}, such as [\"{}\"]", text.escape_debug())
            }
            (expected, _) => expected,
        };
        Self::Expected {
            expected,
            found: described(found),
        }
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownChoice {
            found: found.to_owned(),
            known,
        }
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey {
            key: key.to_owned(),
            known,
        }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}

/// Several values in brackets.
const LIST: &str = "a list";

/// True for a token: in the wrong place it is still one.
fn is_token(text: &str) -> bool {
    text.starts_with("anp_")
}

/// What serde calls a Rust type, in words for people.
fn plain(expected: &str) -> String {
    let words = match expected {
        "a sequence" => LIST,
        "a boolean" => "true or false",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number",
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64"
        | "a nonzero usize" => "a whole number above 0",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("enum ") => "a string",
        other => other,
    };
    words.to_owned()
}

fn described(found: de::Unexpected<'_>) -> String {
    use de::Unexpected as U;
    match found {
        U::Bool(flag) => format!("{flag}"),
        U::Unsigned(number) => format!("integer {number}"),
        U::Signed(number) => format!("integer {number}"),
        U::Float(number) => format!("number {number}"),
        U::Str(text) if is_token(text) => "a token".to_owned(),
        U::Str(text) => format!("string \"{}\"", text.escape_debug()),
        U::Unit => "null".to_owned(),
        U::Seq => LIST.to_owned(),
        U::Map => "a table".to_owned(),
        U::Other(other) => other.to_owned(),
        other => other.to_string(),
    }
}

/// The one of `known` that `word` most likely meant, if any is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let most = (length / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = ["listen", "tunnel_listen", "name", "to"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("lsiten", known), Some("listen"));
        assert_eq!(nearest("tunel-listen", known), Some("tunnel_listen"));
        assert_eq!(nearest("ot", known), Some("to"));
        assert_eq!(nearest("certificate", known), None);
    }

    #[test]
    fn an_absurdly_long_key_is_no_match() {
        assert_eq!(nearest(&"x".repeat(100), ["listen"]), None);
    }
}
