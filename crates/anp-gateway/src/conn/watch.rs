//! The deadlines of a connection, kept so that a request costs no timer.
//!
//! ```text
//!               first byte        head complete        response head         both halves over
//! Fresh or Idle ───────────▶ Head ──────────────▶ Waiting ──────────────▶ Streaming ──────▶ Idle
//! ```
//! Every change of phase stores when the connection would be late. One timer a connection sleeps
//! until the deadline it last saw and, when it fires, looks again; it is set anew only when it fires
//! or when a deadline moves before it. All of it happens in the connection's own task.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::config::Config;

/// How long each phase of a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    head: Duration,
    response: Duration,
    idle: Duration,
    keep_alive: Duration,
}

impl Limits {
    /// The limits a configuration asks for.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            head: config.head_timeout.0,
            response: config.response_timeout.0,
            idle: config.idle_timeout.0,
            keep_alive: config.keep_alive_timeout.0,
        }
    }
}

/// How long the end of a connection may take: the time a caller has to read a last answer before
/// what it still sends makes the system discard that answer (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Fresh,
    Head,
    Idle,
    Waiting,
    Streaming,
    Lingering,
}

/// What ran out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// No request, or no whole head of one: close.
    Connection,
    /// A request under way: its handler is told by [`Watch::is_late`].
    Request,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
    born: Instant,
    phase: AtomicU8,
    /// Milliseconds after `born`.
    deadline: AtomicU64,
    late: AtomicBool,
    /// Halves of requests that are not over: response, and upload where there is one.
    halves: AtomicU8,
    /// The caller's next bytes are what the request under way waits for.
    awaits_caller: AtomicBool,
    /// A message that breaks must end with a reset, since a plain end would make it look whole.
    reset_if_broken: AtomicBool,
    broken: AtomicBool,
    /// A part of a request was left unread, so that nothing behind it can be a request.
    unread: AtomicBool,
}

impl Watch {
    /// A connection that was accepted now.
    pub(crate) fn new(limits: Limits) -> Self {
        let watch = Self {
            limits,
            born: Instant::now(),
            phase: AtomicU8::new(Phase::Fresh as u8),
            deadline: AtomicU64::new(0),
            late: AtomicBool::new(false),
            halves: AtomicU8::new(0),
            awaits_caller: AtomicBool::new(false),
            reset_if_broken: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        };
        watch.enter(Phase::Fresh);
        watch
    }

    /// Bytes came from the caller.
    pub(crate) fn read(&self) {
        match self.phase() {
            // The head's time runs from the connection: bytes one by one gain nothing.
            Phase::Fresh => self.phase.store(Phase::Head as u8, Relaxed),
            Phase::Idle => self.enter(Phase::Head),
            phase @ (Phase::Waiting | Phase::Streaming) => self.enter(phase),
            Phase::Head | Phase::Lingering => {}
        }
    }

    /// The caller took bytes.
    pub(crate) fn wrote(&self) {
        match self.phase() {
            phase @ (Phase::Idle | Phase::Streaming) => self.enter(phase),
            Phase::Fresh | Phase::Head | Phase::Waiting | Phase::Lingering => {}
        }
    }

    /// A request's head is complete. `closes` says that only the end of the connection will end the
    /// response (HTTP/1.0).
    pub(crate) fn request(&self, closes: bool) {
        self.late.store(false, Relaxed);
        // Added to, not set: the upload of the request before may still be under way in the tunnel.
        self.halves.fetch_add(1, Relaxed);
        self.awaits_caller.store(false, Relaxed);
        self.reset_if_broken.store(closes, Relaxed);
        self.enter(Phase::Waiting);
    }

    /// The response's head is there.
    pub(crate) fn response(&self) {
        self.late.store(false, Relaxed);
        self.enter(Phase::Streaming);
    }

    /// Counts one half more of the request under way.
    pub(crate) fn add_half(&self) {
        self.halves.fetch_add(1, Relaxed);
    }

    /// One half of the request under way is over; after the last the connection is idle.
    pub(crate) fn half_over(&self) {
        let last = self.halves.fetch_sub(1, Relaxed) == 1;
        if last && self.phase() != Phase::Lingering {
            self.enter(Phase::Idle);
        }
    }

