//! The public side of an ANP tunnel: takes HTTP/1.1 from callers, finds the endpoint and one of its
//! tunnels, and streams request and response through it.
//!
//! It terminates no TLS, knows no identities and keeps nothing on disk. It never calls an app: what
//! is behind a tunnel is the receiver's.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use anp_gateway::{Config, Gateway, Shutdown};
//!
//! let bound = Gateway::bind(Config::default()).await?;
//! println!("open http://{}", bound.public_addr());
//! let (stop, shutdown) = tokio::sync::watch::channel(Shutdown::No);
//! tokio::spawn(async move {
//!     let _ = tokio::signal::ctrl_c().await;
//!     let _ = stop.send(Shutdown::Graceful);
//!     // Dropping the sender would be a graceful stop, too.
//! });
//! bound.run(shutdown).await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod admission;
mod alive;
pub mod config;
mod conn;
mod error;
mod gateway;
mod inherited;
mod listener;
mod metrics;
mod owner;
mod pick;
mod policy;
mod proxy;
mod proxy_protocol;
mod queue;
mod registry;
mod reload;
mod respond;
mod route;
mod settings;
mod stop;
mod trust;
mod tunnels;
mod workers;

pub use config::{Config, ConfigError, Cors, Endpoint, Rate, RateLimit, SecurityHeaders, Switch};
pub use error::GatewayError;
pub use gateway::{Bound, Gateway};
pub use inherited::Listeners;
pub use owner::{Owner, OwnerError};
pub use reload::{ReloadError, Reloaded, Reloader};
pub use stop::Shutdown;
pub use trust::{Network, NetworkError};
