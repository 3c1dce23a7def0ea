//! The caller's end of a connection: what is read of it, written to it, and when it is late.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use anp_http1::{BodyError, Connection, Decoded, Decoder};
use anpx::ResponseHead;
use bytes::BytesMut;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::response::put_informational;
use crate::{
    alive::Life,
    conn::{Deadline, LINGER, LINGER_MOST, LINGER_PAUSE, Limits, Metered},
    error::ProxyError,
    proxy::{Downstream, Failure, Piece, request},
    stop::{Step, Stop},
    tls::Socket,
};

/// Most bytes of a body taken at once.
const PIECE: usize = 64 << 10;
/// How long a caller that left behind bytes which are not taken may go unnoticed.
const LOOK: Duration = Duration::from_millis(500);
/// Reads a wake-up of what is discarded, so that a fast sender cannot hold the worker.
pub(super) const DISCARDS: usize = 16;

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
    /// When it is looked at whether the caller left behind bytes that are not taken.
    look: Option<Pin<Box<Sleep>>>,
}

impl<IO: Socket> Http1<IO> {
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
            look: None,
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
    pub(crate) async fn linger(mut self, stop: &Stop) {
        if self.flush().await.is_err() {
            return;
        }
        let mut deadline = self.deadline;
        if !self.body.is_done() {
            deadline.set(LINGER_PAUSE);
        }
        let end = Instant::now() + LINGER_MOST;
        let (mut io, _) = self.conn.into_parts();
        let io = &mut io;
        let mut written_end = false;
        poll_fn(|cx| {
            if !written_end {
                match Pin::new(&mut *io).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => written_end = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return deadline.poll(cx),
                }
            }
            let mut discard = [0; 4096];
            let mut reads = 0;
            while reads < DISCARDS {
                let mut buf = ReadBuf::new(&mut discard);
                match Pin::new(&mut *io).poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) if !buf.filled().is_empty() => reads += 1,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            put_off_lingering(&mut deadline, end, reads, stop, cx);
            deadline.poll(cx)
        })
        .await;
    }

    /// Ready where the connection ended behind what waits to be taken. Nothing wakes whoever does not
    /// read, so it is looked at now and then.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        while look.as_mut().poll(cx).is_ready() {
            if self.conn.io().socket().has_ended() {
                return Poll::Ready(());
            }
            look.as_mut().reset(Instant::now() + LOOK);
        }
        Poll::Pending
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

impl<IO: Socket> Downstream for Http1<IO> {
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
    /// it; behind that an end is looked for. An end is an end: who closes its half without waiting for
    /// the answer does not want it.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.conn.is_flushed() && matches!(self.conn.poll_flush(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        while self.conn.read.is_empty() {
            if !ready!(self.conn.poll_read(cx)) {
                return Poll::Ready(());
            }
        }
        self.poll_ended(cx)
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.note_progress();
        self.deadline.poll(cx)
    }
}

/// Puts `deadline` off, but not beyond `end`, where a wake-up brought bytes to discard in so many
/// `reads`, and has the task woken again where there may be more. A gateway that stops puts nothing
/// off once it closes idle connections.
pub(super) fn put_off_lingering(
    deadline: &mut Deadline,
    end: Instant,
    reads: usize,
    stop: &Stop,
    cx: &Context<'_>,
) {
    if reads > 0 && !stop.is(Step::CloseIdle) {
        deadline.set_at(end.min(Instant::now() + LINGER_PAUSE));
    }
    if reads == DISCARDS {
        cx.waker().wake_by_ref();
    }
}

