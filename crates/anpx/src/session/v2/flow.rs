//! Flow control of one stream (ANPX 3.4): permission to send, and credit granted as the reader takes.

use std::time::{Duration, Instant};

use crate::limits::{Budget, MAX_GROWN_WINDOW};

/// Bytes a peer may still send. All arithmetic that a peer can influence is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window(u32);

impl Window {
    /// The most a window may hold: 2³¹−1.
    const MAX: u32 = i32::MAX as u32;

    pub(super) fn new(size: u32) -> Self {
        Self(size.min(Self::MAX))
    }

    pub(super) fn available(self) -> u32 {
        self.0
    }

    /// Takes `len` bytes out of the window, or returns false where they overrun it.
    #[must_use]
    pub(super) fn consume(&mut self, len: usize) -> bool {
        let left = u32::try_from(len)
            .ok()
            .and_then(|len| self.0.checked_sub(len));
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }

    /// Adds credit, or returns false for a credit of 0 or a window above 2³¹−1.
    #[must_use]
    pub(super) fn grant(&mut self, credit: u32) -> bool {
        let sum = self
            .0
            .checked_add(credit)
            .filter(|sum| credit > 0 && *sum <= Self::MAX);
        self.0 = sum.unwrap_or(self.0);
        sum.is_some()
    }
}

/// The sending side of a window: what this side may still send, and what credit may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendFlow {
    window: Window,
    /// Credit that the peer may still owe. Nothing is granted that was not taken, and a window that
    /// was taken whole doubles: that is at most twice what was sent.
    due: u64,
}

impl SendFlow {
    pub(super) fn new(size: u32) -> Self {
        Self {
            window: Window::new(size),
            due: 0,
        }
    }

    pub(super) fn available(self) -> u32 {
        self.window.available()
    }

    /// As [`Window::consume`].
    #[must_use]
    pub(super) fn consume(&mut self, len: usize) -> bool {
        let fits = self.window.consume(len);
        if fits {
            self.due = self.due.saturating_add(2 * len as u64);
        }
        fits
    }

    /// As [`Window::grant`].
    #[must_use]
    pub(super) fn grant(&mut self, credit: u32) -> bool {
        self.due = self.due.saturating_sub(u64::from(credit));
        self.window.grant(credit)
    }

    /// Takes out what may still be due once the stream is closed.
    pub(super) fn take_due(&mut self) -> u64 {
        std::mem::take(&mut self.due)
    }
}

/// The budgets that growth is charged to.
#[derive(Debug)]
pub(super) struct Growth {
    /// Bytes the session may still charge.
    pub(super) session_left: u64,
    /// Shared by the process.
    pub(super) process: Budget,
    /// The least round trip seen on the session; without it windows stay as they are.
    pub(super) round_trip: Option<Duration>,
}

impl Growth {
    /// Below this a measured round trip says more about the idle machine that echoed a ping than
    /// about how long a window takes under load, and windows would never grow on a local link.
    const LEAST_ROUND_TRIP: Duration = Duration::from_millis(2);

    fn charge(&mut self, bytes: u32) -> bool {
        let bytes = u64::from(bytes);
        let Some(left) = self.session_left.checked_sub(bytes) else {
            return false;
        };
        let charged = self.process.try_charge(bytes);
        if charged {
            self.session_left = left;
        }
        charged
    }

    pub(super) fn refund(&mut self, flow: &mut RecvFlow) {
        self.session_left += flow.charged;
        self.process.refund(std::mem::take(&mut flow.charged));
    }
}

/// The receiving side of a window: what the peer may still send, what is owed, and growth.
#[derive(Debug)]
pub(super) struct RecvFlow {
    /// What the peer may still send.
    window: Window,
    /// The window's full size in bytes.
    size: u32,
    /// Taken by the reader and not yet granted anew.
    owed: u32,
    /// When the window now being measured began to arrive, and how much of it the reader took.
    epoch: Option<(Instant, u32)>,
    /// Growth charged to the budgets.
    charged: u64,
}

impl RecvFlow {
    /// So much owed is worth a frame, however large the window: while half of a large window
    /// gathers, the sender stands still for want of it.
    const WORTH_A_FRAME: u32 = 1 << 20;

    pub(super) fn new(size: u32) -> Self {
        Self {
            window: Window::new(size),
            size,
            owed: 0,
            epoch: None,
            charged: 0,
        }
    }

    /// Bytes arrived. False: the peer overran its window.
    #[must_use]
    pub(super) fn received(&mut self, now: Instant, len: usize) -> bool {
        if len > 0 {
            self.epoch.get_or_insert((now, 0));
        }
        self.window.consume(len)
    }

