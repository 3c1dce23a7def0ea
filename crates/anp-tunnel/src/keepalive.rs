//! When to ping, and when the peer is gone (ANPX 3.11).

use std::time::{Duration, Instant};

/// Watches one connection. Every byte read counts as a sign of life.
#[derive(Debug)]
pub(crate) struct Keepalive {
    interval: Duration,
    last_read: Instant,
    /// When the ping not yet answered was written.
    ping: Option<(u64, Instant)>,
    pings_sent: u64,
    /// A ping waits to be written.
    due: bool,
    /// Pings the peer sent since `flood_since`.
    peer_pings: u32,
    flood_since: Instant,
}

/// What a deadline that passed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet, or a ping is due now.
    Alive,
    /// Nothing was read for two intervals.
    Dead,
}

impl Keepalive {
    /// More pings than this within one interval are a flood.
    const MAX_PEER_PINGS: u32 = 1000;

    /// The first ping is due at once: its round trip lets windows grow (ANPX 3.4).
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            last_read: now,
            ping: None,
            pings_sent: 0,
            due: true,
            peer_pings: 0,
            flood_since: now,
        }
    }

    pub(crate) fn handle_read(&mut self, now: Instant) {
        self.last_read = now;
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Verdict {
        let quiet = now.saturating_duration_since(self.last_read);
        if quiet >= 2 * self.interval {
            return Verdict::Dead;
        }
        self.due |= quiet >= self.interval && !self.ping_waits();
        Verdict::Alive
    }

    /// When [`Keepalive::handle_timeout`] is next due.
    pub(crate) fn deadline(&self) -> Instant {
        let waits = self.due || self.ping_waits();
        self.last_read
            + if waits {
                2 * self.interval
            } else {
                self.interval
            }
    }

    /// True where nothing was read since the last ping. A peer that answers no ping but sends
    /// other things is alive, and is pinged anew when it falls quiet.
    fn ping_waits(&self) -> bool {
        self.ping.is_some_and(|(_, sent)| sent >= self.last_read)
    }

    /// The payload of the ping to write now.
    pub(crate) fn take_ping(&mut self, now: Instant) -> Option<[u8; 8]> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        self.pings_sent += 1;
        self.ping = Some((self.pings_sent, now));
        Some(self.pings_sent.to_be_bytes())
    }

    /// The round trip, where the pong answers the last ping.
    pub(crate) fn handle_pong(&mut self, now: Instant, payload: &[u8]) -> Option<Duration> {
        let (id, sent) = self.ping?;
        if payload != id.to_be_bytes() {
            return None;
        }
        self.ping = None;
        Some(now.saturating_duration_since(sent))
    }

    /// Counts a ping of the peer; true where they are a flood.
    pub(crate) fn handle_ping(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.flood_since) >= self.interval {
            (self.flood_since, self.peer_pings) = (now, 0);
        }
        self.peer_pings += 1;
        self.peer_pings > Self::MAX_PEER_PINGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn a_quiet_peer_is_pinged_after_one_interval_and_dead_after_two() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(INTERVAL, start);
        assert!(
            keepalive.take_ping(start).is_some(),
            "the first ping goes at once"
        );
        let read = start + Duration::from_secs(1);
        keepalive.handle_read(read);
        let pong = 1_u64.to_be_bytes();
        assert_eq!(
            keepalive.handle_pong(read, &pong),
            Some(Duration::from_secs(1))
        );
        assert_eq!(
            keepalive.handle_pong(read, &pong),
            None,
            "a pong counts once"
        );

        assert_eq!(keepalive.deadline(), read + INTERVAL);
        assert_eq!(keepalive.handle_timeout(read + INTERVAL), Verdict::Alive);
        assert!(keepalive.take_ping(read + INTERVAL).is_some());
        assert_eq!(keepalive.deadline(), read + 2 * INTERVAL);
        assert_eq!(keepalive.handle_timeout(read + 2 * INTERVAL), Verdict::Dead);
    }

    #[test]
    fn any_byte_is_a_sign_of_life() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(INTERVAL, start);
        keepalive.take_ping(start);
        for seconds in (9..90).step_by(9) {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(keepalive.handle_timeout(now), Verdict::Alive);
            keepalive.handle_read(now);
        }
    }

    #[test]
    fn a_thousand_pings_an_interval_are_tolerated_and_no_more() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(INTERVAL, start);
        assert!((0..1000).all(|_| !keepalive.handle_ping(start)));
        assert!(keepalive.handle_ping(start));
        assert!(
            !keepalive.handle_ping(start + INTERVAL),
            "a new interval begins anew"
        );
    }
}
