//! The error of the typed reading: what does not fit, and where it was written.

use std::fmt;

#[cfg(any(feature = "app", test))]
use anp_gateway::config::nearest;
use anp_gateway::config::{Misfit, meant};
use serde::de;

use super::{
    problem::Problem,
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
    misfit: Misfit,
    origin: Option<Origin>,
    /// From the inside out, as it is found while returning.
    inside_out: Vec<Step>,
}

impl Mistake {
    /// One that has only a text.
    pub(crate) fn message(message: String) -> Self {
        Misfit::Message(message).into()
    }

    /// Replaces the standard library's words for a bad address, which show neither the text nor an
    /// example.
    pub(crate) fn about(mut self, text: &str) -> Self {
        if matches!(&self.misfit, Misfit::Message(m) if m == "invalid socket address syntax") {
            self.misfit = Misfit::Expected {
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
        let message = match &self.misfit {
            Misfit::UnknownKey { key, known } => unknown_key(key, known, &path),
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
        let Misfit::UnknownKey { key, known } = &self.misfit else {
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
    format!("unknown {what} \"{key}\"{place}; {}", meant(key, known))
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

impl From<Misfit> for Mistake {
    fn from(misfit: Misfit) -> Self {
        Self {
            misfit,
            origin: None,
            inside_out: Vec::new(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.misfit.fmt(f)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Misfit::custom(message).into()
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Misfit::invalid_type(found, expected).into()
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Misfit::invalid_value(found, expected).into()
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Misfit::unknown_variant(found, known).into()
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Misfit::unknown_field(key, known).into()
    }

    fn missing_field(key: &'static str) -> Self {
        Misfit::missing_field(key).into()
    }
}
