//! The configuration a gateway runs with, which a reload replaces as a whole.

use std::{sync::Arc, time::Duration};

use anp_tunnel::TunnelConfig;
use anpx::session::{
    Role,
    config::{V1Config, V2Config},
};

use crate::{
    config::{Config, ConfigError},
    conn::Limits,
    policy::Rates,
    secret::Secret,
    trust::Network,
};

/// How long frames may wait for a receiver that takes none (ANPX 3.4).
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A configuration, and what follows from it.
#[derive(Debug)]
pub(crate) struct Settings {
    /// As it was validated.
    pub(crate) config: Config,
    /// The times it gives to callers and apps.
    pub(crate) limits: Limits,
    /// Its trusted proxies, to be shared with connections.
    pub(crate) trusted: Arc<[Network]>,
    /// What clients and tenants used of their limits.
    pub(crate) rates: Rates,
    /// How it has tunnels driven.
    pub(crate) tunnel: TunnelConfig,
    /// What the admin listener asks for.
    pub(crate) admin_token: Option<Secret>,
}

impl Settings {
    /// The settings of a valid configuration.
    ///
    /// # Errors
    /// A file that it names has changed since.
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self {
            admin_token: config.admin_token()?,
            limits: Limits::new(&config),
            rates: Rates::new(&config),
            trusted: config.trusted_proxies.clone().into(),
            tunnel: TunnelConfig {
                v1: V1Config {
                    max_streams: config.v1_max_streams,
                    ..V1Config::new(Role::Gateway)
                },
                v2: V2Config {
                    max_streams: config.max_streams,
                    ..V2Config::new(Role::Gateway)
                },
                ping_interval: config.ping_interval.0,
                write_timeout: WRITE_TIMEOUT,
            },
            config,
        })
    }

    /// The largest head of a request, in bytes.
    pub(crate) fn max_header_size(&self) -> usize {
        // Validated to fit.
        usize::try_from(self.config.max_header_size.0).unwrap_or(64 << 10)
    }
}