fn broken(error: BodyError) -> ProxyError {
    match error {
        BodyError::Malformed(what) => ProxyError::BadRequest(what),
        BodyError::TooLarge(_) => ProxyError::HeadersTooLarge,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::{config::Config, conn::http1::pump::End, metrics::WorkerMetrics};

    const SECOND: Duration = Duration::from_secs(1);

    /// A caller, and its connection in the middle of a body of `length` bytes.
    fn sending(length: u64) -> (DuplexStream, Http1<DuplexStream>) {
        let (caller, io) = tokio::io::duplex(64);
        let io = Metered::new(io, Arc::new(WorkerMetrics::default()));
        let limits = Limits::new(&Config::default());
        let mut http = Http1::new(io, BytesMut::new(), Deadline::new(SECOND), limits, None);
        http.body = Decoder::sized(length);
        (caller, http)
    }

    /// Sends `pieces` bytes, each `after` the one before, and stays until its connection is closed.
    async fn trickle(mut caller: DuplexStream, pieces: u32, after: Duration) {
        for _ in 0..pieces {
            tokio::time::sleep(after).await;
            if caller.write_all(b"x").await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// The whole seconds until `work` is done, beside what a caller does.
    async fn seconds<T>(
        work: impl Future<Output = T>,
        caller: impl Future<Output = ()>,
    ) -> (u64, T) {
        let begin = Instant::now();
        let mut caller = std::pin::pin!(caller);
        let mut is_there = true;
        let mut work = std::pin::pin!(work);
        let done = poll_fn(|cx| {
            is_there = is_there && caller.as_mut().poll(cx).is_pending();
            work.as_mut().poll(cx)
        })
        .await;
        (begin.elapsed().as_secs(), done)
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_lasts_while_bytes_come_and_no_longer_than_its_most() {
        let stop = Stop::default();
        let lingering = |length, pieces, after| {
            let (caller, http) = sending(length);
            seconds(http.linger(&stop), trickle(caller, pieces, after))
        };
        // Nothing is left to send.
        assert_eq!(lingering(0, 0, SECOND).await.0, 2);
        assert_eq!(lingering(9, 0, SECOND).await.0, 5);
        assert_eq!(lingering(9, 3, 4 * SECOND).await.0, 3 * 4 + 5);
        assert_eq!(lingering(9, 100, SECOND).await.0, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_body_is_discarded_to_its_end_where_that_comes_in_time() {
        let stop = Stop::default();
        let (caller, mut http) = sending(3);
        let three = trickle(caller, 4, 4 * SECOND);
        let (after, end) = seconds(http.discard_rest(&stop), three).await;
        assert!(matches!(end, Ok(())) && after == 3 * 4, "{after}");
        let (caller, mut http) = sending(3);
        let two = trickle(caller, 2, 4 * SECOND);
        let (after, end) = seconds(http.discard_rest(&stop), two).await;
        assert!(
            matches!(end, Err(End::Quiet)) && after == 2 * 4 + 5,
            "{after}"
        );
        let (caller, mut http) = sending(1000);
        let many = trickle(caller, 100, SECOND);
        let (after, end) = seconds(http.discard_rest(&stop), many).await;
        assert!(matches!(end, Err(End::Quiet)) && after == 30, "{after}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_stops_does_not_wait_for_a_refused_body() {
        let stop = Stop::default();
        let (caller, mut http) = sending(1000);
        let stopping = async {
            tokio::time::sleep(3 * SECOND).await;
            stop.go(Step::CloseIdle);
            trickle(caller, 100, SECOND).await;
        };
        let (after, end) = seconds(http.discard_rest(&stop), stopping).await;
        assert!(matches!(end, Err(End::Linger)) && after == 3, "{after}");
        // Nor does it linger for longer than for one who pauses.
        let (caller, http) = sending(1000);
        let (after, ()) = seconds(http.linger(&stop), trickle(caller, 100, SECOND)).await;
        assert_eq!(after, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_first_sends_everything_reads_its_last_answer() {
        let (mut caller, mut http) = sending(10);
        http.conn.head().extend_from_slice(b"answer");
        let caller = async {
            for _ in 0..10 {
                tokio::time::sleep(SECOND).await;
                caller.write_all(b"x").await.unwrap();
            }
            let mut got = String::new();
            caller.read_to_string(&mut got).await.unwrap();
            assert_eq!(got, "answer");
        };
        let stop = Stop::default();
        tokio::join!(http.linger(&stop), caller);
    }
}
