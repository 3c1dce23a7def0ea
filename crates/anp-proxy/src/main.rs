//! The binary of the `anp_proxy` library.
#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

use anp_proxy::{Outcome, main_with};

// Small, short-lived buffers of many sizes on every core: what this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match main_with(env::args_os()) {
        Outcome::Ended(code) => ExitCode::from(code),
        // Only where something else in the same build turned the flags on.
        #[cfg(feature = "app")]
        Outcome::App(_) => ExitCode::from(2),
    }
}
