//! The addresses behind a gateway's name: each may be a gateway of its own, and gets a tunnel.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anp_tunnel::limit_unsent;
use tokio::{
    net::{TcpStream, lookup_host},
    sync::watch,
    time::timeout,
};

use crate::{address::GatewayUrl, config::Config};

/// How long one of several addresses may take to connect before the next is tried.
const PATIENCE: Duration = Duration::from_secs(3);

/// The addresses of one gateway, and how many tunnels go to each.
#[derive(Debug)]
pub(crate) struct Addresses {
    host: String,
    port: u16,
    /// What the configuration says instead of the system.
    fixed: Option<Vec<SocketAddr>>,
    held: Arc<Mutex<HashMap<SocketAddr, usize>>>,
    /// An address that has tunnels to spare while another has none.
    crowded: watch::Sender<Option<SocketAddr>>,
    /// How many tunnels at an address nobody needs.
    spare: watch::Sender<HashMap<SocketAddr, usize>>,
}

/// A tunnel's share of an address, given up when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    address: SocketAddr,
    held: Arc<Mutex<HashMap<SocketAddr, usize>>>,
}

impl Addresses {
    /// Those of `url`'s host.
    pub(crate) fn new(url: &GatewayUrl, config: &Config) -> Self {
        let fixed = config.resolve.get(url.host()).map(|addresses| {
            let port = url.port();
            addresses.iter().map(|ip| (*ip, port).into()).collect()
        });
        Self {
            host: url.host().to_owned(),
            port: url.port(),
            fixed,
            held: Arc::default(),
            crowded: watch::Sender::new(None),
            spare: watch::Sender::default(),
        }
    }

