//! `anp-proxy`: gateway, receiver and tools of the ANP reverse tunnel in one binary.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "early landing")]

mod config;
mod exit;
mod inspect;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let file = std::env::args_os().nth(2).unwrap_or_else(|| "-".into());
    match inspect::run(file.as_ref(), &mut std::io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure.code(),
    }
}
