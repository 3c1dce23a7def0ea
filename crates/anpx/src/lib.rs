//! The ANPX wire between Gateway and Receiver, versions 1 and 2, without I/O.
//!
//! ANPX carries HTTP exchanges as frames, one a WebSocket message. This crate turns bytes into
//! frames and back ([`v1`], [`v2`]) and keeps the protocol state of a tunnel ([`session::Session`]):
//! streams, their two halves, flow control, whose turn it is to be written, resets and drains.
//!
//! It refuses to be more: no runtime, no clock, no socket, no thread, no log. Time and bytes are
//! passed in, so two sessions can be run against each other under a virtual clock, fuzzed, and
//! driven by any transport. `anp-tunnel` is the one that drives them over a WebSocket.
//!
//! The protocol is described in `docs/protocol.md`; its golden bytes are in `vectors/`.
//!
//! # Example
//! A gateway's session and a receiver's, with a vector for a wire:
//! ```
//! use std::time::Instant;
//!
//! use anpx::{
//!     Fields, RequestHead, ResponseHead,
//!     session::{End, Event, Read, Role, Transmit, config::V2Config, v2::Session},
//! };
//! use bytes::Bytes;
//!
//! /// Carries everything one side has to say to the other.
//! fn carry(from: &mut Session, to: &mut Session, now: Instant) {
//!     while let Some(Transmit::Frame(frame)) = from.poll_transmit(now, 0) {
//!         let mut message = Vec::new();
//!         frame.encode(&mut message);
//!         to.handle_binary(now, message.into()).expect("the frame is sound");
//!     }
//! }
//!
//! let now = Instant::now();
//! let mut gateway = Session::new(V2Config::new(Role::Gateway), now);
//! let mut receiver = Session::new(V2Config::new(Role::Receiver), now);
//! carry(&mut gateway, &mut receiver, now);
//! carry(&mut receiver, &mut gateway, now);
//! assert_eq!(gateway.poll_event(), Some(Event::Established));
//!
//! let head = RequestHead {
//!     method: Bytes::from_static(b"GET"),
//!     target: Bytes::from_static(b"/hello"),
//!     scheme: Bytes::from_static(b"https"),
//!     authority: Bytes::from_static(b"agent.example"),
//!     headers: Fields::from_pairs([("accept", "text/plain")])?,
//!     request_id: Bytes::from_static(b"7f1c9a0e-6f0e-4c33-9a0e-51fdb1a2c3d4"),
//!     client_addr: None,
//!     protocol: None,
//! };
//! let request = gateway.open(|| now, &head, Bytes::new(), End::Yes)?;
//! carry(&mut gateway, &mut receiver, now);
//!
//! let (stream, received) = receiver.accept().expect("a request");
//! assert_eq!(*received, head);
//! let response = ResponseHead { status: 200, headers: Fields::default() };
//! receiver.respond(stream, &response, Bytes::from_static(b"hi"), End::Yes)?;
//! carry(&mut receiver, &mut gateway, now);
//!
//! assert_eq!(gateway.read(|| now, request)?, Read::Head(response, End::No));
//! assert_eq!(gateway.read(|| now, request)?, Read::Data(Bytes::from_static(b"hi"), End::Yes));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod classes;
pub mod error;
pub mod fields;
pub mod frame;
pub mod head;
pub mod header;
pub mod limits;
mod role;
pub mod session;
pub mod tlv;
pub mod v1;
pub mod v2;

pub use error::{CloseCode, OpenError, ResetCode, SessionError, StreamError};
pub use fields::{FieldName, Fields, FieldsError};
pub use head::{RequestHead, ResponseHead, is_100_continue};
pub use role::Role;
