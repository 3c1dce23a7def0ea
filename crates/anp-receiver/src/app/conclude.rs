//! The end of an exchange.

use anp_tunnel::SendStream;
use anpx::{RequestHead, ResetCode};
use tracing::{debug, warn};

use super::error::{AppError, FailureKind};
use crate::monitor::WorkerCounts;

/// Sees to the end of an exchange: counts it, and resets one that failed with the code that says why. An
/// app that is down fails every request: the log hears of some.
pub(crate) fn conclude(
    result: Result<(), AppError>,
    head: &RequestHead,
    response: &mut SendStream,
    counts: &WorkerCounts,
) {
    counts.request(response.responded(), result.as_ref().err());
    let Err(error) = result else {
        return;
    };
    let request = head.request_id.escape_ascii();
    let code = match error.reset_code() {
        // Too late for the promise that nothing of it was taken (ANPX 3.8).
        Some(ResetCode::REFUSED) if response.is_committed() => Some(ResetCode::UPSTREAM_FAILED),
        code => code,
    };
    match code {
        Some(code) => {
            if error.kind().is_none_or(|kind| may_tell(kind, counts)) {
                warn!(request_id = %request, %error, "request failed");
            }
            response.reset(code);
        }
        None => debug!(request_id = %request, %error, "request abandoned"),
    }
}

fn may_tell(kind: FailureKind, counts: &WorkerCounts) -> bool {
    counts.told(kind).allows(move |omitted| {
        let kind = kind.name();
        warn!(
            kind,
            omitted, "{omitted} more requests failed within a second"
        );
    })
}
