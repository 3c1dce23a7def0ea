//! TLS over a TCP connection.

use std::{
    io::{self, IoSlice},
    net::TcpStream as StdStream,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream as Inner};

/// Most bytes that a stream keeps of what it took while the socket is full.
pub const MAX_KEPT: usize = 64 << 10;

/// The limit of rustls counts neither the headers nor the tags of the last records.
const LIMIT: usize = MAX_KEPT - 1024;

/// TLS over TCP, after its handshake.
///
/// What was written may be kept until the next flush. A connection that ends without the peer's
/// close_notify is an error, [`io::ErrorKind::ConnectionAborted`]: whoever cut it could otherwise
/// make a message that ends with its connection look whole (RFC 8446 section 6.1).
#[derive(Debug)]
pub struct TlsStream {
    inner: Inner<Socket>,
}

/// A stream that left its event loop, on its way to another.
#[derive(Debug)]
pub struct Detached {
    stream: TlsStream,
    socket: StdStream,
}

impl TlsStream {
    /// The server's side of the handshake.
    ///
    /// # Errors
    /// The socket's, or a [`rustls::Error`] inside an [`io::Error`].
    pub async fn accept(config: Arc<ServerConfig>, socket: TcpStream) -> io::Result<Self> {
        let socket = Socket(Some(socket));
        let limit = |conn: &mut rustls::ServerConnection| conn.set_buffer_limit(Some(LIMIT));
        let stream = TlsAcceptor::from(config).accept_with(socket, limit).await?;
        let inner = stream.into();
        Ok(Self { inner })
    }

    /// The client's side of the handshake with the server `name`.
    ///
    /// # Errors
    /// As [`TlsStream::accept`].
    pub async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: TcpStream,
    ) -> io::Result<Self> {
        let socket = Socket(Some(socket));
        let limit = |conn: &mut rustls::ClientConnection| conn.set_buffer_limit(Some(LIMIT));
        let connector = TlsConnector::from(config);
        let inner = connector.connect_with(name, socket, limit).await?.into();
        Ok(Self { inner })
    }

    /// The protocol both agreed on (RFC 7301), if they did.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// The peer's own certificate, where it showed one.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.state().peer_certificates()?.first()
    }

    /// The connection under it; `None` while it is between two event loops.
    pub fn tcp(&self) -> Option<&TcpStream> {
        self.inner.get_ref().0.0.as_ref()
    }

    /// Makes the drop of this connection a reset. Without it and without a shutdown the peer sees
    /// an end that was not announced.
    pub fn abort(&self) {
        if let Some(socket) = self.tcp() {
            // Of a socket that is broken already.
            let _ = socket.set_zero_linger();
        }
    }

    /// True while nothing happened on an idle connection: neither an end nor bytes nobody asked for.
    /// What is TLS's own, such as a ticket, is taken.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.inner).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
        read.is_pending()
    }

    /// Leaves the event loop.
    ///
    /// # Errors
    /// The socket's; the connection is lost.
    pub fn detach(mut self) -> io::Result<Detached> {
        let socket = self.inner.get_mut().0.0.take().ok_or_else(gone)?;
        Ok(Detached {
            socket: socket.into_std()?,
            stream: self,
        })
    }

    fn state(&self) -> &CommonState {
        self.inner.get_ref().1
    }
}

impl Detached {
    /// Enters the event loop this is called on.
    ///
    /// # Errors
    /// The socket's; the connection is lost.
    pub fn attach(self) -> io::Result<TlsStream> {
        let Self { mut stream, socket } = self;
        stream.inner.get_mut().0.0 = Some(TcpStream::from_std(socket)?);
        Ok(stream)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the peer ended the connection without saying so in TLS",
            ),
            _ => error,
        })
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The connection under a stream; absent while the stream is between two event loops.
#[derive(Debug)]
struct Socket(Option<TcpStream>);

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Socket {
    fn here(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.0.as_mut().map(Pin::new).ok_or_else(gone)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.here()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(cx)
    }
}
