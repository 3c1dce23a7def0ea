//! Configuration: defaults, then the file, the environment, `--set`, and flags, into one typed value.
//!
//! Each layer overrides the ones before it, key by key; a list replaces a list. Every value keeps
//! where it was written, so that a mistake is reported there and `config show` can tell.

mod apps;
mod de;
mod file;
#[cfg(any(feature = "app", test))]
mod json;
mod layers;
mod mistake;
pub(crate) mod problem;
mod show;
mod tree;

use std::{ffi::OsString, fs, path::Path};

use anp_gateway::Config as GatewayConfig;
use anp_receiver::Config as ReceiverConfig;
use serde::{Deserialize, Serialize};

use apps::App;
#[cfg(any(feature = "app", test))]
pub use json::settings;
#[cfg(any(feature = "app", test))]
pub use mistake::Names;
pub(crate) use problem::{Problem, Problems};
pub(crate) use tree::{Node, Origin, Value};

use crate::logging::LogConfig;

/// Every setting of the program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// `[log]`.
    pub(crate) log: LogConfig,
    /// `[gateway]`.
    pub(crate) gateway: GatewayConfig,
    /// `[receiver]`.
    pub(crate) receiver: ReceiverConfig,
}

/// Where settings come from, weakest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// What the command implies: below everything the user wrote.
    pub(crate) implied: Vec<(&'static str, Node)>,
    /// `--config`.
    pub(crate) file: Option<File>,
    /// Environment variables; those without our prefix are left alone.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Each `--set`.
    pub(crate) set: Vec<String>,
    /// Flags of their own, by the dotted key they stand for.
    pub(crate) flags: Vec<(&'static str, Node)>,
}

/// A configuration file as it was read.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Its path, as messages show it.
    pub(crate) name: String,
    /// What names it.
    pub(crate) origin: Origin,
    /// What is in it.
    pub(crate) text: String,
}

/// Typed settings, and the tree that knows where each was written.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The settings.
    pub(crate) config: Config,
    /// Several apps, in place of the one that `[receiver]` has without them.
    pub(crate) apps: Vec<App>,
    /// All that was written.
    tree: Node,
    sources: Sources,
}

/// Reads all layers.
///
/// # Errors
/// Everything that is wrong with them, except what [`Loaded::check_gateway`] and
/// [`Loaded::check_receiver`] judge.
pub(crate) fn load(sources: Sources) -> Result<Loaded, Problems> {
    let kept = sources.clone();
    let mut problems = Vec::new();
    let mut tree = Node::empty();
    for (key, node) in sources.implied {
        tree.put(&dotted(key), node);
    }
    if let Some(File { name, text, .. }) = sources.file {
        tree.merge(file::parse(&name, &text)?);
    }
    problems.extend(layers::environment(&mut tree, sources.environment));
    for assignment in &sources.set {
        problems.extend(layers::set(&mut tree, assignment).err());
    }
    for (key, node) in sources.flags {
        tree.put(&dotted(key), node);
    }
    apps::open(&mut tree);
    let mut rest = tree.clone();
    let apps = apps::take(&mut rest).map(|apps| apps::typed(apps, &rest));
    let apps = apps.unwrap_or(Ok(Vec::new()));
    match (de::typed(rest), apps) {
        (Ok(config), Ok(apps)) if problems.is_empty() => Ok(Loaded {
            config,
            apps,
            tree,
            sources: kept,
        }),
        (config, apps) => {
            let more = [config.err(), apps.err()];
            problems.extend(more.into_iter().flatten().flat_map(|more| more.0));
            Err(Problems(problems))
        }
    }
}

impl File {
    /// Reads the file at `path`, which `origin` names.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub(crate) fn read(path: &Path, origin: Origin) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| Problem {
            origin: origin.clone(),
            message: format!("cannot read {name}: {error}"),
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, origin, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
                Err(Problem {
                    origin: file::end_of(&name, &before),
                    message: "expected UTF-8, found another byte".to_owned(),
                })
            }
        }
    }
}

impl Loaded {
    /// Reads the file once more, under and over the same other layers.
    ///
    /// # Errors
    /// As [`load`]; the file cannot be read.
    pub(crate) fn again(&self) -> Result<Self, Problems> {
        let mut sources = self.sources.clone();
        if let Some(file) = &mut sources.file {
            *file = File::read(Path::new(&file.name), file.origin.clone())?;
        }
        load(sources)
    }

