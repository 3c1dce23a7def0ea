//! What the layers say, before it has types: a tree of values that each know where they were written.

use std::{fmt, sync::Arc};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Not known more exactly than the file, or than the layer.
    Unknown,
    /// A place in the configuration file; line and column count from 1.
    File {
        /// The file, as it was named on the command line.
        file: Arc<str>,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// An environment variable.
    Env(Arc<str>),
    /// `--set KEY=…`.
    Set(Arc<str>),
    /// A flag of its own.
    Flag(&'static str),
    /// What a command implies, such as `anp-proxy dev`.
    Command(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("configuration"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Set(key) => write!(f, "--set {key}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Command(command) => write!(f, "anp-proxy {command}"),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: Value,
    /// Where it was written.
    pub(crate) origin: Origin,
}

/// A value of any layer.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Keys with their values, in the order they were written.
    Table(Vec<Entry>),
    /// A list.
    List(Vec<Node>),
    /// A TOML string.
    Str(String),
    /// A TOML integer.
    Int(i64),
    /// A TOML float.
    Float(f64),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML date or time, which no key takes.
    Date(String),
    /// Text from the environment or the command line: becomes whatever type the key has.
    Text(String),
    /// An element of a list that was judged to be wrong. Those behind it keep their places.
    TakenOut,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key was written.
    pub(crate) origin: Origin,
    /// Its value.
    pub(crate) node: Node,
}

/// One step into a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl Node {
    /// A table without keys.
    pub(crate) fn empty() -> Self {
        Self {
            value: Value::Table(Vec::new()),
            origin: Origin::Unknown,
        }
    }

    /// Text from outside the file.
    pub(crate) fn text(text: impl Into<String>, origin: Origin) -> Self {
        Self {
            value: Value::Text(text.into()),
            origin,
        }
    }

    /// The value at `path`, table by table.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.value {
            Value::Table(entries) => entries.iter().find(|e| e.key == *key).map(|e| &e.node),
            _ => None,
        })
    }

    /// Puts `node` at `path`, making tables on the way, in place of what was there.
    pub(crate) fn put(&mut self, path: &[&str], node: Self) {
        let Some((key, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            *self = Self::empty();
        }
        if let Value::Table(entries) = &mut self.value {
            let found = entries.iter().position(|e| e.key == *key);
            let index = found.unwrap_or_else(|| {
                entries.push(Entry {
                    key: (*key).to_owned(),
                    origin: node.origin.clone(),
                    node: Self::empty(),
                });
                entries.len() - 1
            });
            if rest.is_empty() {
                entries[index].origin = node.origin.clone();
            }
            entries[index].node.put(rest, node);
        }
    }

    /// Puts every value of `other` in the place of the one here, table by table.
    pub(crate) fn merge(&mut self, other: Self) {
        match (&mut self.value, other.value) {
            (Value::Table(ours), Value::Table(theirs)) => {
                self.origin = other.origin;
                for entry in theirs {
                    match ours.iter_mut().find(|e| e.key == entry.key) {
                        Some(ours) => {
                            ours.origin = entry.origin;
                            ours.node.merge(entry.node);
                        }
                        None => ours.push(entry),
                    }
                }
            }
            (value, theirs) => {
                *value = theirs;
                self.origin = other.origin;
            }
        }
    }

    /// The origin of `key` of `section`, such as `endpoints[0].path`, or of what is nearest to it.
    pub(crate) fn nearest_origin(&self, section: &str, key: &str) -> Origin {
        let mut node = self;
        let mut origin = &self.origin;
        let steps = key.split(['.', '[', ']']).filter(|step| !step.is_empty());
        for step in std::iter::once(section).chain(steps) {
            let next = match &node.value {
                Value::Table(entries) => entries.iter().find(|e| e.key == step).map(|e| &e.node),
                Value::List(list) => step.parse().ok().and_then(|at: usize| list.get(at)),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
            if next.origin != Origin::Unknown {
                origin = &next.origin;
            }
        }
        origin.clone()
    }

    /// Takes what `path` leads to out of the tree, so that the rest can be judged without it. Of a
    /// list the whole element goes. False where there is nothing to take.
    pub(crate) fn remove(&mut self, path: &[Step]) -> bool {
        match (&mut self.value, path) {
            (Value::List(list), [Step::Index(index), ..]) => {
                let there = list.get_mut(*index);
                there.map(|node| node.value = Value::TakenOut).is_some()
            }
            (Value::Table(entries), [Step::Key(key), rest @ ..]) => {
                let Some(at) = entries.iter().position(|e| e.key == *key) else {
                    return false;
                };
                if rest.is_empty() || !entries[at].node.remove(rest) {
                    entries.remove(at);
                }
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_at<'a>(tree: &'a Node, path: &[&str]) -> Option<&'a str> {
        match &tree.at(path)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn a_later_value_replaces_an_earlier_one_and_its_origin() {
        let mut tree = Node::empty();
        let env: Arc<str> = "ANP_GATEWAY__LISTEN".into();
        tree.put(&["gateway", "listen"], Node::text("a", Origin::Env(env)));
        tree.put(
            &["gateway", "listen"],
            Node::text("b", Origin::Flag("--listen")),
        );
        tree.put(
            &["gateway", "name"],
            Node::text("c", Origin::Flag("--name")),
        );
        assert_eq!(text_at(&tree, &["gateway", "listen"]), Some("b"));
        assert_eq!(text_at(&tree, &["gateway", "name"]), Some("c"));
        let listen = tree.at(&["gateway", "listen"]).unwrap();
        assert_eq!(listen.origin, Origin::Flag("--listen"));
    }

    #[test]
    fn removing_inside_a_list_takes_the_whole_element() {
        let mut tree = Node::empty();
        let mut element = Node::empty();
        element.put(&["name"], Node::text("a", Origin::Unknown));
        let list = Node {
            value: Value::List(vec![element]),
            origin: Origin::Unknown,
        };
        tree.put(&["gateway", "endpoints"], list);
        let path = [
            Step::Key("gateway".into()),
            Step::Key("endpoints".into()),
            Step::Index(0),
            Step::Key("name".into()),
        ];
        assert!(tree.remove(&path));
        let left = &tree.at(&["gateway", "endpoints"]).unwrap().value;
        assert!(matches!(left, Value::List(list) if matches!(list[0].value, Value::TakenOut)));
        assert!(!tree.remove(&[Step::Key("receiver".into())]));
    }
}
