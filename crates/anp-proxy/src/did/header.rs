//! `did header`: proof of an identity, to paste into another client.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anp_auth::{Signer, Target};

use super::args::{Form, HeaderArgs};
use crate::{exit::Failure, stdout};

/// Prints headers, each on a line.
///
/// # Errors
/// The files or the URL cannot be used.
pub(super) fn run(args: &HeaderArgs) -> Result<(), Failure> {
    let signer = Signer::load(&args.document, &args.key)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if args.data.is_some() && !matches!(args.form, Form::Signature) {
        return Err(Failure::usage(
            "--data: only --form signature covers a body",
        ));
    }
    let body = args.data.as_ref().map(|file| {
        let read = fs::read(file);
        read.map_err(|error| Failure::usage(format!("--data {}: {error}", file.display())))
    });
    let body = body.transpose()?;
    let usual = if body.is_some() { "POST" } else { "GET" };
    let method = args.method.as_deref().unwrap_or(usual);
    let target = Target::of(method, &args.url).ok_or_else(|| {
        Failure::usage(format!(
            "{:?}: expected a URL with its scheme, such as https://agent.example/chat",
            args.url
        ))
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let (form, nonce) = (args.form.into(), args.nonce.as_deref());
    let headers = match &body {
        Some(body) => signer.headers_with_body(form, &target, body, nonce, now),
        None => signer.headers(form, &target, nonce, now),
    };
    for (name, value) in headers.map_err(|error| Failure::runtime(error.to_string()))? {
        stdout::say(&format!("{name}: {}", value.to_str().unwrap_or_default()))?;
    }
    Ok(())
}
