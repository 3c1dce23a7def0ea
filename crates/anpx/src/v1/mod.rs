//! Version 1 of the wire (ANPX section 2): messages, chunks, control texts and their HTTP rules.

pub mod chunk;
pub mod codec;
pub mod control;
mod error;
mod fields;
pub mod message;
mod target;
