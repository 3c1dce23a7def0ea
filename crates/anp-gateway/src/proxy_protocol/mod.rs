//! The PROXY protocol, versions 1 and 2 (haproxy's `proxy-protocol.txt`): a load balancer that
//! passes on connections without reading them says in front of each whose it is.

pub(crate) mod complaint;
mod header;

use std::{future::poll_fn, net::SocketAddr};

use tokio::net::TcpStream;

use self::header::{Header, HeaderError, read};
use crate::{conn::Deadline, stop::Step, trust, worker::Worker};

/// The ends of a caller's connection to the public listener: those of its socket, caller first, or
/// where `proxy_protocol` is on, what its header says. `None` where it shall be closed: its peer is
/// not trusted, its header cannot be used or did not come before `deadline`.
pub(crate) async fn ends(
    worker: &Worker,
    socket: &mut TcpStream,
    own: (SocketAddr, SocketAddr),
    deadline: &mut Deadline,
) -> Option<(SocketAddr, SocketAddr)> {
    let shared = &worker.shared;
    let settings = shared.settings.load_full();
    if !settings.config.proxy_protocol {
        return Some(own);
    }
    let (peer, _) = own;
    if !trust::holds(&settings.trusted, peer.ip()) {
        worker.complaint.about(peer, &HeaderError::Untrusted);
        return None;
    }
    let read = tokio::select! {
        biased;
        read = read(socket) => read,
        () = poll_fn(|cx| deadline.poll(cx)) => return None,
        () = shared.stop.reached(Step::CloseIdle) => return None,
    };
    match read {
        Ok(Header::Own) => Some(own),
        Ok(Header::Of {
            source,
            destination,
        }) => Some((source, destination)),
        // Whoever connects and leaves, such as a health check, has done nothing wrong.
        Err(HeaderError::Ended { begun: false }) => None,
        Err(error) => {
            worker.complaint.about(peer, &error);
            None
        }
    }
}
