//! What the log hears of a disk that takes nothing.

use std::time::{Duration, Instant};

/// When the log was last told that nothing can be written: each handshake would have a line of its own.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<Instant>);

impl Trouble {
    const PAUSE: Duration = Duration::from_secs(60);

    /// There is some; true where the log is to be told, at first and once a minute.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        let news = self
            .0
            .is_none_or(|told| now.duration_since(told) >= Self::PAUSE);
        if news {
            self.0 = Some(now);
        }
        news
    }

    /// There is none any more; true where there was.
    pub(super) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_news_at_first_and_once_a_minute_and_so_is_its_end() {
        let mut trouble = Trouble::default();
        let begun = Instant::now();
        assert!(!trouble.is_over());
        let news = [0, 1, 59, 60, 61, 119, 120].map(|second| {
            let now = begun + Duration::from_secs(second);
            trouble.is_news(now)
        });
        assert_eq!(news, [true, false, false, true, false, false, true]);
        assert!(trouble.is_over());
        assert!(!trouble.is_over());
        assert!(trouble.is_news(begun + Duration::from_secs(121)));
    }
}
