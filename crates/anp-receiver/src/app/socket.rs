//! A connection to an app over TCP, TLS, a Unix socket or a pipe in this process, as one type.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use anp_tls::TlsStream;
use anp_tunnel::limit_unsent;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::pipe::Pipe;
use crate::{
    address::{AppPlace, AppUrl},
    tls::Tls,
};

/// A connection to an app.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    Unix(UnixStream),
    Pipe(Pipe),
}

impl Socket {
    /// Connects to the app at `url`, where it speaks TLS by means of `tls`.
    pub(crate) async fn connect(url: &AppUrl, tls: Option<&Tls>) -> io::Result<Self> {
        match url.place() {
            AppPlace::Tcp { host, port } => {
                let io = TcpStream::connect((host.as_str(), *port)).await?;
                io.set_nodelay(true)?;
                limit_unsent(&io)?;
                match tls.filter(|_| url.is_secure()) {
                    Some(tls) => Ok(Self::Tls(Box::new(tls.with_app(url, io).await?))),
                    None if url.is_secure() => Err(io::Error::other("TLS was not set up")),
                    None => Ok(Self::Tcp(io)),
                }
            }
            AppPlace::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
        }
    }

    /// Makes the drop of this connection a reset instead of an orderly close. Over a Unix socket,
    /// which has none, the app sees one only where it had written what was not read.
    pub(crate) fn abort(&self) {
        match self {
            Self::Tcp(io) => {
                // Of a socket that is broken already.
                let _ = io.set_zero_linger();
            }
            Self::Tls(io) => io.abort(),
            Self::Unix(_) => {}
            Self::Pipe(io) => io.abort(),
        }
    }

    /// True while nothing happened on the idle connection: neither an end nor bytes nobody asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(io) => io.try_read(&mut byte),
            Self::Tls(io) => return io.is_quiet(),
            Self::Unix(io) => io.try_read(&mut byte),
            // Never kept.
            Self::Pipe(_) => return false,
        };
        matches!(read, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
            Self::Pipe(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_write(cx, buf),
            Self::Pipe(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Pipe(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        !matches!(self, Self::Pipe(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
            Self::Unix(io) => Pin::new(io).poll_flush(cx),
            Self::Pipe(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Self::Pipe(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
