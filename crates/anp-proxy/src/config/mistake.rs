//! The error of the typed reading: what serde says, in words for people.

use std::fmt;

use serde::de;

use super::{
    problem::{Problem, nearest},
    tree::{Origin, Step},
};

/// How the names that a program offers differ from the keys of the table they stand for.
#[cfg(any(feature = "app", test))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Names {
    /// Keys that it does not offer.
    pub without: &'static [&'static str],
    /// Names of its own.
    pub besides: &'static [&'static str],
}

/// Why a value did not fit, where it stands, and the keys that lead to it.
#[derive(Debug)]
pub(crate) struct Mistake {
    kind: Kind,
    origin: Option<Origin>,
    /// From the inside out, as it is found while returning.
    inside_out: Vec<Step>,
}

#[derive(Debug)]
enum Kind {
    Message(String),
    Expected {
        expected: String,
        found: String,
    },
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    UnknownChoice {
        found: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
}

impl Mistake {
    /// One that has only a text.
    pub(crate) fn message(message: String) -> Self {
        Kind::Message(message).into()
    }

    /// Replaces the standard library's words for a bad address, which show neither the text nor an
    /// example.
    pub(crate) fn about(mut self, text: &str) -> Self {
        if matches!(&self.kind, Kind::Message(m) if m == "invalid socket address syntax") {
            self.kind = Kind::Expected {
                expected: "an IP address and a port, such as \"127.0.0.1:8080\"".to_owned(),
                found: format!("\"{}\"", text.escape_debug()),
            };
        }
        self
    }

    /// With this origin, unless a more exact one is known.
    pub(crate) fn at(mut self, origin: &Origin) -> Self {
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    /// One step further out.
    pub(crate) fn under(mut self, step: Step) -> Self {
        self.inside_out.push(step);
        self
    }

    /// The steps from the root to what is wrong.
    pub(crate) fn path(&self) -> Vec<Step> {
        self.inside_out.iter().rev().cloned().collect()
    }

    /// The line the user reads.
    pub(crate) fn into_problem(self) -> Problem {
        let path = self.path();
        let message = match &self.kind {
            Kind::UnknownKey { key, known } => unknown_key(key, known, &path),
            other => match dotted(&path).as_str() {
                "" => other.to_string(),
                key => format!("{key}: {other}"),
            },
        };
        Problem {
            origin: self.origin.unwrap_or(Origin::Unknown),
            message,
        }
    }
}

#[cfg(any(feature = "app", test))]
impl Mistake {
    /// The line for who gives settings by `names`.
    pub(crate) fn into_setting(self, names: Names) -> String {
        let Kind::UnknownKey { key, known } = &self.kind else {
            return self.into_problem().message;
        };
        if self.inside_out.len() > 1 {
            return self.into_problem().message;
        }
        let offered = known.iter().filter(|name| !names.without.contains(name));
        let offered: Vec<&str> = offered.chain(names.besides).copied().collect();
        let hint = match nearest(key, offered.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known: {}", offered.join(", ")),
        };
        format!("unknown setting \"{key}\"; {hint}")
    }
}

fn unknown_key(key: &str, known: &[&'static str], path: &[Step]) -> String {
    let outer = &path[..path.len().saturating_sub(1)];
    let (what, place) = match outer.last() {
        None => ("section or key", String::new()),
        Some(Step::Key(_)) => ("key", format!(" in [{}]", dotted(outer))),
        Some(Step::Index(_)) => (
            "key",
            format!(" in [[{}]]", dotted(&outer[..outer.len() - 1])),
        ),
    };
    let hint = match nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("known here: {}", known.join(", ")),
    };
    format!("unknown {what} \"{key}\"{place}; {hint}")
}

/// `gateway.endpoints[0].name`.
fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

impl From<Kind> for Mistake {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            origin: None,
            inside_out: Vec::new(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.write_str(message),
            Self::Expected { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::UnknownKey { key, .. } => write!(f, "unknown key \"{key}\""),
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

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::message(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Kind::Expected {
            expected: plain(&expected.to_string()),
            found: described(found),
        }
        .into()
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Kind::UnknownChoice {
            found: found.to_owned(),
            known,
        }
        .into()
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Kind::UnknownKey {
            key: key.to_owned(),
            known,
        }
        .into()
    }

    fn missing_field(key: &'static str) -> Self {
        Kind::Missing(key).into()
    }
}

/// What serde calls a Rust type, in words for people.
fn plain(expected: &str) -> String {
    let words = match expected {
        "a sequence" => "a list",
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
        // A token in the wrong place is still one.
        U::Str(text) if text.starts_with("anp_") => "a token".to_owned(),
        U::Str(text) => format!("string \"{}\"", text.escape_debug()),
        U::Seq => "a list".to_owned(),
        U::Map => "a table".to_owned(),
        U::Other(other) => other.to_owned(),
        other => other.to_string(),
    }
}
