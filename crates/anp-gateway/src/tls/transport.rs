//! What carries callers and tunnels: TCP, or TLS over it. Which one is known when a connection
//! begins, so everything above is made for each of the two and plain connections pay nothing.

use std::{
    io,
    net::TcpStream as StdStream,
    pin::pin,
    task::{Context, Poll, Waker},
};

use anp_tls::TlsStream;
use anp_tunnel::TRANSPORT_BUFFER;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
};

// What TLS keeps is counted by the tunnel's driver (ANPX 3.5).
const _: () = assert!(anp_tls::MAX_KEPT <= TRANSPORT_BUFFER);

/// A connection that can be asked whether its peer is there.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// True where the peer ended or reset the connection, also behind bytes that nobody has read yet.
    fn has_ended(&self) -> bool;
}

/// A connection whose peer is to be served.
pub(crate) trait Transport: Socket + Send + 'static {
    /// Makes the drop of this connection a reset instead of an orderly close.
    fn abort(&self);

    /// Leaves the event loop, for another.
    ///
    /// # Errors
    /// The system's; the connection is lost.
    fn detach(self) -> io::Result<Detached>;
}

/// A connection on its way between two event loops.
#[derive(Debug)]
pub(crate) enum Detached {
    Plain(StdStream),
    Tls(Box<anp_tls::Detached>),
}

impl Socket for TcpStream {
    fn has_ended(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let readiness = pin!(self.ready(Interest::READABLE)).poll(&mut cx);
        matches!(readiness, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

impl Socket for TlsStream {
    fn has_ended(&self) -> bool {
        self.tcp().is_none_or(Socket::has_ended)
    }
}

#[cfg(test)]
impl Socket for tokio::io::DuplexStream {
    fn has_ended(&self) -> bool {
        false
    }
}

impl Transport for TcpStream {
    fn abort(&self) {
        // Of a socket that is broken already.
        let _ = self.set_zero_linger();
    }

    fn detach(self) -> io::Result<Detached> {
        Ok(Detached::Plain(self.into_std()?))
    }
}

impl Transport for TlsStream {
    fn abort(&self) {
        TlsStream::abort(self);
    }

    fn detach(self) -> io::Result<Detached> {
        Ok(Detached::Tls(Box::new(TlsStream::detach(self)?)))
    }
}
