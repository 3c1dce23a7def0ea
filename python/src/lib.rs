//! The core of the Python package: tunnels on threads that never take the GIL, and ASGI between
//! them and an event loop.
//!
//! ```text
//!   gateway ══ tunnel ══ worker ── bridge ──▶ dispatcher ── task ──▶ app
//!                          ▲                                          │
//!                          └────────────── exchange ◀── send ─────────┘
//! ```
//!
//! A worker puts a request into the bridge and wakes the loop with one byte a batch. The loop's side
//! makes scopes and tasks. An app's `send` goes straight into the stream of its tunnel, which wakes
//! the worker; `receive` reads from it. Where either has to wait, the stream's waker comes back
//! through the bridge. Nothing else is shared.
//!
//! What people call is in `anp_proxy/`; what is here has no promises to anybody but that.
#![deny(unsafe_code)]

mod awaitable;
mod bridge;
mod command;
mod dispatcher;
mod done;
mod env;
mod event;
mod exchange;
mod fields;
mod gateway;
mod http;
mod kept;
mod outgoing;
mod receiver;
mod refusal;
mod run;
mod runner;
mod scope;
mod websocket;

// As in the binary. Within a library that is loaded late, its thread-local storage has to be, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `anp_proxy._core`.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    #[pymodule_export]
    use crate::{
        command::{Command, command, log, log_end, log_level, report},
        dispatcher::Dispatcher,
        gateway::{GatewaySettings, RunningGateway},
        receiver::{ReceiverSettings, RunningReceiver},
    };
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
