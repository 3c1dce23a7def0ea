//! The public side of an ANP tunnel: takes HTTP/1.1 and HTTP/2 from callers, over TLS where
//! configured, finds the endpoint and one of its tunnels, and streams request and response through
//! it. Receivers prove who they are where `auth` asks them to ([`anp_auth`] judges the proofs).
//!
//! It keeps nothing on disk but the endpoints it is told to keep, used nonces, token keys and
//! certificates. It never calls an app: what is behind a tunnel is the receiver's.
//!
//! It runs in any program with a tokio runtime, several in one, on threads of its own:
//!
//! ```
//! use anp_gateway::{Config, Gateway, Shutdown};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config {
//!     listen: "127.0.0.1:0".parse()?,
//!     tunnel_listen: "127.0.0.1:0".parse()?,
//!     ..Config::default()
//! };
//! let bound = Gateway::bind(config).await?;
//! let (public, tunnel) = (bound.public_addr(), bound.tunnel_addr());
//! println!("callers open http://{public}, receivers ws://{tunnel}");
//! let (stop, shutdown) = tokio::sync::watch::channel(Shutdown::No);
//! let running = tokio::spawn(bound.run(shutdown));
//! // The end of the sender would be a graceful stop, too.
//! stop.send(Shutdown::Graceful)?;
//! running.await??;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod admission;
mod alive;
mod auth;
mod callers;
pub mod config;
mod conn;
mod documents;
mod doubts;
mod endpoints;
mod error;
mod gateway;
mod handover;
mod handshake;
mod health;
mod inherited;
mod listener;
mod members;
mod metrics;
mod owner;
mod pick;
mod places;
mod policy;
mod private;
mod proxy;
mod proxy_protocol;
mod queue;
mod redirect;
mod refusals;
mod registry;
mod reload;
mod respond;
mod route;
mod running;
mod secret;
mod settings;
mod stop;
mod tls;
mod trust;
mod tunnels;
mod worker;
mod workers;

pub use admin::ADMIN_MARK;
pub use auth::error::AuthError;
pub use config::{
    Callers, Config, ConfigError, Cors, Endpoint, PublicUrl, PublicUrlError, Rate, RateLimit,
    SecurityHeaders, Switch,
};
pub use endpoints::StoreError;
pub use error::GatewayError;
pub use gateway::{Bound, Gateway};
pub use handover::Handover;
pub use inherited::Listeners;
pub use owner::{Owner, OwnerError};
pub use reload::{ReloadError, Reloaded, Reloader};
pub use secret::Secret;
pub use stop::Shutdown;
pub use tls::settings::{AcmeConfig, KeyPair, TlsConfig, TunnelTlsConfig};
pub use trust::{Network, NetworkError};
