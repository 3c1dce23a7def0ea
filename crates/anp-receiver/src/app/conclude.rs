//! The end of an exchange.

use anp_tunnel::SendStream;
use anpx::RequestHead;
use tracing::{debug, warn};

use super::error::AppError;

/// Sees to the end of an exchange: one that failed is reset with the code that says why.
pub(crate) fn conclude(
    result: Result<(), AppError>,
    head: &RequestHead,
    response: &mut SendStream,
) {
    let Err(error) = result else {
        return;
    };
    let request = head.request_id.escape_ascii();
    match error.reset_code() {
        Some(code) => {
            warn!(request_id = %request, %error, "request failed");
            response.reset(code);
        }
        None => debug!(request_id = %request, %error, "request abandoned"),
    }
}
