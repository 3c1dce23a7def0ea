//! When a lost tunnel is opened again. Pure: random numbers and failures go in, waits come out.

use std::{fmt, time::Duration};

/// Counts failures of one tunnel slot and says how long to wait after each.
///
/// Waits are random between nothing and `delay × 2ⁿ`, at most `cap` ("full jitter"), so that many
/// receivers that lost one gateway do not come back together. Whoever draws short waits one after
/// the other has doubled often in little time: the upper end is also kept in proportion to what was
/// waited, so that a gateway that was away for seconds is not found again minutes later.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    delay: Duration,
    cap: Duration,
    max_attempts: Option<u32>,
    failures: u32,
    /// Since the last healthy connection.
    waited: Duration,
}

/// The upper end of a wait is at most the first one's and so many times what was waited before.
const IN_PROPORTION: u32 = 3;

/// What a failure means for trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It may pass: try again, not before `retry_after` where the peer said so.
    Passing {
        /// The peer's `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// It will not pass by itself: trying again would only repeat it.
    Fatal,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait, then try again.
    Retry {
        /// How long to wait.
        after: Duration,
        /// Which reconnect attempt that will be, from 1 since the last healthy connection.
        attempt: u32,
    },
    /// Do not try again.
    Stop(Stop),
}

/// Why there will be no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The failure was [`Severity::Fatal`].
    Fatal,
    /// `max_reconnect_attempts` were used up; holds how many that is.
    Exhausted(u32),
}

impl Backoff {
    /// A fresh count. `delay` is the upper end of the first wait, `cap` that of every wait.
    pub(crate) fn new(delay: Duration, cap: Duration, max_attempts: Option<u32>) -> Self {
        Self {
            delay,
            cap,
            max_attempts,
            failures: 0,
            waited: Duration::ZERO,
        }
    }

    /// The connection proved healthy: the count starts over.
    pub(crate) fn healthy(&mut self) {
        self.failures = 0;
        self.waited = Duration::ZERO;
    }

    /// Records a failure. `random` is uniform in `0.0..1.0`.
    pub(crate) fn failed(&mut self, severity: Severity, random: f64) -> Next {
        let Severity::Passing { retry_after } = severity else {
            return Next::Stop(Stop::Fatal);
        };
        if let Some(most) = self.max_attempts.filter(|most| self.failures >= *most) {
            return Next::Stop(Stop::Exhausted(most));
        }
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).min(31);
        let doubled = self.delay.saturating_mul(1 << doublings);
        let in_proportion = self.waited.saturating_mul(IN_PROPORTION);
        let ceiling = doubled
            .min(self.delay.saturating_add(in_proportion))
            .min(self.cap);
        let jitter = ceiling.mul_f64(random.clamp(0.0, 1.0));
        // Receivers told the same Retry-After still spread: the jitter comes on top of it, also at the cap.
        let told = retry_after.unwrap_or_default();
        let after = told.min(self.cap - ceiling) + jitter;
        self.waited = self.waited.saturating_add(after);
        Next::Retry {
            after,
            attempt: self.failures,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fatal => f.write_str("it is not asked again"),
            Self::Exhausted(failures) => {
                write!(
                    f,
                    "{failures} reconnect attempts failed (max_reconnect_attempts)"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSING: Severity = Severity::Passing { retry_after: None };

    fn backoff(max_attempts: Option<u32>) -> Backoff {
        Backoff::new(
            Duration::from_secs(1),
            Duration::from_secs(300),
            max_attempts,
        )
    }

    fn wait(next: Next) -> Duration {
        match next {
            Next::Retry { after, .. } => after,
            Next::Stop(stop) => panic!("stopped: {stop}"),
        }
    }

    #[test]
    fn waits_double_to_the_cap_and_start_over() {
        let mut backoff = backoff(None);
        let waits: Vec<u64> = (0..11)
            .map(|_| wait(backoff.failed(PASSING, 1.0)).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        for _ in 0..100 {
            assert_eq!(wait(backoff.failed(PASSING, 1.0)).as_secs(), 300);
        }
        backoff.healthy();
        let next = backoff.failed(PASSING, 1.0);
        assert_eq!(
            next,
            Next::Retry {
                after: Duration::from_secs(1),
                attempt: 1
            }
        );
    }

    #[test]
    fn jitter_reaches_down_to_nothing() {
        let mut backoff = backoff(None);
        assert_eq!(wait(backoff.failed(PASSING, 0.0)), Duration::ZERO);
        assert_eq!(
            wait(backoff.failed(PASSING, 0.5)),
            Duration::from_millis(500)
        );
    }

    #[test]
    fn short_waits_are_not_followed_by_a_long_one() {
        let mut backoff = backoff(None);
        let short: Duration = (0..12).map(|_| wait(backoff.failed(PASSING, 0.1))).sum();
        assert!(short < Duration::from_secs(10), "{short:?}");
        let long = wait(backoff.failed(PASSING, 1.0));
        assert_eq!(long, Duration::from_secs(1) + 3 * short);
    }

    #[test]
    fn retry_after_is_waited_for_but_not_beyond_the_cap() {
        let told = |secs| Severity::Passing {
            retry_after: Some(Duration::from_secs(secs)),
        };
        let mut backoff = backoff(None);
        assert_eq!(
            wait(backoff.failed(told(20), 0.5)),
            Duration::from_millis(20_500)
        );
        // There, too, they spread: over what the wait without it would have been.
        for (random, secs) in [(0.0, 298), (1.0, 300)] {
            let mut again = backoff.clone();
            let waited = wait(again.failed(told(86_400), random));
            assert_eq!(waited, Duration::from_secs(secs));
        }
        assert_eq!(
            wait(backoff.failed(told(u64::MAX), 0.5)),
            Duration::from_secs(299)
        );
    }

    #[test]
    fn it_stops_when_told_to_or_when_it_cannot_help() {
        let mut backoff = backoff(Some(2));
        assert!(matches!(
            backoff.failed(PASSING, 0.1),
            Next::Retry { attempt: 1, .. }
        ));
        assert!(matches!(
            backoff.failed(PASSING, 0.1),
            Next::Retry { attempt: 2, .. }
        ));
        assert_eq!(backoff.failed(PASSING, 0.1), Next::Stop(Stop::Exhausted(2)));
        assert_eq!(
            backoff.failed(Severity::Fatal, 0.1),
            Next::Stop(Stop::Fatal)
        );
    }
}
