//! `config show`: the effective settings, and where each came from.

use anp_receiver::without_user;
use serde::Serialize;
use toml_edit::{Array, DocumentMut, Item, Key, Table, Value as Toml};

use super::{
    apps::App,
    tree::{Node, Value},
};

/// The settings of `config` as TOML that could be read back, with the origin of each value behind it.
///
/// Optional settings without a value are left out, and so are lists that nobody wrote and that are
/// empty: some must have an element where they are written. Of a gateway's and a receiver's settings
/// those that nobody wrote are left out where the others were. Secrets are masked.
pub(super) fn show(config: &impl Serialize, apps: &[App], tree: &Node) -> Result<String, String> {
    let sections = document(config)?;
    let mut text = String::new();
    for (name, section) in sections.iter() {
        let Some(keys) = table(section) else {
            continue;
        };
        let other = match name {
            "gateway" => Some("receiver"),
            "receiver" => Some("gateway"),
            _ => None,
        };
        let is_written = |name| tree.at(&[name]).is_some();
        if !is_written(name) && other.is_some_and(is_written) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{name}]\n"));
        write(&mut text, &keys, tree.at(&[name]));
    }
    for App {
        key,
        node,
        receiver,
    } in apps
    {
        let own = tree.at(&["receiver", "apps", key]);
        let mut keys = document(receiver)?.as_table().clone();
        // The others are those of [receiver].
        keys.retain(|key, _| key == "name" || own.is_some_and(|own| own.at(&[key]).is_some()));
        let name = Key::new(key);
        text.push_str(&format!("\n[receiver.apps.{}]\n", name.display_repr()));
        write(&mut text, &keys, Some(node));
    }
    Ok(text)
}

fn document(settings: &impl Serialize) -> Result<DocumentMut, String> {
    toml_edit::ser::to_document(settings).map_err(|error| error.to_string())
}

/// Writes the keys of a section, their origins one below the other.
fn write(text: &mut String, keys: &Table, node: Option<&Node>) {
    let mut lines = Vec::new();
    collect(keys, node, "", &mut lines);
    let width = lines.iter().map(|(line, _)| line.chars().count());
    let width = width.filter(|w| *w <= 60).max().unwrap_or(0);
    for (line, origin) in lines {
        text.push_str(&format!("{line:width$}  # {origin}\n"));
    }
}

/// A line for each key and its origin. A table that was written is shown key by key, since each may
/// have come from elsewhere.
fn collect(table: &Table, node: Option<&Node>, prefix: &str, lines: &mut Vec<(String, String)>) {
    for (key, item) in table {
        let node = node.and_then(|node| node.at(&[key]));
        let key = format!("{prefix}{}", Key::new(key).display_repr());
        let inner = item.clone().into_table().ok();
        match inner.filter(|_| node.is_some_and(|node| matches!(node.value, Value::Table(_)))) {
            Some(inner) => collect(&inner, node, &format!("{key}."), lines),
            None => {
                let Ok(value) = item.clone().into_value() else {
                    continue;
                };
                let origin = node.map(|node| node.origin.to_string());
                if origin.is_none() && value.as_array().is_some_and(Array::is_empty) {
                    continue;
                }
                lines.push((
                    format!("{key} = {}", mask(value).to_string().trim()),
                    origin.unwrap_or_else(|| "default".to_owned()),
                ));
            }
        }
    }
}

fn table(item: &Item) -> Option<Table> {
    item.clone().into_table().ok()
}

/// Hides the user name and password of every URL in `value`.
fn mask(value: Toml) -> Toml {
    match value {
        Toml::String(text) => Toml::from(without_user(text.value())),
        Toml::Array(list) => Toml::Array(list.into_iter().map(mask).collect()),
        other => other,
    }
}
