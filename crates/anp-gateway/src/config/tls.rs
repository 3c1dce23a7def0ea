//! How the keys of TLS fit together.

use anp_tls::read::WorldReadable;

use super::{
    Config,
    error::{ConfigError, fail},
};

impl Config {
    /// True where callers speak TLS.
    pub fn has_public_tls(&self) -> bool {
        self.tls.is_some() || self.acme.is_some()
    }

    /// True where receivers speak TLS on the tunnel listener.
    pub fn has_tunnel_tls(&self) -> bool {
        !self.plain_tunnels && (self.tunnel_tls.is_some() || self.has_public_tls())
    }

    pub(crate) fn readable_keys(&self) -> WorldReadable {
        match self.allow_world_readable_keys {
            true => WorldReadable::Meant,
            false => WorldReadable::Refused,
        }
    }

    /// Checks how the keys of TLS fit together. Files are looked at later.
    pub(crate) fn check_tls(&self) -> Result<(), ConfigError> {
        if let Some(acme) = &self.acme {
            acme.check()?;
        }
        if self.redirect_listen.is_some() && !self.has_public_tls() {
            return fail(
                "redirect_listen",
                "callers would be sent on to https, which is not spoken: set tls or acme, or remove this",
            );
        }
        let exposed = !self.tunnel_listen.ip().is_loopback();
        if exposed && !self.has_tunnel_tls() && !self.plain_tunnels {
            return fail(
                "tunnel_listen",
                "whoever is between receivers and this address reads and changes what tunnels carry; \
                 set tunnel_tls, tls or acme, or plain_tunnels = true if something else encrypts them",
            );
        }
        let Some(tunnel) = &self.tunnel_tls else {
            return Ok(());
        };
        if self.plain_tunnels {
            return fail(
                "plain_tunnels",
                "contradicts tunnel_tls: remove one of them",
            );
        }
        match (&tunnel.cert, &tunnel.key) {
            (Some(_), None) => {
                return fail("tunnel_tls.key", "the key of tunnel_tls.cert is missing");
            }
            (None, Some(_)) => {
                return fail(
                    "tunnel_tls.cert",
                    "the certificate of tunnel_tls.key is missing",
                );
            }
            (None, None) if !self.has_public_tls() => {
                return fail(
                    "tunnel_tls.cert",
                    "there is no certificate to show: set tunnel_tls.cert and key, tls or acme",
                );
            }
            _ => {}
        }
        if tunnel.client_ca.is_some() && self.tunnel_path.is_some() {
            return fail(
                "tunnel_path",
                "receivers on the public listener show no certificate, which tunnel_tls.client_ca \
                 demands: remove one of them",
            );
        }
        Ok(())
    }
}
