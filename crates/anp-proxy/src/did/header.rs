//! `did header`: proof of an identity, to paste into another client.

use std::time::{SystemTime, UNIX_EPOCH};

use anp_auth::{Signer, Target};

use super::args::HeaderArgs;
use crate::{exit::Failure, stdout};

/// Prints headers, each on a line.
///
/// # Errors
/// The files or the URL cannot be used.
pub(super) fn run(args: &HeaderArgs) -> Result<(), Failure> {
    let signer = Signer::load(&args.document, &args.key)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let target = Target::of(&args.method, &args.url).ok_or_else(|| {
        Failure::usage(format!(
            "{:?}: expected a URL with its scheme, such as https://agent.example/chat",
            args.url
        ))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let headers = signer.headers(args.form.into(), &target, args.nonce.as_deref(), now);
    for (name, value) in headers.map_err(|error| Failure::runtime(error.to_string()))? {
        stdout::say(&format!("{name}: {}", value.to_str().unwrap_or_default()))?;
    }
    Ok(())
}
