//! Settings that an endpoint can turn off.

use std::{fmt, marker::PhantomData};

use anp_tunnel::units::Span;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IntoDeserializer as _, value::MapAccessDeserializer},
};

/// A setting that an endpoint can turn off where the gateway turns it on: `false`, or its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch<T> {
    /// `false`.
    Off,
    /// Its value.
    On(T),
}

impl<T> Switch<T> {
    /// The value in effect: that of an endpoint before that of its gateway.
    pub(crate) fn effective<'a>(own: &'a Option<Self>, all: &'a Option<Self>) -> Option<&'a T> {
        match own.as_ref().or(all.as_ref()) {
            Some(Self::On(value)) => Some(value),
            Some(Self::Off) | None => None,
        }
    }

    /// The value, where there is one.
    pub fn on(&self) -> Option<&T> {
        match self {
            Self::On(value) => Some(value),
            Self::Off => None,
        }
    }
}

/// A value that may be `true` in a configuration.
pub(super) trait Known: Sized {
    /// What `true` stands for, where it stands for anything.
    fn by_true() -> Option<Self> {
        None
    }
    /// What is expected, in words.
    const EXPECTED: &'static str;
}

impl Known for Span {
    const EXPECTED: &'static str = "false, or a duration with its unit, such as \"15s\"";
}

impl<'de, T: Known + Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor(PhantomData))
    }
}

struct SwitchVisitor<T>(PhantomData<T>);

impl<'de, T: Known + Deserialize<'de>> de::Visitor<'de> for SwitchVisitor<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: de::Error>(self, on: bool) -> Result<Switch<T>, E> {
        match (on, T::by_true()) {
            (false, _) => Ok(Switch::Off),
            (true, Some(value)) => Ok(Switch::On(value)),
            (true, None) => Err(E::invalid_value(de::Unexpected::Bool(true), &self)),
        }
    }

    // What the environment and the command line give.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Switch<T>, E> {
        match text.trim() {
            "false" => self.visit_bool(false),
            "true" => self.visit_bool(true),
            _ => T::deserialize(text.into_deserializer()).map(Switch::On),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
    }
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(value) => value.serialize(serializer),
        }
    }
}
