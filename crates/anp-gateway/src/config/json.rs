//! Settings as JSON, which the admin API takes: what does not fit is said with its key.

use std::fmt;

use serde::{
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer as _, Visitor, value},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value, map};

use super::Misfit;

/// The settings in an object.
///
/// # Errors
/// The first that does not fit, such as `callers.networks[0]`, and what was expected.
pub(crate) fn from_json<T: DeserializeOwned>(fields: &Map<String, Value>) -> Result<T, Mistake> {
    T::deserialize(value::MapAccessDeserializer::new(Members::of(fields)))
}

/// What does not fit, and the keys that lead to it.
#[derive(Debug)]
pub(crate) struct Mistake {
    misfit: Misfit,
    /// Such as `callers.networks[0]`.
    at: String,
}

impl Mistake {
    /// One step further out: `step` is a key, or an index in brackets.
    fn under(mut self, step: &str) -> Self {
        let dot = match self.at.chars().next() {
            None | Some('[') => "",
            Some(_) => ".",
        };
        self.at = format!("{step}{dot}{}", self.at);
        self
    }
}

impl From<Misfit> for Mistake {
    fn from(misfit: Misfit) -> Self {
        Self {
            misfit,
            at: String::new(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => self.misfit.fmt(f),
            at => write!(f, "{at}: {}", self.misfit),
        }
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

/// A deserializer over a value.
struct Read<'a>(&'a Value);

impl<'de> de::Deserializer<'de> for Read<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::INFINITY)),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(list) => visitor.visit_seq(Elements(list.iter().enumerate())),
            Value::Object(fields) => visitor.visit_map(Members::of(fields)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.0 {
            Value::String(text) => {
                let name: value::StrDeserializer<'_, Mistake> = text.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The members of an object, one after the other.
struct Members<'a> {
    left: map::Iter<'a>,
    current: Option<(&'a str, &'a Value)>,
}

impl<'a> Members<'a> {
    fn of(fields: &'a Map<String, Value>) -> Self {
        Self {
            left: fields.iter(),
            current: None,
        }
    }
}

impl<'de> de::MapAccess<'de> for Members<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        let Some((key, value)) = self.left.next() else {
            return Ok(None);
        };
        self.current = Some((key, value));
        let name: value::StrDeserializer<'_, Mistake> = key.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        let Some((key, value)) = self.current.take() else {
            return Err(Misfit::Message("a value without a key".to_owned()).into());
        };
        seed.deserialize(Read(value))
            .map_err(|mistake| mistake.under(key))
    }
}

/// The elements of a list, one after the other.
struct Elements<'a>(std::iter::Enumerate<std::slice::Iter<'a, Value>>);

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mistake> {
        let Some((index, value)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Read(value))
            .map(Some)
            .map_err(|mistake| mistake.under(&format!("[{index}]")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Endpoint;

    fn endpoint(settings: Value) -> Result<Endpoint, String> {
        let Value::Object(mut fields) = settings else {
            panic!("an object");
        };
        fields.insert("name".to_owned(), "a".into());
        from_json(&fields).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn settings_come_from_json() {
        let read = endpoint(json!({
            "host": null, "max_requests": 5, "max_body_size": "1KiB", "sse_keepalive": false,
            "owner": "token:lab", "cors": {"origins": ["*"]}, "strip_prefix": true,
            "client_rate": {"requests": "5/s"}, "callers": {"networks": ["10.0.0.0/8"]},
        }));
        let read = read.unwrap();
        assert_eq!((read.max_requests, read.host.as_deref()), (Some(5), None));
        // It comes back as it was given, with what it has beside that.
        let shown = serde_json::to_value(&read).unwrap();
        assert_eq!(endpoint(shown).unwrap(), read);
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_key() {
        for (settings, said) in [
            (
                json!({"max_requests": "5"}),
                "max_requests: expected a whole number, found string \"5\"",
            ),
            (
                json!({"response_timeout": "30s", "idle_timeout": "30"}),
                "idle_timeout: \"30\" is not a duration: expected a whole number with ms, s, m or \
                 h, such as \"30s\"",
            ),
            (
                json!({"sse_keepalive": 15}),
                "sse_keepalive: expected false, or a duration with its unit, such as \"15s\", \
                 found integer 15",
            ),
            (
                json!({"receivers": ["r", null]}),
                "receivers[1]: expected a string, found null",
            ),
            (
                json!({"callers": {"networks": ["1.2.3.4/24"]}}),
                "callers.networks[0]: \"1.2.3.4/24\"",
            ),
            (
                json!({"callers": {"basic": [{"name": "ann"}]}}),
                "callers.basic[0]: \"hash\" is missing",
            ),
            (
                json!({"callers": {"network": []}}),
                "callers: unknown key \"network\"; did you mean \"networks\"?",
            ),
            (
                json!({"pat": "/"}),
                "unknown key \"pat\"; did you mean \"path\"?",
            ),
        ] {
            let error = endpoint(settings).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