    /// Every address there is now.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub(crate) async fn all(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let mut all: Vec<_> = lookup_host((&*self.host, self.port)).await?.collect();
        let mut seen = std::collections::HashSet::new();
        all.retain(|address| seen.insert(*address));
        Ok(all)
    }

    /// A TCP connection tuned for frames, to the address with the fewest tunnels that takes one.
    ///
    /// # Errors
    /// None takes one; the last one's reason.
    pub(crate) async fn dial(&self) -> io::Result<(TcpStream, Held)> {
        let mut all = self.all().await?;
        // Stable: between equals the system's order counts (RFC 6724).
        all.sort_by_key(|address| self.count(*address));
        let several = all.len() > 1;
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for address in all {
            // Counted first: others that dial now go elsewhere.
            let held = self.hold(address);
            let connecting = TcpStream::connect(address);
            let connected = match several {
                true => timeout(PATIENCE, connecting)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                false => connecting.await,
            };
            match connected {
                Ok(io) => {
                    io.set_nodelay(true)?;
                    limit_unsent(&io)?;
                    return Ok((io, held));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Looks for an address that has no tunnel and takes one, and lets a tunnel of another that has
    /// several go there. The addresses there are.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub(crate) async fn balance(&self) -> io::Result<Vec<SocketAddr>> {
        let all = self.all().await?;
        let crowded = all.iter().copied().max_by_key(|a| self.count(*a));
        let crowded = crowded.filter(|address| self.count(*address) > 1);
        let mut found = None;
        for empty in all.iter().filter(|a| self.count(**a) == 0) {
            if crowded.is_some() && takes_connections(*empty).await {
                found = crowded;
                break;
            }
        }
        self.crowded.send_if_modified(|now| {
            *now = found;
            found.is_some()
        });
        Ok(all)
    }

    /// Tells `excess` tunnels that nobody needs them: those at addresses that are none of `all` any more,
    /// then those where there are most. Each of `all` keeps the last it has.
    pub(crate) fn spare(&self, all: &[SocketAddr], excess: usize) {
        let mut spare = HashMap::new();
        let mut counts = self.counts().clone();
        for _ in 0..excess {
            let least = |address| usize::from(all.contains(address));
            let most = counts
                .iter_mut()
                .filter(|(address, count)| **count > least(*address))
                .max_by_key(|(address, count)| (!all.contains(*address), **count));
            let Some((address, count)) = most else {
                break;
            };
            *count -= 1;
            *spare.entry(*address).or_default() += 1;
        }
        self.spare.send_replace(spare);
    }

    /// Waits until nobody needs the tunnel at `held`. Tells as many as there are to spare.
    pub(crate) async fn is_spare(&self, held: &Held) {
        let mut spare = self.spare.subscribe();
        loop {
            // The sender lives in self, so the wait cannot fail.
            let _ = spare
                .wait_for(|spare| spare.contains_key(&held.address))
                .await;
            let taken = self
                .spare
                .send_if_modified(|spare| match spare.get_mut(&held.address) {
                    Some(1) => spare.remove(&held.address).is_some(),
                    Some(count) => {
                        *count -= 1;
                        true
                    }
                    None => false,
                });
            if taken {
                return;
            }
        }
    }

    /// Waits until the tunnel at `held` shall go to another address. Tells one tunnel each time.
    pub(crate) async fn is_wanted_elsewhere(&self, held: &Held) {
        let mut crowded = self.crowded.subscribe();
        loop {
            // The sender lives in self, so the wait cannot fail.
            let _ = crowded.wait_for(|now| *now == Some(held.address)).await;
            let taken = self.crowded.send_if_modified(|now| {
                let mine = *now == Some(held.address);
                if mine {
                    *now = None;
                }
                mine
            });
            if taken {
                return;
            }
        }
    }

    fn hold(&self, address: SocketAddr) -> Held {
        *self.counts().entry(address).or_default() += 1;
        Held {
            address,
            held: Arc::clone(&self.held),
        }
    }

    fn count(&self, address: SocketAddr) -> usize {
        self.counts().get(&address).copied().unwrap_or(0)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True where something listens there. A connection is opened for it and closed.
async fn takes_connections(address: SocketAddr) -> bool {
    let connecting = TcpStream::connect(address);
    matches!(timeout(PATIENCE, connecting).await, Ok(Ok(_)))
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A name with two addresses, of which the second takes no connections.
    async fn two() -> (TcpListener, Addresses) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("ws://gw.example:{port}").parse().unwrap();
        let config = Config {
            resolve: [(
                "gw.example".to_owned(),
                vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()],
            )]
            .into(),
            ..Config::default()
        };
        (listener, Addresses::new(&url, &config))
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn each_address_gets_a_tunnel_and_one_that_is_back_gets_one_again() {
        let (first, addresses) = two().await;
        let port = first.local_addr().unwrap().port();
        let (_a, at_a) = addresses.dial().await.unwrap();
        let (_b, at_b) = addresses.dial().await.unwrap();
        assert_eq!(at_a.address, at_b.address);
        // While the other is away, nobody is sent there.
        assert_eq!(addresses.balance().await.unwrap().len(), 2);
        assert_eq!(*addresses.crowded.borrow(), None);

        let _second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        addresses.balance().await.unwrap();
        tokio::select! {
            () = addresses.is_wanted_elsewhere(&at_a) => {}
            () = addresses.is_wanted_elsewhere(&at_b) => {}
        }
        assert_eq!(
            *addresses.crowded.borrow(),
            None,
            "one of the two is enough"
        );
        drop(at_a);
        let (_c, at_c) = addresses.dial().await.unwrap();
        assert_ne!(at_c.address, at_b.address);
        addresses.balance().await.unwrap();
        assert_eq!(*addresses.crowded.borrow(), None);
    }

    #[tokio::test]
    async fn tunnels_to_spare_are_where_nobody_looks_or_most_are() {
        let (_listener, addresses) = two().await;
        let [gone, one, other] = [1, 2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], 1)));
        let all = [one, other];
        let _held = [gone, one, one, one, other].map(|address| addresses.hold(address));
        for (excess, spare) in [
            (0, vec![]),
            (1, vec![(gone, 1)]),
            (2, vec![(gone, 1), (one, 1)]),
            // Neither loses its last.
            (9, vec![(gone, 1), (one, 2)]),
        ] {
            addresses.spare(&all, excess);
            let expected: HashMap<_, _> = spare.into_iter().collect();
            assert_eq!(*addresses.spare.borrow(), expected, "{excess}");
        }
        let [first, second] = [one, one].map(|address| addresses.hold(address));
        addresses.is_spare(&first).await;
        addresses.is_spare(&second).await;
        assert_eq!(*addresses.spare.borrow(), [(gone, 1)].into());
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_an_error() {
        let url = "ws://gw.example:1".parse().unwrap();
        let config = Config {
            resolve: [("gw.example".to_owned(), Vec::new())].into(),
            ..Config::default()
        };
        let error = Addresses::new(&url, &config).dial().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
