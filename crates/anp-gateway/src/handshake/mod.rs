//! The WebSocket handshake of a tunnel (RFC 6455 section 4.2; ANPX sections 1 and 3.10): what a receiver
//! says, whether it is admitted, and what it is told.

mod answer;
mod hello;
mod refusal;

pub(crate) use answer::{Becomes, answer, is_for_us};
pub(crate) use hello::Hello;
pub(crate) use refusal::Refusal;
