//! `[receiver.apps.NAME]`: several apps in one process, each with a receiver of its own.
//!
//! What an app does not set is that of `[receiver]`, but for its name, which is NAME, and for what the
//! process has only one of.

use std::collections::BTreeMap;

use anp_receiver::ConfigError;

use super::{
    Loaded, ReceiverConfig, de, file,
    problem::{Problem, Problems},
    tree::{Entry, Node, Value},
};

/// Keys of `[receiver]` that say which app it is. Beside several apps nobody could tell whose they are.
const OF_ONE_APP: [&str; 3] = ["to", "name", "endpoints"];

/// The key of `[receiver]` that says nothing of an app.
const OF_THE_PROCESS: &str = "status_listen";

/// What a receiver proves itself with. An app that sets any of them has none of `[receiver]`'s.
const IDENTITY: [&str; 4] = ["did_document", "did_key", "token", "token_file"];

/// One of several apps, with the settings of its receiver.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// The key of its table.
    pub(crate) key: String,
    /// Its table over that of `[receiver]`.
    pub(super) node: Node,
    /// What counts for it.
    pub(crate) receiver: ReceiverConfig,
}

/// Section, `apps`, name: what apps set themselves, for the types of their keys.
type Alone = BTreeMap<String, BTreeMap<String, BTreeMap<String, ReceiverConfig>>>;

/// Makes tables of what the environment or the command line has as text, the apps or one of them.
pub(super) fn open(tree: &mut Node) {
    let apps = child(tree, "receiver").and_then(|receiver| child(&mut receiver.node, "apps"));
    let Some(Entry { node: apps, .. }) = apps else {
        return;
    };
    parse(apps);
    if let Value::Table(entries) = &mut apps.value {
        entries.iter_mut().for_each(|app| parse(&mut app.node));
    }
}

/// Text that is no table is told of with all else that does not fit.
fn parse(node: &mut Node) {
    if let Value::Text(text) = &node.value
        && let Ok(table) = file::parse_value(text.trim(), &node.origin)
    {
        *node = table;
    }
}

/// Takes the apps out of `tree`: `[receiver]` has the keys of one receiver without them.
pub(super) fn take(tree: &mut Node) -> Option<Node> {
    let receiver = child(tree, "receiver")?;
    let Value::Table(entries) = &mut receiver.node.value else {
        return None;
    };
    let at = entries.iter().position(|entry| entry.key == "apps")?;
    Some(entries.remove(at).node)
}

fn child<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Entry> {
    match &mut node.value {
        Value::Table(entries) => entries.iter_mut().find(|entry| entry.key == key),
        _ => None,
    }
}

/// The apps of `apps` over the `[receiver]` of `rest`, in the order they were written.
///
/// # Errors
/// Each key of an app that does not fit.
pub(super) fn typed(apps: Node, rest: &Node) -> Result<Vec<App>, Problems> {
    let mut alone = Node::empty();
    alone.put(&["receiver", "apps"], apps.clone());
    de::typed::<Alone>(alone)?;
    let Value::Table(entries) = apps.value else {
        return Ok(Vec::new());
    };
    let mut base = rest.at(&["receiver"]).cloned().unwrap_or(Node::empty());
    retain(&mut base, |key| !matches!(key, "name" | OF_THE_PROCESS));
    let mut apps = Vec::with_capacity(entries.len());
    for Entry { key, origin, node } in entries {
        let mut merged = base.clone();
        if IDENTITY.iter().any(|key| node.at(&[key]).is_some()) {
            retain(&mut merged, |key| !IDENTITY.contains(&key));
        }
        merged.put(&["name"], Node::text(&key, origin));
        merged.merge(node);
        let receiver = de::typed(merged.clone())?;
        apps.push(App {
            key,
            node: merged,
            receiver,
        });
    }
    Ok(apps)
}

fn retain(table: &mut Node, keep: impl Fn(&str) -> bool) {
    if let Value::Table(entries) = &mut table.value {
        entries.retain(|entry| keep(&entry.key));
    }
}

impl Loaded {
    /// What the receiver of the process is configured with, where it has one app.
    pub(crate) fn receiver(&self) -> ReceiverConfig {
        ReceiverConfig {
            // The process serves it.
            status_listen: None,
            ..self.config.receiver.clone()
        }
    }

    /// What each receiver of the process is configured with.
    pub(crate) fn receivers(&self) -> Vec<ReceiverConfig> {
        let by_app = self.receivers_by_app().into_iter();
        by_app.map(|(_, receiver)| receiver).collect()
    }

