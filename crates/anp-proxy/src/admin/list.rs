//! Lists of the API, the names in them, and how answers are shown.

use serde_json::{Value, json};

use super::client::Client;
use crate::{exit::Failure, stdout};

/// Items of one question for a list.
const PAGE: usize = 1000;

/// Prints an answer as it came, or what `people` make of it.
///
/// # Errors
/// It cannot be printed.
pub(super) fn say(
    json: bool,
    value: &Value,
    people: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match json {
        true => stdout::say(&format!("{value:#}")),
        false => stdout::say(&people()),
    }
}

/// All pages of a list.
pub(super) async fn all(client: &Client, list: &str) -> Result<Value, Failure> {
    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let target = format!("/{list}?limit={PAGE}{after}");
        let mut page = client.ask("GET", &target, None).await?;
        if let Some(Value::Array(more)) = page.get_mut(list).map(Value::take) {
            items.extend(more);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={}", escaped(next)),
            _ => return Ok(json!({ list: items })),
        }
    }
}

/// The path of `name`, which stands in it as it is.
pub(super) fn path_of(list: &str, name: &str) -> Result<String, Failure> {
    // A DID, too, stands there as it is.
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'%' | b'~');
    match !name.is_empty() && name.bytes().all(plain) {
        true => Ok(format!("/{list}/{name}")),
        false => Err(Failure::usage(format!(
            "{name:?} is no name: expected 1 to 64 of 0-9 A-Z a-z . _ -, or a DID"
        ))),
    }
}

/// Text as it can stand in a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => escaped.push(char::from(byte)),
            false => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

/// The items of a list.
pub(super) fn items<'v>(value: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
