//! HTTP/1.1 messages on a byte stream, for both ends of a tunnel: the gateway reads callers'
//! requests with it, the receiver reads apps' responses.
//!
//! [`body`] finds the end of a body (RFC 9112 sections 6 and 7), [`connection`] holds what waits
//! in the two directions of a connection, and [`fields`] has the rules for header sections that
//! both ends follow. It is no client and no server: who reads what when, and what a head means, is
//! theirs.
//!
//! ```
//! use anp_http1::{Decoded, Decoder};
//! use bytes::BytesMut;
//!
//! let mut read = BytesMut::from("5\r\nhello\r\n0\r\n\r\n");
//! let mut body = Decoder::chunked();
//! assert_eq!(body.next(&mut read, 1024), Ok(Decoded::Data("hello".into())));
//! assert_eq!(body.next(&mut read, 1024), Ok(Decoded::End));
//! ```
#![forbid(unsafe_code)]

pub mod body;
pub mod connection;
pub mod fields;

pub use body::{BodyError, Decoded, Decoder};
pub use connection::Connection;