    /// What is wrong with the sections that any layer mentions, beyond their types: their files are
    /// looked at once all else is right.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mentioned = |section| self.tree.at(&[section]).is_some();
        let mut found: Vec<Problem> = self.check_log().err().into_iter().collect();
        if mentioned("gateway") {
            found.extend(match self.check_gateway() {
                Ok(()) => self.gateway_files(),
                Err(problem) => vec![problem],
            });
        }
        if mentioned("receiver") {
            found.extend(match self.check_receiver() {
                Ok(()) => self.receiver_files(),
                Err(problem) => vec![problem],
            });
        }
        found
    }

    /// What is doubtful of those sections and stops nothing, where nothing is wrong with them.
    pub(crate) fn warnings(&self) -> Vec<Problem> {
        let mentioned = |section| self.tree.at(&[section]).is_some();
        let mut found = Vec::new();
        if mentioned("gateway") {
            let warnings = self.config.gateway.file_warnings();
            let warnings = warnings.iter();
            found.extend(warnings.map(|w| self.problem("gateway", &w.key, &w.expected)));
        }
        if mentioned("receiver") {
            found.extend(self.found_of_receivers(ReceiverConfig::file_warnings));
        }
        found
    }

    /// Checks the files that `[gateway]` names.
    ///
    /// # Errors
    /// Each that cannot be used, with the place of its setting.
    pub(crate) fn check_gateway_files(&self) -> Result<(), Problems> {
        Problems::none_of(self.gateway_files())
    }

    /// Checks the files that `[receiver]` names.
    ///
    /// # Errors
    /// As [`Loaded::check_gateway_files`].
    pub(crate) fn check_receiver_files(&self) -> Result<(), Problems> {
        Problems::none_of(self.receiver_files())
    }

    fn gateway_files(&self) -> Vec<Problem> {
        let gateway = &self.config.gateway;
        let found = gateway.lost_owners().into_iter();
        let found = found.chain(gateway.file_problems());
        found
            .map(|error| self.problem("gateway", &error.key, &error.expected))
            .collect()
    }

    fn receiver_files(&self) -> Vec<Problem> {
        self.found_of_receivers(ReceiverConfig::file_problems)
    }

    /// Checks what types cannot express of `[log]`.
    ///
    /// # Errors
    /// The setting that cannot be, with its place.
    pub(crate) fn check_log(&self) -> Result<(), Problem> {
        let checked = self.config.log.validate();
        checked.map_err(|message| self.problem("log", "level", &message))
    }

    /// Checks what types cannot express of `[gateway]`.
    ///
    /// # Errors
    /// The first setting that cannot be, with its place.
    pub(crate) fn check_gateway(&self) -> Result<(), Problem> {
        self.config
            .gateway
            .validate()
            .map_err(|error| self.problem("gateway", &error.key, &error.expected))
    }

    /// Checks what types cannot express of `[receiver]`.
    ///
    /// # Errors
    /// The first setting that cannot be, with its place.
    pub(crate) fn check_receiver(&self) -> Result<(), Problem> {
        match self.apps.is_empty() {
            true => self.judge_receiver(self.config.receiver.validate()),
            false => self.check_apps(),
        }
    }

    /// As [`Loaded::check_receiver`], for an app in this process.
    ///
    /// # Errors
    /// As [`Loaded::check_receiver`].
    #[cfg(feature = "app")]
    pub(crate) fn check_receiver_in_process(&self) -> Result<(), Problem> {
        self.check_single("the app is in this process")?;
        self.judge_receiver(self.config.receiver.validate_streams())
    }

    fn judge_receiver(&self, judged: Result<(), anp_receiver::ConfigError>) -> Result<(), Problem> {
        judged.map_err(|error| {
            let flag = match error.key {
                "to" => " (--to)",
                "gateways" => " (--gateway)",
                _ => "",
            };
            let written = self.origin("receiver", error.key).is_some();
            let flag = if written { "" } else { flag };
            self.problem("receiver", error.key, &format!("{}{flag}", error.message))
        })
    }

    /// A problem with `key` of `section`, such as `endpoints[0].path`.
    pub(crate) fn problem(&self, section: &str, key: &str, message: &str) -> Problem {
        Problem {
            origin: self.nearest_origin(section, key),
            message: format!("{section}.{key}: {message}"),
        }
    }

    /// Where `key` of `section` was written, or what is nearest to it.
    pub(crate) fn nearest_origin(&self, section: &str, key: &str) -> Origin {
        self.tree.nearest_origin(section, key)
    }

    /// Where the value of `key` in `section` was written; `None` where it is the default.
    pub(crate) fn origin(&self, section: &str, key: &str) -> Option<&Origin> {
        self.tree.at(&[section, key]).map(|node| &node.origin)
    }

    /// The effective settings as TOML, each line with where its value came from.
    ///
    /// # Errors
    /// A setting that TOML cannot write, which no type of ours has.
    pub(crate) fn show(&self) -> Result<String, String> {
        show::show(&self.config, &self.apps, &self.tree)
    }
}

fn dotted(key: &str) -> Vec<&str> {
    key.split('.').collect()
}

#[cfg(test)]
mod tests;
