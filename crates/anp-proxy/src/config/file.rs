//! The configuration file: TOML, read with the place of every key and value.

use std::{ops::Range, sync::Arc};

use toml_edit::{Document, Item, TableLike, Value as Toml};

use super::{
    problem::Problem,
    tree::{Entry, Node, Origin, Value},
};

/// Reads TOML `text`; `file` is its name in messages.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    let places = Places::new(file, text);
    let document = Document::parse(text).map_err(|error| Problem {
        origin: places.origin(error.span()),
        message: one_line(error.message()),
    })?;
    Ok(places.table(document.as_table(), Origin::Unknown))
}

/// The place behind `text`, which `file` begins with.
pub(crate) fn end_of(file: &str, text: &str) -> Origin {
    Places::new(file, text).origin(Some(text.len()..text.len()))
}

/// Reads one TOML value, such as a list, that stands in the environment or on the command line.
pub(crate) fn parse_value(text: &str, origin: &Origin) -> Result<Node, String> {
    let value: Toml = text
        .parse()
        .map_err(|error: toml_edit::TomlError| one_line(error.message()))?;
    let places = Places::new("", text);
    let mut node = places.value(&value, origin);
    replace_origin(&mut node, origin);
    Ok(node)
}

/// A message of the TOML parser on one line.
fn one_line(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(", ")
}

fn replace_origin(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|n| replace_origin(n, origin)),
        Value::Table(entries) => {
            for entry in entries {
                entry.origin = origin.clone();
                replace_origin(&mut entry.node, origin);
            }
        }
        _ => {}
    }
}

/// Turns byte ranges into lines and columns.
struct Places<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(file: &str, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file: file.into(),
            text,
            lines: std::iter::once(0).chain(ends).collect(),
        }
    }

    fn origin(&self, span: Option<Range<usize>>) -> Origin {
        let Some(at) = span.map(|span| span.start.min(self.text.len())) else {
            return Origin::Unknown;
        };
        let line = self.lines.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|i| self.lines.get(i));
        let Some(before) = start.and_then(|start| self.text.get(*start..at)) else {
            return Origin::Unknown;
        };
        Origin::File {
            file: self.file.clone(),
            line,
            column: before.chars().count() + 1,
        }
    }

    /// The origin of `span`, or `outer` where the parser kept none (a table that only its
    /// sub-tables mention).
    fn origin_or(&self, span: Option<Range<usize>>, outer: &Origin) -> Origin {
        match self.origin(span) {
            Origin::Unknown => outer.clone(),
            known => known,
        }
    }

    fn table(&self, table: &dyn TableLike, origin: Origin) -> Node {
        let mut entries = Vec::with_capacity(table.len());
        for (name, item) in table.iter() {
            let key = table.get_key_value(name).and_then(|(key, _)| key.span());
            let key = self.origin_or(key, &origin);
            if let Some(node) = self.item(item, &key) {
                entries.push(Entry {
                    key: name.to_owned(),
                    origin: key,
                    node,
                });
            }
        }
        Node {
            value: Value::Table(entries),
            origin,
        }
    }

    fn item(&self, item: &Item, key: &Origin) -> Option<Node> {
        Some(match item {
            Item::None => return None,
            Item::Value(value) => self.value(value, key),
            Item::Table(table) => self.table(table, self.origin_or(table.span(), key)),
            Item::ArrayOfTables(tables) => Node {
                value: Value::List(
                    tables
                        .iter()
                        .map(|table| self.table(table, self.origin_or(table.span(), key)))
                        .collect(),
                ),
                origin: self.origin_or(tables.span(), key),
            },
        })
    }

    fn value(&self, value: &Toml, outer: &Origin) -> Node {
        let origin = self.origin_or(value.span(), outer);
        let value = match value {
            Toml::String(text) => Value::Str(text.value().clone()),
            Toml::Integer(number) => Value::Int(*number.value()),
            Toml::Float(number) => Value::Float(*number.value()),
            Toml::Boolean(flag) => Value::Bool(*flag.value()),
            Toml::Datetime(date) => Value::Date(date.value().to_string()),
            Toml::Array(list) => Value::List(
                list.iter()
                    .map(|value| self.value(value, &origin))
                    .collect(),
            ),
            Toml::InlineTable(table) => return self.table(table, origin),
        };
        Node { value, origin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tree: &Node, path: &[&str]) -> String {
        tree.at(path).unwrap().origin.to_string()
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let text = "[gateway]\nlisten = \"a\"\n\n[[gateway.endpoints]]\nname = \"ü\"\n[receiver]\nto = [\n  \"b\",\n]\n";
        let tree = parse("anp.toml", text).unwrap();
        assert_eq!(at(&tree, &["gateway", "listen"]), "anp.toml:2:10");
        assert_eq!(at(&tree, &["gateway", "endpoints"]), "anp.toml:4:1");
        let Value::List(list) = &tree.at(&["receiver", "to"]).unwrap().value else {
            panic!("a list");
        };
        assert_eq!(list[0].origin.to_string(), "anp.toml:8:3");
    }

    #[test]
    fn a_mistake_of_syntax_names_its_place() {
        let problem = parse("anp.toml", "[gateway]\nlisten = \n").unwrap_err();
        assert_eq!(problem.origin.to_string(), "anp.toml:2:10");
        let problem = parse("anp.toml", "[gateway]\nlisten = 1\nlisten = 2\n").unwrap_err();
        assert!(
            problem.to_string().starts_with("anp.toml:3:1: "),
            "{problem}"
        );
    }

    #[test]
    fn a_value_on_its_own_keeps_the_origin_given() {
        let origin = Origin::Flag("--to");
        let node = parse_value("[\"a\", {b = 1}]", &origin).unwrap();
        assert_eq!(node.origin, origin);
        assert!(parse_value("[\"a\"", &origin).is_err());
    }
}
