//! The ANPX wire between Gateway and Receiver, versions 1 and 2, without I/O.
#![forbid(unsafe_code)]

pub mod error;
pub mod fields;
pub mod frame;
pub mod head;
pub mod header;
pub mod limits;
pub mod session;
pub mod tlv;
pub mod v1;
pub mod v2;

pub use error::{CloseCode, OpenError, ResetCode, SessionError, StreamError};
pub use fields::{Fields, FieldsError};
pub use head::{RequestHead, ResponseHead};
