//! How many files and sockets the process may have open.

/// What a gateway has open besides connections: listeners, stores, event loops, and some to spare.
#[cfg(unix)]
const OWN: u64 = 128;

/// Raises the limit as far as the system lets this process: most start programs with room for 1,024,
/// which is for those that wait with select(2).
#[cfg(unix)]
pub(super) fn raise() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Some systems take less than they name: then it stays as it was.
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::debug!("the limit of open files cannot be raised");
    }
}

/// Warns where the limit is below what the gateway's own limits let in.
#[cfg(unix)]
pub(super) fn warn_short(config: &anp_gateway::Config) {
    use rustix::process::{Resource, getrlimit};
    // Callers, receivers without a tunnel, and callers who are sent on.
    let counts = 2 + u64::from(config.redirect_listen.is_some());
    let sum = counts * config.max_connections as u64 + config.max_tunnels as u64;
    let needed = sum + OWN;
    if let Some(limit) = getrlimit(Resource::Nofile).current
        && limit < needed
    {
        tracing::warn!(
            limit,
            needed,
            "gateway.max_connections (for callers, once more for receivers without a tunnel and, where it \
             is set, once more for redirect_listen) and max_tunnels let in what needs {needed} descriptors, \
             and this process may have {limit}: raise the hard limit (ulimit -Hn, LimitNOFILE= of a unit), \
             or lower the two"
        );
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub(super) fn raise() {}
