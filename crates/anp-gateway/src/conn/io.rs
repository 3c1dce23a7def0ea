//! The socket under an HTTP connection: tells the watch of progress, counts bytes, and lingers at
//! its end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Watch;
use crate::metrics::WorkerMetrics;

/// Buffers of this many bytes together are written as one.
const JOINED: usize = 2048;

/// The bytes of `bufs` in one piece, where they fit.
fn join<'a>(bufs: &[io::IoSlice<'_>], joined: &'a mut [u8; JOINED]) -> Option<&'a [u8]> {
    let len = bufs
        .iter()
        .try_fold(0_usize, |len, buf| len.checked_add(buf.len()))?;
    let mut rest = joined.get_mut(..len)?;
    for buf in bufs {
        let (to, after) = rest.split_at_mut_checked(buf.len())?;
        to.copy_from_slice(buf);
        rest = after;
    }
    joined.get(..len)
}

/// A socket of a caller.
#[derive(Debug)]
pub(crate) struct Watched<IO> {
    io: IO,
    watch: Arc<Watch>,
    metrics: Arc<WorkerMetrics>,
    written_end: bool,
}

impl<IO> Watched<IO> {
    /// Watches over `io`.
    pub(crate) fn new(io: IO, watch: Arc<Watch>, metrics: Arc<WorkerMetrics>) -> Self {
        Self {
            io,
            watch,
            metrics,
            written_end: false,
        }
    }

    /// The socket.
    pub(crate) fn into_inner(self) -> IO {
        self.io
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n @ 1..)) = result {
            self.watch.wrote();
            self.metrics.sent(*n);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        let n = buf.filled().len() - before;
        if n > 0 {
            self.watch.read();
            self.metrics.received(n);
        }
        result
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
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
        // A head and a small body are one plain write: a copy of this size costs less than what the
        // system does for two buffers.
        let mut joined = [0; JOINED];
        let result = match join(bufs, &mut joined) {
            Some(joined) => Pin::new(&mut self.io).poll_write(cx, joined),
            None => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
        };
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Ends what we write, then reads and discards until the caller ends too: closing a socket with
    /// unread bytes resets it, and a reset takes the last answer from a caller that has not read it
    /// yet (RFC 9112 section 9.6). The watch bounds the time.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.written_end {
            self.watch.linger();
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.written_end = true;
        }
        let mut discard = [0; 4096];
        // A few reads a wake-up, so that a fast sender cannot hold the worker.
        for _ in 0..16 {
            let mut buf = ReadBuf::new(&mut discard);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
