//! `config show`: the effective settings, and where each came from.

use serde::Serialize;
use toml_edit::{Item, Table, Value as Toml};

use super::tree::Node;

/// The settings of `config` as TOML that could be read back, with the origin of each value behind it.
///
/// Optional settings without a value are left out. Secrets are masked.
pub(super) fn show(config: &impl Serialize, tree: &Node) -> Result<String, String> {
    let document = toml_edit::ser::to_document(config).map_err(|error| error.to_string())?;
    let mut text = String::new();
    for (name, section) in document.iter() {
        let Some(keys) = table(section) else {
            continue;
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{name}]\n"));
        let lines: Vec<(String, String)> = keys
            .iter()
            .filter_map(|(key, item)| {
                let value = mask(item.clone().into_value().ok()?);
                let origin = tree.at(&[name, key]).map(|node| node.origin.to_string());
                Some((
                    format!("{key} = {}", value.to_string().trim()),
                    origin.unwrap_or_else(|| "default".to_owned()),
                ))
            })
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count());
        let width = width.filter(|w| *w <= 60).max().unwrap_or(0);
        for (line, origin) in lines {
            text.push_str(&format!("{line:width$}  # {origin}\n"));
        }
    }
    Ok(text)
}

fn table(item: &Item) -> Option<Table> {
    item.clone().into_table().ok()
}

/// Hides the user name and password of every URL in `value`.
fn mask(value: Toml) -> Toml {
    match value {
        Toml::String(text) => Toml::from(masked(text.value())),
        Toml::Array(list) => Toml::Array(list.into_iter().map(mask).collect()),
        other => other,
    }
}

/// `text` with what stands between `://` and `@` of a URL hidden.
fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://****{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn passwords_in_urls_are_masked() {
        assert_eq!(
            masked("ws://me:secret@gate.example/x@y"),
            "ws://****@gate.example/x@y"
        );
        assert_eq!(masked("ws://gate.example/a@b"), "ws://gate.example/a@b");
        assert_eq!(masked("unix:/run/app.sock"), "unix:/run/app.sock");
    }
}
