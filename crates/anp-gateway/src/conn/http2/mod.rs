//! HTTP/2 toward callers (RFC 9113), by prior knowledge on the port of HTTP/1.
//!
//! Frames, HPACK and flow control are the h2 crate's, which has informational heads, trailers and
//! windows that open as the app reads. Each request is a task, and what is common to both HTTPs is
//! behind [`crate::proxy::Downstream`].

mod caller;
mod request;
mod response;
mod serve;

pub(crate) use serve::serve;

/// The part of the connection preface (RFC 9113 section 3.4) that reads as the head of an HTTP/1
/// request.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
