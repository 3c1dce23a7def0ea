//! The private side of an ANP tunnel: connects out to gateways and calls the local app.
#![forbid(unsafe_code)]

mod address;
mod config;
pub mod connect;
mod proxy;
pub mod reconnect;

pub use address::{AddressError, AppPlace, AppUrl, GatewayUrl};
pub use config::{Config, ConfigError};
pub use proxy::{Proxies, Proxy, ProxyError};
