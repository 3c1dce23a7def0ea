//! The private side of an ANP tunnel: holds tunnels to gateways and calls the local app.
//!
//! A [`Receiver`] connects out to each gateway of its [`Config`], speaks ANPX over a WebSocket
//! ([`anp_tunnel`]), takes the requests that come through, gives each to an app and streams the
//! answer back. The app is called over HTTP ([`Receiver::new`]), or is a `tower::Service` in this
//! process ([`serve`], [`Receiver::with_service`]), or takes the tunnel's streams as they are
//! ([`Receiver::with_streams`]). It reconnects for ever unless told otherwise, and stops gracefully.
//!
//! ```text
//!   slot ── connect ── tunnel ── dispatch ──┬── exchange ── connection ── app
//!    ▲                    │                 └── exchange ── connection ── app
//!    └──── reconnect ◀────┘                       (one task a request)
//! ```
//!
//! Everything of one tunnel, from its socket to the sockets of the apps it calls, lives on one
//! thread; a second worker is a second such thread with tunnels of its own.
//!
//! It can take up another configuration while it runs, without losing a request:
//! [`Receiver::reloader`].
//!
//! What it is doing can be read at any time, for health checks and metrics: [`Receiver::monitor`].
//!
//! It refuses to be a general HTTP client, a load balancer, or a place for
//! timeouts of requests: a gateway owns those and cancels, and the app's connection is closed.
//!
//! ```
//! use anp_receiver::{Config, Receiver};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config {
//!     gateways: vec!["ws://127.0.0.1:8765".parse()?],
//!     to: vec!["http://127.0.0.1:8000".parse()?],
//!     ..Config::default()
//! };
//! let receiver = Receiver::new(config)?;
//! // In an async context: receiver.run(async { tokio::signal::ctrl_c().await; }).await?;
//! # drop(receiver);
//! # Ok(())
//! # }
//! ```
//!
//! An axum router, or any other service, needs no port of its own:
//!
//! ```no_run
//! use anp_receiver::{Config, serve};
//! use axum::{Router, routing::get};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config {
//!     gateways: vec!["ws://127.0.0.1:8765".parse()?],
//!     ..Config::default()
//! };
//! let app = Router::new().route("/", get(|| async { "hello" }));
//! serve(config, app, async {
//!     let _ = tokio::signal::ctrl_c().await;
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod address;
mod addresses;
mod app;
mod check;
mod coding;
mod config;
mod connect;
mod current;
mod dispatch;
mod ends;
mod error;
mod event;
mod files;
mod fleet;
mod gateway;
mod health;
mod monitor;
mod place;
mod printable;
mod proof;
mod proxy;
mod receiver;
mod reconnect;
mod reload;
mod secret;
mod settings;
mod slot;
mod stop;
#[cfg(test)]
mod tests;
mod tls;
mod worker;

pub use address::{AddressError, AppPlace, AppUrl, GatewayUrl};
pub use anp_auth::{Signer, SignerError};
pub use anp_tunnel::Incoming;
pub use app::{
    TakeStreams,
    service::{Body, BodyError, Caller},
};
pub use check::{Finding, Sign, Taken};
pub use coding::ContentCoding;
pub use config::{Config, ConfigError};
pub use connect::ConnectError;
pub use error::{Error, Failure};
pub use event::Event;
pub use monitor::{GatewaySnapshot, Monitor, Phase, Snapshot, Trouble};
pub use printable::{is_plain, printable, without_user};
pub use proof::IdentityError;
pub use proxy::{Proxies, Proxy, ProxyError};
pub use receiver::{Receiver, serve};
pub use reconnect::{Severity, Stop};
pub use reload::{Reload, Reloaded, Reloader};
pub use secret::Secret;
pub use tls::TlsError;
