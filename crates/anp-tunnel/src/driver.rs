//! Moves the bytes of one tunnel: reads all there is, writes all there is to say, flushes once.

use std::{
    borrow::Cow,
    cell::RefCell,
    future::Future,
    io::IoSlice,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anpx::{CloseCode, limits::MAX_UNWRITTEN, session::Session};
use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::{
    config::TunnelConfig,
    keepalive::Verdict,
    shared::Shared,
    status::Closed,
    timer::{Timer, now},
    websocket::Message,
    wire::{Ending, Wire},
};

/// Bytes asked of the socket at once.
const READ_SIZE: usize = 64 << 10;
/// Reads between two writes, so that neither direction starves the other.
const READS_A_PASS: usize = 8;
/// Passes before other tasks of the worker get their turn.
const PASSES: usize = 4;
/// Parts that are written at once: two large frames and what is behind them.
const SLICES: usize = 5;
/// Most bytes that a transport may keep of what it took, as TLS does where the socket is full. They
/// count among those that wait unwritten (ANPX 3.5).
pub const TRANSPORT_BUFFER: usize = 64 << 10;
/// How long the peer's Close is awaited.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
thread_local! {
    /// Where a worker's tunnels read what is not a large body, and keep what came behind one: an idle
    /// tunnel holds no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
}

/// Moves the bytes of one tunnel: a future to be spawned, ready when the connection is gone.
#[derive(Debug)]
pub struct Driver<IO> {
    io: IO,
    shared: Arc<Shared>,
    wire: Wire,
    /// Set once the connection is to end.
    closing: Option<Closing>,
    /// Since when nothing could be written though something waits.
    stalled: Option<Instant>,
    /// The transport may keep some of what it took.
    unflushed: bool,
    timer: Timer,
    write_timeout: Duration,
}

/// A connection that is ending.
#[derive(Debug)]
struct Closing {
    closed: Closed,
    deadline: Instant,
    /// The peer's Close was read, or the connection broke: nothing more is to be read.
    read_over: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(crate) fn new(
        io: IO,
        read: Bytes,
        shared: Arc<Shared>,
        config: TunnelConfig,
        now: Instant,
    ) -> Self {
        let version = shared.with(|state| state.version);
        let mut driver = Self {
            io,
            shared,
            wire: Wire::new(&config, version, now),
            closing: None,
            stalled: None,
            unflushed: false,
            timer: Timer::default(),
            write_timeout: config.write_timeout,
        };
        if let Err(ending) = driver.feed(&read, now) {
            driver.begin_end(ending, now);
        }
        driver
    }

    /// Hands bytes to the session.
    fn feed(&mut self, mut input: &[u8], now: Instant) -> Result<(), Ending> {
        let wire = &mut self.wire;
        self.shared.with(|state| {
            while !input.is_empty() {
                if let Some(message) = wire.reader.feed(&mut input)? {
                    wire.handle(state, message, now)?;
                }
            }
            Ok(())
        })
    }

    /// Reads what is there. True where there may be more.
    fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ending> {
        for _ in 0..READS_A_PASS {
            let n = match self.poll_read(cx, now)? {
                Poll::Ready(n) => n,
                Poll::Pending => return Ok(false),
            };
            if n == 0 {
                return Err(Ending::Broken(
                    "the peer closed the connection without a Close".into(),
                ));
            }
            self.shared.received.fetch_add(n as u64, Relaxed);
            self.wire.keepalive.handle_read(now);
        }
        Ok(true)
    }

    /// One read: a large body straight into its message, all else through the worker's scratch.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Poll<usize>, Ending> {
        SCRATCH.with_borrow_mut(|scratch| {
            if let Some((message, room)) = self.wire.reader.spare()? {
                let mut message = message.limit(room);
                let read = pin!(self.io.read_buf(&mut message)).poll(cx);
                let Poll::Ready(n) = read.map_err(broken)? else {
                    return Ok(Poll::Pending);
                };
                let (message, behind) = self.wire.reader.filled(n, scratch)?;
                if let Some(message) = message {
                    let wire = &mut self.wire;
                    self.shared.with(|state| wire.handle(state, message, now))?;
                }
                if behind > 0 {
                    self.feed(&scratch[..behind], now)?;
                }
                return Ok(Poll::Ready(n));
            }
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(&mut self.io)
                .poll_read(cx, &mut buf)
                .map_err(broken)?
            {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(()) => {
                    let n = buf.filled().len();
                    self.feed(buf.filled(), now)?;
                    Ok(Poll::Ready(n))
                }
            }
        })
    }

    /// Encodes what the session has to say and writes it. True where all of it was written and
    /// something may have been added since.
    fn poll_output(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ending> {
        if self.closing.is_none() {
            let kept = self.kept();
            let wire = &mut self.wire;
            self.shared.with(|state| wire.fill(state, kept, now))?;
        }
        let mut wrote = false;
        while !self.wire.writer.is_empty() {
            let mut slices = [IoSlice::new(b""); SLICES];
            let write = match self.wire.writer.unwritten(&mut slices) {
                [slice] => Pin::new(&mut self.io).poll_write(cx, slice),
                slices => Pin::new(&mut self.io).poll_write_vectored(cx, slices),
            };
            match write.map_err(broken)? {
                Poll::Pending => {
                    self.stalled.get_or_insert(now);
                    return Ok(false);
                }
                Poll::Ready(0) => {
                    return Err(Ending::Broken("the connection takes no bytes".into()));
                }
                Poll::Ready(n) => {
                    self.stalled = None;
                    self.wire.writer.written(n);
                    self.shared.sent.fetch_add(n as u64, Relaxed);
                    wrote = true;
                    self.unflushed = true;
                }
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(flushed) => {
                    self.unflushed = false;
                    flushed.map_err(broken)?;
                }
            }
        }
        Ok(wrote)
    }

    /// Most bytes that the transport keeps now.
    fn kept(&self) -> usize {
        match self.unflushed {
            true => TRANSPORT_BUFFER,
            false => 0,
        }
    }

    /// Acts on the deadlines that passed.
    fn handle_timeouts(&mut self, now: Instant) -> Result<(), Ending> {
        if self
            .stalled
            .is_some_and(|since| now >= since + self.write_timeout)
        {
            return Err(Ending::Broken(
                "nothing could be written in time (4008)".into(),
            ));
        }
        if self.wire.keepalive.handle_timeout(now) == Verdict::Dead {
            return Err(Ending::Broken(
                "nothing was read for two ping intervals".into(),
            ));
        }
        // A timer fires on tunnels with little to do: those need not hold a buffer.
        self.wire.writer.release();
        self.shared.with(|state| match &mut state.session {
            Some(session) => session.handle_timeout(now),
            None => Ok(()),
        })?;
        Ok(())
    }

    /// When [`Driver::handle_timeouts`] is next due.
    fn deadline(&self, session: Option<Instant>) -> Instant {
        if let Some(closing) = &self.closing {
            return closing.deadline;
        }
        let stalled = self.stalled.map(|since| since + self.write_timeout);
        let all = [session, stalled, self.wire.undecided_ping];
        all.into_iter()
            .flatten()
            .fold(self.wire.keepalive.deadline(), Instant::min)
    }

    /// One pass over the open connection. True where another would find more.
    fn pass(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ending> {
        let read = self.poll_input(cx, now)?;
        let (close, drained) = self.shared.with(|state| {
            // Before there is a session there is nothing to drain yet.
            if let Some(session) = &mut state.session
                && std::mem::take(&mut state.drain_requested)
            {
                session.drain();
            }
            (
                state.close_request.clone(),
                state.session.as_ref().is_some_and(Session::is_drained),
            )
        });
        if let Some((code, reason)) = close {
            return Err(Ending::Ours(code, reason));
        }
        let wrote = self.poll_output(cx, now)?;
        if drained && self.wire.writer.is_empty() && !self.unflushed {
            return Err(Ending::Ours(
                CloseCode::GOING_AWAY,
                Cow::Borrowed("drained"),
            ));
        }
        Ok(read || wrote)
    }

    /// Tells everybody, and says goodbye where the connection still carries bytes.
    fn begin_end(&mut self, ending: Ending, now: Instant) {
        let was_ready = self.shared.with(|state| state.was_ready);
        let (code, reason, by_peer) = match ending {
            Ending::Ours(code, reason) => {
                self.wire.writer.close(code, &reason);
                (Some(code), reason.into_owned(), false)
            }
            Ending::Peer(code, reason) => {
                self.wire.writer.close(code.unwrap_or(CloseCode::DONE), "");
                (code, reason, true)
            }
            Ending::Broken(reason) => {
                self.wire.writer.discard();
                self.unflushed = false;
                // Whose patience ended is who closed.
                let stalled = self.stalled.map(|since| since + self.write_timeout);
                let impatient = stalled.is_some_and(|deadline| now >= deadline)
                    || self.wire.keepalive.handle_timeout(now) == Verdict::Dead;
                (None, reason, !impatient)
            }
        };
        self.closing = Some(Closing {
            closed: Closed {
                code,
                reason,
                by_peer,
                was_ready,
            },
            deadline: now + CLOSE_TIMEOUT,
            // Nothing comes any more, either, where there is no code to say goodbye with.
            read_over: by_peer || code.is_none(),
        });
        self.shared.end();
    }

    /// Writes the rest and awaits the peer's Close. Ready when the connection may be dropped.
    fn poll_end(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Closed> {
        let _ = self
            .poll_output(cx, now)
            .inspect_err(|_| self.stop_reading());
        while self.closing.as_ref().is_some_and(|c| !c.read_over) {
            match self.poll_discard(cx) {
                Poll::Pending => break,
                Poll::Ready(true) => self.stop_reading(),
                Poll::Ready(false) => {}
            }
        }
        let unwritten = !self.wire.writer.is_empty() || self.unflushed;
        match &self.closing {
            Some(closing) if now < closing.deadline && (unwritten || !closing.read_over) => {
                self.timer.arm(cx, closing.deadline, now);
                Poll::Pending
            }
            Some(closing) => {
                // A transport that has an end of its own, as TLS does, says it if it can at once.
                let _ = Pin::new(&mut self.io).poll_shutdown(cx);
                Poll::Ready(closing.closed.clone())
            }
            None => Poll::Pending,
        }
    }

    fn stop_reading(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.read_over = true;
        }
    }

    /// Reads and forgets. Ready with true at the peer's Close or the end of the connection.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            let read = Pin::new(&mut self.io).poll_read(cx, &mut buf);
            let Poll::Ready(read) = read else {
                return Poll::Pending;
            };
            let mut input = buf.filled();
            if read.is_err() || input.is_empty() {
                return Poll::Ready(true);
            }
            while !input.is_empty() {
                match self.wire.reader.feed(&mut input) {
                    Ok(Some(Message::Close(_))) | Err(_) => return Poll::Ready(true),
                    Ok(_) => {}
                }
            }
            Poll::Ready(false)
        })
    }
}

/// A driver that is dropped before its end takes the connection with it: the handles must know.
impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Driver<IO> {
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let this = &mut *self;
        let now = now();
        this.shared.driver_runs(cx.waker());
        for _ in 0..PASSES {
            if this.closing.is_some() {
                return this.poll_end(cx, now);
            }
            let pass = match this.timer.has_fired(now) {
                true => this.handle_timeouts(now).and_then(|()| this.pass(cx, now)),
                false => this.pass(cx, now),
            };
            let more = match pass {
                Ok(more) => more,
                Err(ending) => {
                    this.begin_end(ending, now);
                    continue;
                }
            };
            let full = this.wire.writer.len() + this.kept() >= MAX_UNWRITTEN;
            if !more && let Some(session_deadline) = this.shared.driver_sleeps(full) {
                let deadline = this.deadline(session_deadline);
                this.timer.arm(cx, deadline, now);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn broken(error: std::io::Error) -> Ending {
    Ending::Broken(error.to_string())
}
