//! Opens listeners and takes connections from them.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    task::Poll,
    time::Duration,
};

use anp_tunnel::limit_unsent;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::stop::{Step, Stop};

/// Connections the system holds for us before we take them.
const BACKLOG: i32 = 1024;

/// How long a listener rests after an error that only time mends, such as too many open files.
const REST: Duration = Duration::from_millis(100);

/// How long connections are taken at an address that the gateway before had and this one has not: who
/// had begun to connect has by then.
const ON_THE_WAY: Duration = Duration::from_secs(2);

/// Which of the gateway's listeners took a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// That of callers.
    Public,
    /// That of receivers.
    Tunnel,
    /// That of callers who are sent on to https.
    Redirect,
}

impl Listener {
    /// The word in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Tunnel => "tunnel",
            Self::Redirect => "redirect",
        }
    }
}

/// Until when connections are taken from a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Until the gateway's stop is so far.
    Step(Step),
    /// Only until those were taken who were on their way to an address of the gateway before, which is
    /// not this one's.
    Left,
}

impl Until {
    async fn reached(self, stop: &Stop) {
        match self {
            Self::Step(step) => stop.reached(step).await,
            Self::Left => {
                let _ = timeout(ON_THE_WAY, stop.reached(Step::Draining)).await;
            }
        }
    }
}

/// Opens one listener; `beside` others that have the port at overlapping addresses, which were made to
/// [share](share_port) it.
///
/// # Errors
/// The system's, for instance where the port is taken.
pub(crate) fn bind(address: SocketAddr, beside: bool) -> io::Result<StdListener> {
    open(address, beside)
}

/// Opens `count` listeners on one address, over which the system spreads connections (SO_REUSEPORT);
/// `beside` others as in [`bind`].
///
/// # Errors
/// As [`bind`]; a port that another process shares is taken, too.
pub(crate) fn bind_shared(
    address: SocketAddr,
    count: usize,
    beside: bool,
) -> io::Result<Vec<StdListener>> {
    if count <= 1 || !cfg!(unix) {
        return Ok(vec![bind(address, beside)?]);
    }
    if address.port() != 0 && !beside {
        // Sharing sockets would silently join those of a second gateway: one that does not share
        // finds it.
        drop(bind(address, false)?);
    }
    let first = open(address, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(open(address, true)?);
    }
    Ok(listeners)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A port whose last connections are still being forgotten is free.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if shared {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    let _ = shared;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes an open listener share its port with others that share it. The system takes both addresses
/// then, and gives connections to the one that names theirs.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub(crate) fn share_port(listener: &StdListener) -> io::Result<()> {
    socket2::SockRef::from(listener).set_reuse_port(true)
}

/// No listener is handed over here.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub(crate) fn share_port(_: &StdListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Takes connections as long as `until` says, then those that the system holds, then closes the
/// listener. `name` is for the log.
///
/// Where another process took over the listener, it ends with the drain's beginning instead and
/// leaves what the system holds to that process.
pub(crate) async fn accept(
    listener: TcpListener,
    name: &'static str,
    stop: &Stop,
    until: Until,
    mut take: impl FnMut(TcpStream, SocketAddr),
) {
    let mut ends = pin!(until.reached(stop));
    let mut drains = pin!(stop.reached(Step::Draining));
    let mut draining = false;
    // Errors come ten times a second for as long as there is reason for them: told once, and the end.
    let mut failing = false;
    loop {
        let next = poll_fn(|cx| {
            draining = draining || drains.as_mut().poll(cx).is_ready();
            if draining && stop.is_replaced() {
                return Poll::Ready(None);
            }
            match listener.poll_accept(cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending => {
                    // Whoever waited was taken.
                    if std::mem::take(&mut failing) {
                        tracing::info!(listener = name, "connections are taken again");
                    }
                    ends.as_mut().poll(cx).map(|()| None)
                }
            }
        });
        match next.await {
            None => return,
            Some(Ok((socket, peer))) => {
                let _ = socket.set_nodelay(true);
                let _ = limit_unsent(&socket);
                take(socket, peer);
            }
            Some(Err(error)) if is_of_one(&error) => {}
            Some(Err(error)) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(listener = name, %error, "connections cannot be taken");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// True for errors of one connection, which say nothing about the next.
fn is_of_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn a_shared_port_is_one_port_and_taken_for_others() {
        let shared = bind_shared(ANY, 3, false).unwrap();
        let address = shared[0].local_addr().unwrap();
        assert!(shared.iter().all(|l| l.local_addr().unwrap() == address));
        for count in [1, 2] {
            let error = bind_shared(address, count, false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
