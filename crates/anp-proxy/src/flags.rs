//! What the flags of the command line stand for: keys of the configuration.

use std::{ffi::OsString, net::SocketAddr};

use crate::{
    cli::{Cli, Command},
    config::{File, Node, Origin, Sources, Value},
};

impl Cli {
    /// The layers of configuration that this command line, the file it names and `environment` make.
    pub(crate) fn sources(
        &self,
        file: Option<File>,
        environment: Vec<(OsString, OsString)>,
    ) -> Sources {
        let mut flags = Vec::new();
        let mut implied = Vec::new();
        if let Some(format) = self.common.log_format {
            let format = format!("{format:?}").to_ascii_lowercase();
            flags.push(("log.format", one("--log-format", &format)));
        }
        let mut flag = |key, name, value: &Option<String>| {
            flags.extend(value.as_ref().map(|value| (key, one(name, value))));
        };
        flag("log.level", "--log-level", &self.common.log_level);
        match &self.command {
            Command::Gateway(args) => {
                flag("gateway.listen", "--listen", &args.listen);
                flag(
                    "gateway.tunnel_listen",
                    "--tunnel-listen",
                    &args.tunnel_listen,
                );
                flag("gateway.admin_listen", "--admin-listen", &args.admin_listen);
            }
            Command::Receiver(args) => {
                flag("receiver.name", "--name", &args.name);
                flag(
                    "receiver.did_document",
                    "--did-document",
                    &args.did_document,
                );
                flag("receiver.did_key", "--did-key", &args.did_key);
                flag("receiver.token_file", "--token-file", &args.token_file);
                flag("receiver.compress", "--compress", &args.compress);
                flag("receiver.health_path", "--health-path", &args.health_path);
                flag(
                    "receiver.status_listen",
                    "--status-listen",
                    &args.status_listen,
                );
                flags.extend(many("receiver.endpoints", "--endpoint", &args.endpoint));
                flags.extend(many("receiver.gateways", "--gateway", &args.gateway));
                flags.extend(many("receiver.to", "--to", &args.to));
            }
            Command::Dev(args) => {
                flag("gateway.listen", "--listen", &args.listen);
                flags.extend(many("receiver.to", "--to", &args.to));
                implied = one_process("dev");
            }
            Command::Demo(args) => {
                flag("gateway.listen", "--listen", &args.listen);
                implied = one_process("demo");
            }
            Command::Admin(_)
            | Command::Endpoint(_)
            | Command::Inspect(_)
            | Command::Config(_)
            | Command::Did(_)
            | Command::Token(_)
            | Command::Completions { .. } => {}
        }
        Sources {
            implied,
            file,
            environment,
            set: self.common.set.clone(),
            flags,
        }
    }
}

/// What a gateway and a receiver in one process need: a tunnel port of their own, any free one.
fn one_process(command: &'static str) -> Vec<(&'static str, Node)> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0)).to_string();
    let origin = Origin::Command(command);
    vec![("gateway.tunnel_listen", Node::text(any_port, origin))]
}

fn one(flag: &'static str, value: &str) -> Node {
    Node::text(value, Origin::Flag(flag))
}

fn many(key: &'static str, flag: &'static str, values: &[String]) -> Option<(&'static str, Node)> {
    let list = Node {
        value: Value::List(values.iter().map(|value| one(flag, value)).collect()),
        origin: Origin::Flag(flag),
    };
    (!values.is_empty()).then_some((key, list))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn keys(line: &str) -> Vec<&'static str> {
        let sources = Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .sources(None, Vec::new());
        sources.flags.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn flags_stand_for_keys() {
        assert_eq!(
            keys("anp-proxy gateway --listen 1 --tunnel-listen 2"),
            ["gateway.listen", "gateway.tunnel_listen"]
        );
        assert_eq!(
            keys(
                "anp-proxy receiver --gateway a --gateway b --to c --name d --compress br --status-listen e --log-level debug"
            ),
            [
                "log.level",
                "receiver.name",
                "receiver.compress",
                "receiver.status_listen",
                "receiver.gateways",
                "receiver.to"
            ]
        );
        assert_eq!(keys("anp-proxy gateway"), [""; 0]);
    }
}
