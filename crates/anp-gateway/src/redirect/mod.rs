//! The listener that sends callers on to https. It speaks plain HTTP/1.1 and answers nothing else: no
//! endpoint, no health and no tunnel is behind it.

mod answer;
mod serve;
mod state;

pub(crate) use answer::answer;
pub(crate) use serve::serve;
pub(crate) use state::Redirects;

/// The port of https that no URL need name.
const HTTPS: u16 = 443;
