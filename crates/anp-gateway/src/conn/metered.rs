//! The socket under a connection: counts what moves, and gives back what was read ahead.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::WorkerMetrics;

/// A caller's socket.
#[derive(Debug)]
pub(crate) struct Metered<IO> {
    io: IO,
    /// Bytes of the socket that come before those it still has.
    ahead: Bytes,
    metrics: Arc<WorkerMetrics>,
    moved: Moved,
}

/// Whether bytes moved over a socket since it was last asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moved(Arc<AtomicBool>);

impl Moved {
    /// True where some did.
    pub(crate) fn take(&self) -> bool {
        // One thread reads, writes and asks: no exchange is needed.
        let moved = self.0.load(Relaxed);
        if moved {
            self.0.store(false, Relaxed);
        }
        moved
    }

    /// As if some did.
    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

impl<IO> Metered<IO> {
    /// Counts what moves over `io`.
    pub(crate) fn new(io: IO, metrics: Arc<WorkerMetrics>) -> Self {
        Self {
            io,
            ahead: Bytes::new(),
            metrics,
            moved: Moved::default(),
        }
    }

    /// Gives these bytes, which were counted already, before those of the socket.
    pub(crate) fn rewind(&mut self, ahead: Bytes) {
        self.ahead = ahead;
    }

    /// Tells of what moves, wherever the socket goes.
    pub(crate) fn moved(&self) -> &Moved {
        &self.moved
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &IO {
        &self.io
    }

    /// The socket.
    pub(crate) fn into_inner(self) -> IO {
        self.io
    }

    fn wrote(&mut self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n @ 1..)) = result {
            self.moved.0.store(true, Relaxed);
            self.metrics.sent(*n);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Metered<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let len = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..len]);
            self.ahead.advance(len);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        let n = buf.filled().len() - before;
        if n > 0 {
            self.moved.0.store(true, Relaxed);
            self.metrics.received(n);
        }
        result
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Metered<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let (mut other, io) = tokio::io::duplex(64);
        let mut metered = Metered::new(io, Arc::new(WorkerMetrics::default()));
        metered.rewind("ahead,".into());
        let mut first = [0; 2];
        metered.read_exact(&mut first).await.unwrap();
        assert!(!metered.moved().take());
        other.write_all(b"behind").await.unwrap();
        drop(other);
        let mut rest = String::new();
        metered.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "ead,behind");
        assert!(metered.moved().take() && !metered.moved().take());
    }
}
