//! The caller's end of a connection: what is read of it, written to it, and when it is late.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use anp_http1::{BodyError, Connection, Decoded, Decoder};
use anpx::ResponseHead;
use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::response::put_informational;
use crate::{
    alive::Life,
    conn::{Deadline, LINGER, Limits, Metered},
    error::ProxyError,
    proxy::{Downstream, Failure, Piece, request},
};

/// Most bytes of a body taken at once.
const PIECE: usize = 64 << 10;

/// A connection, the body that is read from it, and the deadline of the phase it is in.
#[derive(Debug)]
pub(crate) struct Http1<IO> {
    pub(crate) conn: Connection<Metered<IO>>,
    pub(crate) body: Decoder,
    pub(crate) deadline: Deadline,
    /// Those of the request under way.
    pub(crate) limits: Limits,
    /// Those of the connection.
    pub(crate) usual: Limits,
    /// What bytes that move put the deadline off to.
    patience: Duration,
    /// What is written next is no progress.
    disregards: bool,
    /// The request under way is of HTTP/1.0, which has no informational heads.
    pub(crate) is_old: bool,
    /// Until the first request has found a tunnel.
    pub(crate) beginning: Option<Life>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Http1<IO> {
    /// A connection of which `read` was read, and whose first head must come before `deadline`.
    pub(crate) fn new(
        io: Metered<IO>,
        read: BytesMut,
        deadline: Deadline,
        limits: Limits,
        beginning: Option<Life>,
    ) -> Self {
        Self {
            conn: Connection::new(io, read),
            body: Decoder::empty(),
            deadline,
            limits,
            usual: limits,
            patience: limits.head,
            disregards: false,
            is_old: false,
            beginning,
        }
    }

    /// Enters a phase that ends when nothing moves for `patience`.
    pub(crate) fn wait_for(&mut self, patience: Duration) {
        self.patience = patience;
        self.deadline.set(patience);
        self.conn.io().moved().take();
    }

    /// Enters a phase as [`Http1::wait_for`] does, one that began at `from`, and may be waited for only
    /// later.
    pub(crate) fn wait_from(&mut self, from: Instant, patience: Duration) {
        self.wait_for(patience);
        self.deadline.set_at(from + patience);
    }

    /// Puts the deadline off if anything moved.
    pub(crate) fn note_progress(&mut self) {
        if self.conn.io().moved().take() {
            self.deadline.set(self.patience);
        }
    }

    /// What is written next shall not put the deadline off.
    pub(crate) fn disregard(&mut self) {
        self.note_progress();
        self.disregards = true;
    }

    /// It was written.
    pub(crate) fn disregarded(&mut self) {
        if std::mem::take(&mut self.disregards) {
            self.conn.io().moved().take();
        }
    }

    /// Gets out what is queued, as far as the caller takes it in the time of a last answer.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.deadline.set(LINGER);
        poll_fn(|cx| match self.conn.poll_flush(cx) {
            Poll::Pending => self
                .deadline
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            flushed => flushed,
        })
        .await
    }

    /// Ends what we write, then reads and discards until the caller ends too: closing a socket with
    /// unread bytes resets it, and a reset takes the last answer from a caller that has not read it
    /// yet (RFC 9112 section 9.6).
    pub(crate) async fn linger(mut self) {
        if self.flush().await.is_err() {
            return;
        }
        let (mut io, _) = self.conn.into_parts();
        let io = &mut io;
        let mut deadline = self.deadline;
        let mut written_end = false;
        poll_fn(|cx| {
            if !written_end {
                match std::pin::Pin::new(&mut *io).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => written_end = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return deadline.poll(cx),
                }
            }
            let mut discard = [0; 4096];
            // A few reads a wake-up, so that a fast sender cannot hold the worker.
            for _ in 0..16 {
                let mut buf = ReadBuf::new(&mut discard);
                match std::pin::Pin::new(&mut *io).poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return deadline.poll(cx),
                }
            }
            cx.waker().wake_by_ref();
            deadline.poll(cx)
        })
        .await;
    }

    /// Takes what is left of a request's body if all of it came already, so that the connection can
    /// go on. True where it can.
    pub(crate) fn discard_body(&mut self) -> bool {
        while !self.body.is_done() {
            match self.body.next(&mut self.conn.read, PIECE) {
                Ok(Decoded::Data(_)) => {}
                Ok(Decoded::Trailers(_) | Decoded::End) => return true,
                Ok(Decoded::More) | Err(_) => return false,
            }
        }
        true
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Downstream for Http1<IO> {
    fn is_body_whole(&self) -> bool {
        self.body.is_done()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        loop {
            match self.body.next(&mut self.conn.read, PIECE).map_err(broken)? {
                Decoded::Data(data) => return Poll::Ready(Ok(Piece::Data(data))),
                Decoded::Trailers(fields) => {
                    return Poll::Ready(Ok(Piece::Trailers(request::trailers(fields)?)));
                }
                Decoded::End => return Poll::Ready(Ok(Piece::End)),
                Decoded::More => {}
            }
            if !ready!(self.conn.poll_read(cx)) {
                let ended = self.conn.closed == Some(io::ErrorKind::UnexpectedEof);
                return Poll::Ready(if ended && self.body.close() {
                    Ok(Piece::End)
                } else {
                    Err(Failure::Gone)
                });
            }
        }
    }

    fn allow(&mut self, response: Option<Duration>, idle: Option<Duration>) {
        self.limits.idle = idle.unwrap_or(self.limits.idle);
        self.limits.response = response.unwrap_or(self.limits.response);
        self.wait_from(Instant::now(), self.limits.response);
    }

    fn put_off(&mut self) {
        self.deadline.set(self.patience);
    }

    fn inform(&mut self, head: &ResponseHead) {
        if !self.is_old {
            put_informational(self.conn.head(), head);
        }
    }

    /// Reads on only while nothing waits to be taken, so that what a caller sends ahead stays with
    /// it. An end is an end: who closes its half without waiting for the answer does not want it.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.conn.is_flushed() && matches!(self.conn.poll_flush(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        while self.conn.read.is_empty() {
            if !ready!(self.conn.poll_read(cx)) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_progress();
        self.deadline.poll(cx)
    }
}

fn broken(error: BodyError) -> ProxyError {
    match error {
        BodyError::Malformed(what) => ProxyError::BadRequest(what),
        BodyError::TooLarge(_) => ProxyError::HeadersTooLarge,
    }
}
