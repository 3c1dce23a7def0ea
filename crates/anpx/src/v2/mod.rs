//! Version 2 of the wire (ANPX section 3): frames and their codec.
//!
//! [`Frame::decode`] reads one message, [`encode`] has a function for each frame to be written.

mod decode;
pub mod encode;
mod frame;
mod malformed;
mod tags;

pub(crate) use decode::check_request;
pub use frame::{Frame, Kind, Payload, Settings, StreamFault};
pub use malformed::MalformedFrame;