    /// The reader took bytes; they become owed, and the window doubles where the reader took a
    /// whole one within two round trips of its arrival.
    pub(super) fn taken(&mut self, now: Instant, len: usize, growth: &mut Growth) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.owed = self.owed.saturating_add(len);
        let Some((began, taken)) = &mut self.epoch else {
            return;
        };
        *taken = taken.saturating_add(len);
        if *taken < self.size {
            return;
        }
        let within = now.saturating_duration_since(*began);
        self.epoch = Some((now, 0));
        let Some(round_trip) = growth.round_trip else {
            return;
        };
        let limit = 2 * round_trip.max(Growth::LEAST_ROUND_TRIP);
        let more = self.size.min(MAX_GROWN_WINDOW.saturating_sub(self.size));
        if within <= limit && more > 0 && growth.charge(more) {
            self.size += more;
            self.owed = self.owed.saturating_add(more);
            self.charged += u64::from(more);
        }
    }

    /// True where enough is owed to be worth a frame.
    pub(super) fn is_credit_due(&self) -> bool {
        self.owed >= (self.size / 2).min(Self::WORTH_A_FRAME) && self.owed > 0
    }

    /// The credit to send now.
    pub(super) fn take_credit(&mut self) -> u32 {
        let credit = std::mem::take(&mut self.owed);
        // Owed plus window never exceeds the size, which is far below the window's maximum.
        let _ = self.window.grant(credit);
        credit
    }

    /// What the peer may still have on its way.
    pub(super) fn outstanding(&self) -> u32 {
        self.window.available()
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> u32 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(session: u64, process: u64) -> Growth {
        Growth {
            session_left: session,
            process: Budget::new(process),
            round_trip: Some(Duration::from_millis(100)),
        }
    }

    #[test]
    fn a_window_takes_no_zero_credit_and_never_exceeds_its_maximum() {
        let mut window = Window::new(10);
        assert!(!window.grant(0));
        assert!(!window.grant(Window::MAX - 9));
        assert!(window.grant(Window::MAX - 10));
        assert_eq!(window.available(), Window::MAX);
    }

    #[test]
    fn an_overrun_is_refused_and_changes_nothing() {
        let mut window = Window::new(10);
        assert!(!window.consume(11));
        assert!(window.consume(10));
        assert_eq!(window.available(), 0);
    }

    #[test]
    fn credit_is_due_at_half_the_window_and_only_for_what_was_taken() {
        let now = Instant::now();
        let mut growth = growth(0, 0);
        let mut flow = RecvFlow::new(100);
        assert!(flow.received(now, 100));
        assert!(!flow.is_credit_due());
        flow.taken(now, 49, &mut growth);
        assert!(!flow.is_credit_due());
        flow.taken(now, 1, &mut growth);
        assert!(flow.is_credit_due());
        assert_eq!(flow.take_credit(), 50);
        assert_eq!(flow.outstanding(), 50);
    }

    #[test]
    fn credit_of_a_large_window_does_not_wait_for_its_half() {
        let now = Instant::now();
        let mut growth = growth(0, 0);
        let mut flow = RecvFlow::new(16 << 20);
        assert!(flow.received(now, 2 << 20));
        flow.taken(now, (1 << 20) - 1, &mut growth);
        assert!(!flow.is_credit_due());
        flow.taken(now, 1, &mut growth);
        assert!(flow.is_credit_due());
    }

    #[test]
    fn a_window_taken_within_two_round_trips_doubles_and_the_growth_is_refunded() {
        let now = Instant::now();
        let mut growth = growth(1000, 1000);
        let mut flow = RecvFlow::new(100);
        assert!(flow.received(now, 100));
        flow.taken(now + Duration::from_millis(200), 100, &mut growth);
        assert_eq!((flow.size(), flow.take_credit()), (200, 200));
        assert_eq!((growth.session_left, growth.process.left()), (900, 900));
        growth.refund(&mut flow);
        assert_eq!((growth.session_left, growth.process.left()), (1000, 1000));
    }

    #[test]
    fn a_slow_reader_an_empty_budget_or_an_unknown_round_trip_leaves_the_window() {
        let now = Instant::now();
        let late = now + Duration::from_millis(201);
        let unknown = Growth {
            round_trip: None,
            ..growth(1000, 1000)
        };
        for (mut growth, at) in [
            (growth(1000, 1000), late),
            (growth(99, 1000), now),
            (growth(1000, 99), now),
            (unknown, now),
        ] {
            let mut flow = RecvFlow::new(100);
            assert!(flow.received(now, 100));
            flow.taken(at, 100, &mut growth);
            assert_eq!(flow.size(), 100);
        }
    }
}
