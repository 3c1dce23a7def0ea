//! Whether requests get through, and what is missing where they do not.

use std::fmt::Write as _;

use anp_receiver::{Monitor, Snapshot};
use hyper::StatusCode;

use super::reply::{Reply, text};

/// 200 where every receiver is ready, else 503; then, for people, a line for each thing that is
/// missing, after the name of the receiver that misses it.
pub(super) fn reply(receivers: &[Monitor]) -> Reply {
    let seen: Vec<_> = receivers.iter().map(Monitor::snapshot).collect();
    let (status, first) = match seen.iter().all(Snapshot::is_ready) {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut body = format!("{first}\n");
    for receiver in &seen {
        let name = receiver.name.as_deref();
        let name = name.map_or_else(String::new, |name| format!("{name}: "));
        for line in receiver.missing() {
            // Writing to a string cannot fail.
            let _ = writeln!(body, "{name}{line}");
        }
    }
    text(status, body)
}
