//! What the settings of an endpoint are known again by, so that nobody overwrites a change that was
//! not seen (RFC 9110 section 13.1.1).

use std::hash::{DefaultHasher, Hasher as _};

use crate::config::Endpoint;

/// The entity tag of these settings, in its quotes: equal as long as they are. Another version of
/// this program may make another of them, after which whoever changes them looks once more.
pub(crate) fn tag(settings: &Endpoint) -> String {
    let mut hasher = DefaultHasher::new();
    // Settings are a struct of plain values, which JSON can always write.
    hasher.write(&serde_json::to_vec(settings).unwrap_or_default());
    format!("\"{:016x}\"", hasher.finish())
}

/// What the settings must be for a change to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Whatever they are.
    #[default]
    Anything,
    /// One of those with these tags.
    These(Vec<String>),
}

impl Expected {
    /// What the values of `If-Match` say. A weak tag matches nothing, nor does what is none.
    pub(crate) fn read<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let mut tags = Vec::new();
        let mut asked = false;
        for value in values {
            asked = true;
            let value = String::from_utf8_lossy(value);
            if value.trim() == "*" {
                return Self::Anything;
            }
            tags.extend(value.split(',').map(|tag| tag.trim().to_owned()));
        }
        match asked {
            true => Self::These(tags),
            false => Self::Anything,
        }
    }

    /// True if they are.
    pub(super) fn holds(&self, settings: &Endpoint) -> bool {
        match self {
            Self::Anything => true,
            Self::These(tags) => tags.contains(&tag(settings)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_strongly() {
        let settings = Endpoint::default();
        let own = tag(&settings);
        let holds =
            |values: &[&str]| Expected::read(values.iter().map(|v| v.as_bytes())).holds(&settings);
        assert!(holds(&[]) && holds(&["*"]) && holds(&[&own]));
        assert!(holds(&[&format!("\"x\" , {own}")]) && holds(&["\"x\"", &own]));
        for other in [
            "",
            "\"x\"",
            &format!("W/{own}"),
            own.trim_matches('"'),
            "*, *",
        ] {
            assert!(!holds(&[other]), "{other}");
        }
        let changed = Endpoint {
            max_requests: Some(1),
            ..settings
        };
        assert_ne!(tag(&changed), own);
    }
}
