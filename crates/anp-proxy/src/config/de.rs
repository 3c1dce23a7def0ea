//! From the tree of all layers to typed settings, through serde.
//!
//! Text from the environment and the command line takes the type that its key has: a number, `true`
//! or `false`, a list, written `a,b` or as TOML `["a", "b"]`, or a table, written as TOML `{a = 1}`.

use serde::{
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer as _, Visitor, value},
    forward_to_deserialize_any,
};

use super::{
    file,
    mistake::Mistake,
    problem::Problems,
    tree::{Entry, Node, Step, Value},
};

/// Problems listed at once; whoever has more fixes these first.
const MOST: usize = 50;

/// Reads `tree` as a `T`. Each value that does not fit is named with its place, and the rest is
/// judged without it, so that one run shows all that is wrong.
pub(crate) fn typed<T: DeserializeOwned>(tree: Node) -> Result<T, Problems> {
    judged(tree, Mistake::into_problem).map_err(Problems)
}

/// As [`typed`]; `say` makes what is told of each mistake.
pub(crate) fn judged<T: DeserializeOwned, P>(
    mut tree: Node,
    say: impl Fn(Mistake) -> P,
) -> Result<T, Vec<P>> {
    let mut problems = Vec::new();
    loop {
        match T::deserialize(Typed(&tree)) {
            Ok(typed) if problems.is_empty() => return Ok(typed),
            Ok(_) => return Err(problems),
            Err(mistake) => {
                let path = mistake.path();
                problems.push(say(mistake));
                if problems.len() == MOST || !tree.remove(&path) {
                    return Err(problems);
                }
            }
        }
    }
}

/// A deserializer over a node.
#[derive(Clone, Copy)]
struct Typed<'a>(&'a Node);

impl Typed<'_> {
    fn text(&self) -> Option<&str> {
        match &self.0.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Text that is TOML of a list or table.
    fn parsed(&self, text: &str) -> Result<Node, Mistake> {
        file::parse_value(text, &self.0.origin)
            .map_err(|message| Mistake::message(message).at(&self.0.origin))
    }

    /// What stands here, text as text.
    fn plain<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.placed(match &self.0.value {
            Value::Table(entries) => visitor.visit_map(Keys {
                left: entries.iter(),
                current: None,
            }),
            Value::List(list) => visitor.visit_seq(Elements {
                left: list.iter().enumerate(),
            }),
            Value::Str(text) | Value::Text(text) => visitor.visit_str(text),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::TakenOut => visitor.visit_unit(),
            Value::Date(date) => Err(de::Error::invalid_type(
                de::Unexpected::Other(&format!("date {date}")),
                &visitor,
            )),
        })
    }

    fn placed<T>(&self, result: Result<T, Mistake>) -> Result<T, Mistake> {
        result.map_err(|mistake| match &self.0.value {
            Value::Str(text) | Value::Text(text) => mistake.about(text).at(&self.0.origin),
            _ => mistake.at(&self.0.origin),
        })
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
            let Some(text) = self.text() else {
                return self.deserialize_any(visitor);
            };
            self.placed(if let Ok(number) = text.trim().parse::<u64>() {
                visitor.visit_u64(number)
            } else if let Ok(number) = text.trim().parse::<i64>() {
                visitor.visit_i64(number)
            } else if let Ok(number) = text.trim().parse::<f64>() {
                visitor.visit_f64(number)
            } else {
                visitor.visit_str(text)
            })
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Typed<'_> {
    type Error = Mistake;

    /// Text that is a table is one: what asks for any value may take it.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.deserialize_map(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.plain(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.plain(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.text().map(str::trim) {
            Some("true") => self.placed(visitor.visit_bool(true)),
            Some("false") => self.placed(visitor.visit_bool(false)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Some(text) = self.text() else {
            return self.deserialize_any(visitor);
        };
        let list = if text.trim_start().starts_with('[') {
            self.parsed(text.trim())?
        } else {
            let elements = text.split(',').map(str::trim).filter(|t| !t.is_empty());
            Node {
                value: Value::List(
                    elements
                        .map(|t| Node::text(t, self.0.origin.clone()))
                        .collect(),
                ),
                origin: self.0.origin.clone(),
            }
        };
        Typed(&list).deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.text() {
            Some(text) if text.trim_start().starts_with('{') => {
                let table = self.parsed(text.trim())?;
                Typed(&table).plain(visitor)
            }
            _ => self.plain(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.placed(visitor.visit_some(self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        self.placed(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.0.value {
            Value::Str(text) | Value::Text(text) => {
                let name: value::StrDeserializer<'_, Mistake> = text.as_str().into_deserializer();
                self.placed(visitor.visit_enum(name))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The keys of a table, one after the other.
struct Keys<'a> {
    left: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

impl<'de> de::MapAccess<'de> for Keys<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        let Some(entry) = self.left.next() else {
            return Ok(None);
        };
        self.current = Some(entry);
        let name: value::StrDeserializer<'_, Mistake> = entry.key.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|mistake| {
            mistake
                .at(&entry.origin)
                .under(Step::Key(entry.key.clone()))
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mistake> {
        let Some(entry) = self.current.take() else {
            return Err(Mistake::message("a value without a key".to_owned()));
        };
        // What only the whole of a value is wrong with is said after the value was read.
        seed.deserialize(Typed(&entry.node)).map_err(|mistake| {
            mistake
                .at(&entry.node.origin)
                .under(Step::Key(entry.key.clone()))
        })
    }
}

/// The elements of a list, one after the other.
struct Elements<'a> {
    left: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Mistake;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mistake> {
        let is_there = |(_, node): &(usize, &Node)| !matches!(node.value, Value::TakenOut);
        let Some((index, node)) = self.left.find(is_there) else {
            return Ok(None);
        };
        seed.deserialize(Typed(node))
            .map(Some)
            .map_err(|mistake| mistake.at(&node.origin).under(Step::Index(index)))
    }
}