    /// The same, each with the key of its app; `None` where there is one app, and no key.
    pub(crate) fn receivers_by_app(&self) -> Vec<(Option<String>, ReceiverConfig)> {
        let of = |app: &App| (Some(app.key.clone()), app.receiver.clone());
        match self.apps.as_slice() {
            [] => vec![(None, self.receiver())],
            apps => apps.iter().map(of).collect(),
        }
    }

    /// Refuses several apps where `what` has one.
    ///
    /// # Errors
    /// There are some, with their place.
    pub(crate) fn check_single(&self, what: &str) -> Result<(), Problem> {
        match self.apps.is_empty() {
            true => Ok(()),
            false => Err(self.problem("receiver", "apps", &format!("expected none: {what}"))),
        }
    }

    /// Checks each app, and that a gateway can tell them apart.
    ///
    /// # Errors
    /// The first setting that cannot be, with its place.
    pub(super) fn check_apps(&self) -> Result<(), Problem> {
        for key in OF_ONE_APP {
            if self.origin("receiver", key).is_some() {
                let message = "expected in the table of each app, since [receiver.apps] has some";
                return Err(self.problem("receiver", key, message));
            }
        }
        for (at, app) in self.apps.iter().enumerate() {
            if app.receiver.status_listen.is_some() {
                let message = "expected in [receiver]: it is for all apps of the process";
                return Err(self.problem_of(app, OF_THE_PROCESS, message));
            }
            let judged = app.receiver.validate();
            judged.map_err(|error| self.problem_of(app, error.key, &error.message))?;
            for other in &self.apps[..at] {
                self.check_apart(app, other)?;
            }
        }
        Ok(())
    }

    /// Two apps have different names, and where they come to a gateway with one identity, by which it
    /// knows them, different endpoints.
    fn check_apart(&self, app: &App, other: &App) -> Result<(), Problem> {
        if app.receiver.name == other.receiver.name {
            let message = format!("expected another name than that of app \"{}\"", other.key);
            return Err(self.problem_of(app, "name", &message));
        }
        if !are_one(&app.receiver, &other.receiver) {
            return Ok(());
        }
        for (app, other) in [(app, other), (other, app)] {
            if app.receiver.endpoints.is_empty() {
                let message = format!(
                    "expected the endpoints of this app, such as [\"/{}\"]: app \"{}\" comes to the same gateway with the same identity",
                    app.key, other.key
                );
                return Err(self.problem_of(app, "endpoints", &message));
            }
        }
        let taken = |wish: &&String| {
            let others = other.receiver.endpoints.iter();
            others.map(|other| place(other)).any(|o| o == place(wish))
        };
        match app.receiver.endpoints.iter().find(taken) {
            Some(wish) => {
                let message = format!("\"{wish}\" is served by app \"{}\"", other.key);
                Err(self.problem_of(app, "endpoints", &message))
            }
            None => Ok(()),
        }
    }

    /// What `look` finds at each receiver, with its place. What several apps have in common is told
    /// once.
    pub(super) fn found_of_receivers(
        &self,
        look: impl Fn(&ReceiverConfig) -> Vec<ConfigError>,
    ) -> Vec<Problem> {
        if self.apps.is_empty() {
            let found = look(&self.config.receiver).into_iter();
            let problem = |error: ConfigError| self.problem("receiver", error.key, &error.message);
            return found.map(problem).collect();
        }
        let mut found = Vec::new();
        for app in &self.apps {
            for error in look(&app.receiver) {
                let problem = self.problem_of(app, error.key, &error.message);
                if !found.contains(&problem) {
                    found.push(problem);
                }
            }
        }
        found
    }

    /// A problem with `key` of an app, which may be that of `[receiver]`.
    fn problem_of(&self, app: &App, key: &str, message: &str) -> Problem {
        let own = self.tree.at(&["receiver", "apps", &app.key, key]);
        match own.is_none() && self.origin("receiver", key).is_some() {
            true => self.problem("receiver", key, message),
            false => self.problem("receiver", &format!("apps.{}.{key}", app.key), message),
        }
    }
}

/// A host in lower case and a path, as gateways compare them.
fn place(endpoint: &str) -> (String, &str) {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let (host, path) = endpoint.split_at(endpoint.find('/').unwrap_or(endpoint.len()));
    (host.to_ascii_lowercase(), path)
}

/// True where a gateway that both come to knows them by the same identity.
fn are_one(a: &ReceiverConfig, b: &ReceiverConfig) -> bool {
    // What is wrong with a file is told with the other files.
    let token = |c: &ReceiverConfig| c.preshared().ok().flatten();
    let identity = |c: &ReceiverConfig| {
        let shown = (c.did_document.clone(), token(c));
        (shown != (None, None)).then_some(shown)
    };
    let shown = identity(a);
    shown.is_some() && shown == identity(b) && a.gateways.iter().any(|g| b.gateways.contains(g))
}
