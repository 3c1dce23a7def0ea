//! Listeners that came open from elsewhere: from a service manager, or from the gateway before.

use std::net::{SocketAddr, TcpListener as StdListener};

/// Open listeners by their purpose. Those of an address that is not configured are left alone.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For callers; several may share one address (SO_REUSEPORT).
    pub public: Vec<StdListener>,
    /// For receivers.
    pub tunnel: Option<StdListener>,
    /// For health and metrics.
    pub admin: Option<StdListener>,
}

impl Listeners {
    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.public.is_empty() && self.tunnel.is_none() && self.admin.is_none()
    }

    /// Other handles on the same sockets.
    ///
    /// # Errors
    /// The system gave no more descriptors.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let one = |listener: &Option<StdListener>| {
            let clone = listener.as_ref().map(StdListener::try_clone);
            clone.transpose()
        };
        Ok(Self {
            public: self
                .public
                .iter()
                .map(StdListener::try_clone)
                .collect::<Result<_, _>>()?,
            tunnel: one(&self.tunnel)?,
            admin: one(&self.admin)?,
        })
    }

    /// Those for callers that listen at `address`, ready for an event loop.
    pub(crate) fn take_public(&mut self, address: SocketAddr) -> Vec<StdListener> {
        let public = std::mem::take(&mut self.public);
        public
            .into_iter()
            .filter_map(|listener| fit(Some(listener), "listen", address))
            .collect()
    }

    /// That for receivers, where it listens at `address`.
    pub(crate) fn take_tunnel(&mut self, address: SocketAddr) -> Option<StdListener> {
        fit(self.tunnel.take(), "tunnel_listen", address)
    }

    /// That for health and metrics, where it listens at `address`.
    pub(crate) fn take_admin(&mut self, address: SocketAddr) -> Option<StdListener> {
        fit(self.admin.take(), "admin_listen", address)
    }
}

/// The listener, where it is at the address configured; port 0 is any.
fn fit(
    listener: Option<StdListener>,
    key: &'static str,
    configured: SocketAddr,
) -> Option<StdListener> {
    let listener = listener?;
    let address = listener.local_addr().ok()?;
    let same_port = configured.port() == 0 || address.port() == configured.port();
    if address.ip() != configured.ip() || !same_port {
        tracing::warn!(key, %configured, %address, "the listener handed over is at another address than configured; opening another");
        return None;
    }
    if let Err(error) = listener.set_nonblocking(true) {
        tracing::warn!(key, %address, %error, "the listener handed over cannot be used; opening another");
        return None;
    }
    Some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listener_at_the_configured_address_fits() {
        let open = || StdListener::bind("127.0.0.1:0").unwrap();
        let listener = open();
        let at = listener.local_addr().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(fit(Some(listener), "listen", at).is_some());
        assert!(fit(Some(open()), "listen", any).is_some());
        assert!(fit(Some(open()), "listen", at).is_none());
        assert!(fit(Some(open()), "listen", "127.0.0.2:0".parse().unwrap()).is_none());
        assert!(fit(None, "listen", any).is_none());
    }
}
