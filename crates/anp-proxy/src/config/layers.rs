//! The layers above the file: environment variables and `--set`.

use std::ffi::OsString;

use super::{
    problem::Problem,
    tree::{Node, Origin},
};

/// What every variable of ours begins with.
const PREFIX: &str = "ANP_";
/// Variables with a meaning of their own; `ANP_LOG` stands for `log.level`.
const OWN: [&str; 4] = ["ANP_CONFIG", "ANP_LOG", "ANP_ADMIN", "ANP_ADMIN_TOKEN_FILE"];
/// The sections, for a hint to who wrote one underscore where two belong.
const SECTIONS: [&str; 3] = ["GATEWAY", "RECEIVER", "LOG"];

/// Puts the settings found in `variables` into `tree`: `ANP_GATEWAY__LISTEN` is `gateway.listen`.
///
/// Whether a key exists is judged later, with its type. A variable that begins with `ANP_` and can be no
/// setting is a problem, except an empty `ANP_LOG`, which says nothing, what Kubernetes makes of a
/// service called `anp-…` and `ANP_BENCH_…`.
pub(crate) fn environment(
    tree: &mut Node,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut ours: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    // The order of the environment is nobody's choice; that of the messages should not change.
    ours.sort();
    for (name, value) in ours {
        let origin = Origin::Env(name.as_str().into());
        let setting = name[PREFIX.len()..].to_ascii_lowercase();
        let path: Vec<&str> = match name.as_str() {
            "ANP_LOG" => vec!["log", "level"],
            _ => setting.split("__").collect(),
        };
        if name == "ANP_LOG" && value.is_empty() {
            continue;
        }
        if path.len() < 2 {
            if !OWN.contains(&name.as_str()) && !not_ours(&name) {
                problems.push(Problem {
                    origin,
                    message: no_setting(&name),
                });
            }
            continue;
        }
        match value.into_string() {
            Ok(value) => tree.put(&path, Node::text(value, origin)),
            Err(_) => problems.push(Problem {
                origin,
                message: "its value is not valid UTF-8".to_owned(),
            }),
        }
    }
    problems
}

fn no_setting(name: &str) -> String {
    let rest = &name[PREFIX.len()..];
    let meant = SECTIONS.iter().find_map(|section| {
        let key = rest.strip_prefix(section)?.strip_prefix('_')?;
        (!key.is_empty()).then(|| format!("{PREFIX}{section}__{key}"))
    });
    match meant {
        Some(meant) => format!("is no setting; did you mean {meant}, with two underscores?"),
        None => "is no setting; settings are written like ANP_GATEWAY__LISTEN".to_owned(),
    }
}

/// True for the variables that Kubernetes sets in every pod beside a service called `anp-…`, and
/// for those that `bench/run` reads.
fn not_ours(name: &str) -> bool {
    name.starts_with("ANP_BENCH_")
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}

/// Puts `KEY=VALUE` of `--set` into `tree`.
pub(crate) fn set(tree: &mut Node, assignment: &str) -> Result<(), Problem> {
    let Some((key, value)) = assignment.split_once('=') else {
        return Err(Problem {
            origin: Origin::Set(assignment.into()),
            message: "expected KEY=VALUE, such as gateway.listen=127.0.0.1:9000".to_owned(),
        });
    };
    let key = key.trim();
    let origin = Origin::Set(key.into());
    let path: Vec<&str> = key.split('.').collect();
    if path.len() < 2 || path.iter().any(|step| step.is_empty()) {
        return Err(Problem {
            origin,
            message: "expected a section and a key, such as gateway.listen".to_owned(),
        });
    }
    tree.put(&path, Node::text(value, origin));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_env(pairs: &[(&str, &str)]) -> (Node, Vec<String>) {
        let mut tree = Node::empty();
        let pairs = pairs.iter().map(|(n, v)| (n.into(), v.into()));
        let problems = environment(&mut tree, pairs);
        (tree, problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn two_underscores_part_section_and_key() {
        let (tree, problems) = from_env(&[
            ("ANP_GATEWAY__TUNNEL_LISTEN", "127.0.0.1:1"),
            ("ANP_LOG", "debug"),
            ("ANP_CONFIG", "x.toml"),
            ("PATH", "/bin"),
            ("ANP_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("ANP_GATEWAY_PORT_80_TCP_ADDR", "10.0.0.1"),
        ]);
        assert_eq!(problems, Vec::<String>::new());
        let listen = tree.at(&["gateway", "tunnel_listen"]).unwrap();
        assert_eq!(
            listen.origin.to_string(),
            "environment variable ANP_GATEWAY__TUNNEL_LISTEN"
        );
        assert!(tree.at(&["log", "level"]).is_some());
        assert!(tree.at(&["config"]).is_none());
    }

    #[test]
    fn an_empty_short_name_says_nothing() {
        let (tree, problems) = from_env(&[("ANP_LOG", "")]);
        assert_eq!(problems, Vec::<String>::new());
        assert!(tree.at(&["log"]).is_none());
    }

    #[test]
    fn other_variables_with_the_prefix_are_problems() {
        let (_, problems) = from_env(&[("ANP_RECEIVER_TO", "x"), ("ANP_COLOUR", "x")]);
        assert_eq!(
            problems,
            [
                "environment variable ANP_COLOUR: is no setting; settings are written like ANP_GATEWAY__LISTEN",
                "environment variable ANP_RECEIVER_TO: is no setting; did you mean ANP_RECEIVER__TO, with two underscores?",
            ]
        );
    }

    #[test]
    fn set_takes_a_key_and_a_value() {
        let mut tree = Node::empty();
        set(&mut tree, "receiver.to=http://127.0.0.1:1/?a=b").unwrap();
        let to = tree.at(&["receiver", "to"]).unwrap();
        assert_eq!(to.origin.to_string(), "--set receiver.to");
        let error = set(&mut tree, "gateway.listen").unwrap_err().to_string();
        assert!(error.contains("expected KEY=VALUE"), "{error}");
        let error = set(&mut tree, "listen=1").unwrap_err().to_string();
        assert!(error.contains("a section and a key"), "{error}");
    }
}
