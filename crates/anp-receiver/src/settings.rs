//! What tunnels are made with and apps are called with.

use std::sync::Arc;

use anp_tunnel::TunnelConfig;

use crate::{
    config::Config,
    proof::Identity,
    tls::{Tls, TlsError},
};

/// A configuration, and what follows from it. A reload makes others.
#[derive(Debug)]
pub(crate) struct Settings {
    /// As it was validated.
    pub(crate) config: Config,
    pub(crate) identity: Arc<Identity>,
    /// Where a gateway or an app speaks TLS.
    pub(crate) tls: Option<Tls>,
    /// How tunnels are driven.
    pub(crate) tunnel: TunnelConfig,
}

impl Settings {
    /// The settings of a valid configuration. Reads the files of TLS.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(crate) fn new(config: Config, identity: Arc<Identity>) -> Result<Self, TlsError> {
        Ok(Self {
            identity,
            tls: Tls::new(&config)?,
            tunnel: config.tunnel(),
            config,
        })
    }
}