    /// Says whether the request under way waits for bytes of its caller.
    pub(crate) fn set_awaits_caller(&self, awaits: bool) {
        self.awaits_caller.store(awaits, Relaxed);
    }

    /// True where the request under way waits for bytes of its caller.
    pub(crate) fn awaits_caller(&self) -> bool {
        self.awaits_caller.load(Relaxed)
    }

    /// The connection is being closed and reads only to let the caller have the last answer.
    pub(crate) fn linger(&self) {
        self.enter(Phase::Lingering);
    }

    /// The response under way broke off.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Relaxed);
    }

    /// The rest of a request's body will not be read.
    pub(crate) fn set_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// True where no further request can be read.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// True where the connection must end with a reset.
    pub(crate) fn wants_reset(&self) -> bool {
        self.broken.load(Relaxed) && self.reset_if_broken.load(Relaxed)
    }

    /// True without a request under way or a part of one.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase(), Phase::Idle | Phase::Fresh)
    }

    /// True once the request under way ran out of time.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// When the connection would be late.
    pub(crate) fn deadline(&self) -> Instant {
        self.born + Duration::from_millis(self.deadline.load(Relaxed))
    }

    /// Acts on a deadline that has passed.
    pub(crate) fn expire(&self) -> Expired {
        match self.phase() {
            Phase::Waiting | Phase::Streaming if !self.is_late() => {
                self.late.store(true, Relaxed);
                // What follows, an answer of ours or a broken end, must get out in this time.
                self.store_deadline(LINGER);
                Expired::Request
            }
            _ => Expired::Connection,
        }
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Fresh,
            1 => Phase::Head,
            2 => Phase::Idle,
            3 => Phase::Waiting,
            4 => Phase::Streaming,
            _ => Phase::Lingering,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.store_deadline(match phase {
            Phase::Fresh | Phase::Head => self.limits.head,
            Phase::Idle => self.limits.keep_alive,
            Phase::Waiting => self.limits.response,
            Phase::Streaming => self.limits.idle,
            Phase::Lingering => LINGER,
        });
    }

    fn store_deadline(&self, after: Duration) {
        let at = (self.born.elapsed() + after).as_millis();
        // Rounded up: a deadline is never early.
        self.deadline
            .store(u64::try_from(at).unwrap_or(u64::MAX / 2) + 1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        Watch::new(Limits::new(&Config::default()))
    }

    async fn after(secs: u64) -> Instant {
        tokio::time::advance(Duration::from_secs(secs)).await;
        Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_and_a_slow_head_share_one_deadline() {
        let watch = watch();
        after(9).await;
        watch.read();
        assert!(watch.deadline() > Instant::now());
        assert!(watch.deadline() < after(2).await);
        assert_eq!(watch.expire(), Expired::Connection);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_moves_through_the_phases() {
        let watch = watch();
        watch.request(false);
        assert!(watch.deadline() > after(299).await);
        watch.read();
        assert!(watch.deadline() > after(299).await);
        watch.response();
        after(299).await;
        watch.wrote();
        assert!(watch.deadline() > after(299).await);
        watch.half_over();
        assert!(watch.is_idle());
        assert!(watch.deadline() < after(76).await);
        assert_eq!(watch.expire(), Expired::Connection);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_request_is_told_once_and_then_closed() {
        let watch = watch();
        watch.request(true);
        after(301).await;
        assert_eq!(watch.expire(), Expired::Request);
        assert!(watch.is_late());
        watch.set_broken();
        assert!(watch.wants_reset());
        assert!(watch.deadline() < after(3).await);
        assert_eq!(watch.expire(), Expired::Connection);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_keeps_the_connection_busy_after_the_response() {
        let watch = watch();
        watch.request(false);
        watch.add_half();
        watch.response();
        watch.half_over();
        assert!(!watch.is_idle());
        // The next request may come before the upload has left the tunnel.
        watch.request(false);
        watch.half_over();
        assert!(!watch.is_idle());
        watch.half_over();
        assert!(watch.is_idle());
    }
}
