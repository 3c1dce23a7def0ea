//! What the project's tests are made of: raw peers, callers and apps, and a rig that runs a real
//! gateway and a real receiver between them.
//!
//! Nothing here imitates the product: hostile peers speak through sockets of their own.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

pub mod app;
pub mod caller;
pub mod front;
pub mod peer;
pub mod rig;

pub use app::App;
pub use caller::{BodyEnd, Caller};
pub use front::Front;
pub use peer::{Peer, Said};
pub use rig::{Rig, RunningGateway, RunningReceiver, soon, until};
