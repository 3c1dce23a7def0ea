//! Header maps of version 1 (ANPX 2.3): a JSON object of strings, and back.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::error::MetaError;
use crate::{
    fields::{Fields, FieldsError, HOP_BY_HOP},
    role::Role,
};

/// Most entries of a map that are looked at.
const MAX_ENTRIES: usize = 4096;

/// The entries of a JSON object of scalars, in order, repeats kept. `null` reads as an empty object.
#[derive(Debug, Default)]
pub(super) struct Entries(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_unit<E>(self) -> Result<Entries, E> {
        Ok(Entries::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Scalar>()? {
            if entries.len() == MAX_ENTRIES {
                return Err(A::Error::custom("too many entries"));
            }
            if let Some(value) = value.0 {
                entries.push((name, value));
            }
        }
        Ok(Entries(entries))
    }
}

/// A string, or a number or boolean as its text; anything else is `None`.
struct Scalar(Option<String>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(Some(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Scalar, E> {
        Ok(Scalar(Some(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(Some(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(Some(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(Some(value.to_string())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(Some(value.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }
}

/// True for names that speak of framing or of one connection and so mean nothing in a map (ANPX 2.3).
fn is_dropped(name: &[u8]) -> bool {
    name == b"content-length"
        || name == b"expect"
        || HOP_BY_HOP.iter().any(|n| n.as_bytes() == name)
}

/// Adds `fields` to `map`, in order, each name once: values of a repeated name joined, and every
/// `set-cookie` under a key of its own.
pub(super) fn write(fields: &Fields, role: Role, map: &mut Map<String, Value>) {
    let mut cookies = 0;
    for (name, value) in fields {
        if is_dropped(name) {
            continue;
        }
        let value = text(value, role);
        let key = if name == b"set-cookie" {
            cookies += 1;
            set_cookie(cookies - 1)
        } else {
            // Names are ASCII by the rules of `Fields`.
            String::from_utf8_lossy(name).into_owned()
        };
        match map.get_mut(&key) {
            Some(Value::String(joined)) => {
                joined.push_str(if key == "cookie" { "; " } else { ", " });
                joined.push_str(&value);
            }
            _ => {
                map.insert(key, Value::String(value.into_owned()));
            }
        }
    }
}

/// The key of the `n`-th `set-cookie`: its i-th letter is a capital where bit i of `n` is set.
/// `Fields` holds fewer than the 512 that nine letters tell apart.
fn set_cookie(n: usize) -> String {
    let mut letter = 0;
    "set-cookie"
        .chars()
        .map(|c| {
            if !c.is_ascii_alphabetic() {
                return c;
            }
            letter += 1;
            if n >> (letter - 1) & 1 == 1 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect()
}

/// A value as a JSON string holds it. A gateway writes UTF-8 and, where the bytes are none, Latin-1;
/// a receiver writes Latin-1 always.
fn text(value: &[u8], role: Role) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) if role == Role::Gateway || value.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(value.iter().map(|b| char::from(*b)).collect()),
    }
}

/// The bytes of a string from a map. A gateway reads UTF-8; a receiver reads one byte a character,
/// and the UTF-8 of characters above U+00FF.
fn bytes(text: &str, role: Role) -> Cow<'_, [u8]> {
    if role == Role::Gateway || text.is_ascii() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) => out.push(byte),
            Err(_) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Cow::Owned(out)
}

/// What a header map says.
pub(super) struct HeaderMap {
    /// Every field but framing, hop-by-hop ones and `host`.
    pub(super) fields: crate::fields::FieldsBuilder,
    /// The first `host`, trimmed, as bytes.
    pub(super) host: Option<Vec<u8>>,
    /// The first `content-length`, if it is one number of at most 19 digits.
    pub(super) content_length: Option<u64>,
}

/// Reads a header map without regard to case. White space around values is removed.
///
/// # Errors
/// A name that is no token, a value with a control character, or too much of them: what carries
/// such a field is an attack or broken, and not repaired here.
pub(super) fn read(entries: &Entries, role: Role) -> Result<HeaderMap, MetaError> {
    let entries: Vec<(String, &str)> = entries
        .0
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
        .collect();
    let named: Vec<String> = entries
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| value.split(','))
        .map(|name| name.trim_matches([' ', '\t']).to_ascii_lowercase())
        .collect();
    let mut map = HeaderMap {
        fields: Fields::builder(512),
        host: None,
        content_length: None,
    };
    for (name, value) in &entries {
        let value = bytes(value, role);
        if name == "host" {
            map.host.get_or_insert_with(|| value.into_owned());
        } else if name == "content-length" {
            map.content_length = map.content_length.or_else(|| digits(&value));
        } else if !is_dropped(name.as_bytes()) && !named.contains(name) {
            let pushed = map.fields.push(name.as_bytes(), &value);
            pushed.map_err(|error| match error {
                FieldsError::TooLarge => MetaError::TooLarge,
                error => MetaError::Field {
                    name: name.clone(),
                    error,
                },
            })?;
        }
    }
    Ok(map)
}

/// A number of at most 19 digits, which always fits.
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    if !(1..=19).contains(&value.len()) {
        return None;
    }
    value.iter().try_fold(0, |n: u64, b| {
        b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0'))
    })
}
