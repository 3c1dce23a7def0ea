//! Listeners that came open from elsewhere: from a service manager, or from the gateway before.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
};

use crate::listener;

/// Open listeners by their purpose. Those of an address that is not configured are not used.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For callers; several may share one address (SO_REUSEPORT).
    pub public: Vec<StdListener>,
    /// For receivers.
    pub tunnel: Option<StdListener>,
    /// For callers who are sent on to https.
    pub redirect: Option<StdListener>,
    /// For health and metrics.
    pub admin: Option<StdListener>,
    /// They are those of a gateway that leaves them once this one serves. Where an address changed, the
    /// new one is opened beside theirs although the two overlap, and who is on the way to the old one is
    /// still served. Not so for those of a service manager.
    pub handed_over: bool,
}

impl Listeners {
    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.public.is_empty()
            && self.tunnel.is_none()
            && self.redirect.is_none()
            && self.admin.is_none()
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
            redirect: one(&self.redirect)?,
            admin: one(&self.admin)?,
            handed_over: self.handed_over,
        })
    }

    /// Those for callers at `address`: handed over, or else `count` that are opened.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(crate) fn public(
        &mut self,
        address: SocketAddr,
        count: usize,
    ) -> io::Result<Vec<StdListener>> {
        let (fit, rest) = std::mem::take(&mut self.public)
            .into_iter()
            .partition::<Vec<_>, _>(|listener| fits(listener, "listen", address));
        self.public = rest;
        if !fit.is_empty() {
            return Ok(fit);
        }
        let beside = self.handed_over && share_port(&self.public, address)?;
        listener::bind_shared(address, count, beside)
    }

    /// That for receivers at `address`, handed over or opened.
    ///
    /// # Errors
    /// As [`Listeners::public`].
    pub(crate) fn tunnel(&mut self, address: SocketAddr) -> io::Result<StdListener> {
        one(&mut self.tunnel, self.handed_over, "tunnel_listen", address)
    }

    /// That for callers who are sent on to https at `address`, handed over or opened.
    ///
    /// # Errors
    /// As [`Listeners::public`].
    pub(crate) fn redirect(&mut self, address: SocketAddr) -> io::Result<StdListener> {
        let key = "redirect_listen";
        one(&mut self.redirect, self.handed_over, key, address)
    }

    /// That for health and metrics at `address`, handed over or opened.
    ///
    /// # Errors
    /// As [`Listeners::public`].
    pub(crate) fn admin(&mut self, address: SocketAddr) -> io::Result<StdListener> {
        one(&mut self.admin, self.handed_over, "admin_listen", address)
    }

    /// What is left of those handed over: at addresses that are not served any more. Those of a service
    /// manager are its own matter.
    pub(crate) fn left(self) -> Self {
        match self.handed_over {
            true => self,
            false => Self::default(),
        }
    }
}

fn one(
    given: &mut Option<StdListener>,
    handed_over: bool,
    key: &'static str,
    address: SocketAddr,
) -> io::Result<StdListener> {
    if let Some(fits) = given.take_if(|listener| fits(listener, key, address)) {
        return Ok(fits);
    }
    let beside = handed_over && share_port(given.as_ref(), address)?;
    listener::bind(address, beside)
}

/// True for a listener at the address configured that can be used; port 0 is any.
fn fits(listener: &StdListener, key: &'static str, configured: SocketAddr) -> bool {
    let Ok(address) = listener.local_addr() else {
        return false;
    };
    if let Err(error) = listener.set_nonblocking(true) {
        tracing::warn!(key, %address, %error, "the listener handed over cannot be used; opening another");
        return false;
    }
    let same_port = configured.port() == 0 || address.port() == configured.port();
    let same = address.ip() == configured.ip() && same_port;
    if !same {
        tracing::warn!(key, %configured, %address, "the listener handed over is at another address than configured; opening another");
    }
    same
}

/// Lets `address` be opened although one of `listeners` has its port at another address, which may
/// overlap it, such as `0.0.0.0` and `127.0.0.1`. False where none has.
fn share_port<'a>(
    listeners: impl IntoIterator<Item = &'a StdListener>,
    address: SocketAddr,
) -> io::Result<bool> {
    let mut shared = false;
    for listener in listeners {
        if listener.local_addr()?.port() == address.port() {
            listener::share_port(listener)?;
            shared = true;
        }
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> StdListener {
        StdListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn only_a_listener_at_the_configured_address_fits() {
        let listener = open();
        let at = listener.local_addr().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(fits(&listener, "listen", at));
        assert!(fits(&open(), "listen", any));
        assert!(!fits(&open(), "listen", at));
        assert!(!fits(&open(), "listen", "127.0.0.2:0".parse().unwrap()));
    }

    #[cfg(unix)]
    #[test]
    fn an_address_is_opened_beside_one_that_it_overlaps_where_that_was_handed_over() {
        let (wide, narrow) = ([0, 0, 0, 0], [127, 0, 0, 1]);
        for (old, new) in [(narrow, wide), (wide, narrow)] {
            let from = |port: u16| SocketAddr::from((old, port));
            let to = |port: u16| SocketAddr::from((new, port));
            for handed_over in [true, false] {
                let (public, tunnel) = (
                    listener::bind_shared(from(0), 2, false).unwrap(),
                    listener::bind(from(0), false).unwrap(),
                );
                let port = |listener: &StdListener| listener.local_addr().unwrap().port();
                let (to_public, to_tunnel) = (to(port(&public[0])), to(port(&tunnel)));
                let mut given = Listeners {
                    public,
                    tunnel: Some(tunnel),
                    handed_over,
                    ..Listeners::default()
                };
                let (public, tunnel) = (given.public(to_public, 2), given.tunnel(to_tunnel));
                if handed_over {
                    assert_eq!(public.unwrap()[1].local_addr().unwrap(), to_public);
                    assert_eq!(tunnel.unwrap().local_addr().unwrap(), to_tunnel);
                    let left = given.left();
                    assert_eq!((left.public.len(), left.tunnel.is_some()), (2, true));
                } else {
                    for error in [public.err(), tunnel.err()] {
                        assert_eq!(error.unwrap().kind(), io::ErrorKind::AddrInUse);
                    }
                    assert!(given.left().is_empty());
                }
            }
        }
    }
}
