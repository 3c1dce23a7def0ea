//! Finds the gateway that is to be replaced.

use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::protocol::Running;
use crate::{
    exit::Failure,
    run::state::{self, CONTROL},
};

/// Who answered.
pub(super) enum Found {
    /// The gateway that runs, which gave its listeners.
    Running(Running),
    /// Nobody: this gateway starts as usual. What to say where an address is taken nevertheless.
    Nobody(String),
}

/// Asks the gateway that runs for its listeners: at the control socket that `--replace` names, or else
/// at this gateway's own.
///
/// # Errors
/// Nobody answers at the one named, there is none of its own, or the listeners were not given.
pub(super) async fn find(
    named: Option<&Path>,
    own: Option<&Path>,
    config: &anp_gateway::Config,
) -> Result<Found, Failure> {
    let path = named.or(own).ok_or_else(|| no_place(config))?;
    let running = Running::ask(path).await.map_err(|error| {
        Failure::runtime(format!(
            "no gateway handed over its listeners at {}: {error}",
            path.display()
        ))
    })?;
    if let Some(running) = running {
        return Ok(Found::Running(running));
    }
    if named.is_some() {
        return Err(Failure::usage(format!(
            "--replace: no gateway answers at {}",
            path.display()
        )));
    }
    let others = others(path).await;
    if !others.is_empty() {
        tracing::warn!(
            others = %list(&others),
            "gateways with other control sockets run; to replace one of them, start with --replace=SOCKET"
        );
    }
    Ok(Found::Nobody(hint(path, &others)))
}

/// Why `--replace` has nowhere to ask.
fn no_place(config: &anp_gateway::Config) -> Failure {
    let why = match config.listen.port() {
        0 => "the port of gateway.listen is 0, which is another each time: set that",
        _ => {
            "there is no directory for its control socket, since HOME is not set: set STATE_DIRECTORY"
        }
    };
    Failure::usage(format!(
        "--replace cannot find the running gateway, because {why}, or gateway.control_socket, or \
         name its control socket: --replace=SOCKET"
    ))
}

fn hint(path: &Path, others: &[PathBuf]) -> String {
    let others = match others {
        [] => String::new(),
        others => format!(" (others answer at {})", list(others)),
    };
    format!(
        ". --replace found no gateway at {}{others}: if the one to replace has another control \
         socket, name it: --replace=SOCKET",
        path.display()
    )
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}

/// The control sockets by their usual names, beside `path` and in the state directory, where other
/// gateways answer.
async fn others(path: &Path) -> Vec<PathBuf> {
    let mut others = Vec::new();
    for directory in path
        .parent()
        .map(Path::to_owned)
        .into_iter()
        .chain(state::directory())
    {
        for other in CONTROL.others(&directory, path) {
            if !others.contains(&other) && UnixStream::connect(&other).await.is_ok() {
                others.push(other);
            }
        }
    }
    others
}
