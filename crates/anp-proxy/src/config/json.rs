//! Settings that the calling program has as JSON, such as keyword arguments of Python.

use serde::de::DeserializeOwned;

use super::{
    de,
    mistake::Names,
    tree::{Entry, Node, Origin, Value},
};

/// The table `[gateway]` or `[receiver]` from `text`, a JSON object. A member that is null keeps its
/// default.
///
/// # Errors
/// Everything that cannot be, a line each that begins with the setting or names it. A setting among
/// `names.without` is no mistake here.
pub fn settings<T: DeserializeOwned>(text: &str, names: Names) -> Result<T, String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    de::judged(node(value)?, |mistake| mistake.into_setting(names))
        .map_err(|lines| lines.join("\n"))
}

fn node(value: serde_json::Value) -> Result<Node, String> {
    use serde_json::Value as Json;
    let value = match value {
        Json::Null => return Err("a list has an element that is null".to_owned()),
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::INFINITY)),
        },
        Json::String(text) => Value::Str(text),
        Json::Array(list) => Value::List(list.into_iter().map(node).collect::<Result<_, _>>()?),
        Json::Object(members) => {
            let entry = |(key, value)| {
                Ok(Entry {
                    key,
                    origin: Origin::Unknown,
                    node: node(value)?,
                })
            };
            let given = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Table(given.map(entry).collect::<Result<_, String>>()?)
        }
    };
    Ok(Node {
        value,
        origin: Origin::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names {
        without: &["to", "compress", "health_path"],
        besides: &["max_message"],
    };

    fn receiver(text: &str) -> Result<anp_receiver::Config, String> {
        settings(text, NAMES)
    }

    #[test]
    fn settings_come_from_json() {
        let config = receiver(r#"{"tunnels": 3, "name": null, "drain_timeout": "1s"}"#).unwrap();
        assert_eq!((config.tunnels, config.name), (3, None));
    }

    #[test]
    fn a_mistake_is_named_in_words_for_people() {
        for (text, said) in [
            (
                r#"{"tunnels": -1}"#,
                "tunnels: expected a whole number from 0 to 65535, found integer -1",
            ),
            (
                r#"{"tunnels": 1e30, "name": 5}"#,
                "tunnels: expected a whole number from 0 to 65535, found number 1000000000000000000000000000000\n\
                 name: expected a string, found integer 5",
            ),
            (
                r#"{"tunels": 1}"#,
                "unknown setting \"tunels\"; did you mean \"tunnels\"?",
            ),
            (
                r#"{"max_mesage": 1}"#,
                "unknown setting \"max_mesage\"; did you mean \"max_message\"?",
            ),
        ] {
            assert_eq!(receiver(text).unwrap_err(), said);
        }
        let unknown = receiver(r#"{"no_such": 1}"#).unwrap_err();
        let (_, known) = unknown.split_once("known: ").unwrap();
        let known: Vec<&str> = known.split(", ").collect();
        assert!(known.contains(&"tunnels") && known.contains(&"max_message"));
        assert!(!NAMES.without.iter().any(|name| known.contains(name)));
    }
}
