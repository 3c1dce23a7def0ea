//! Lines of the log that could come by the thousand: some are told, the others counted.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// Lines told in a second; more are counted.
const TOLD: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// Lines of one kind.
#[derive(Debug, Default)]
pub(crate) struct Sparing(Mutex<Lately>);

/// What was told since when, and what was not.
#[derive(Debug, Default)]
struct Lately {
    since: Option<Instant>,
    told: u32,
    omitted: u64,
}

impl Sparing {
    /// True where another line may be told now. Where not, `tell` says how many were left out, once the
    /// second is over.
    pub(crate) fn allows(self: &Arc<Self>, tell: impl FnOnce(u64) + Send + 'static) -> bool {
        let now = Instant::now();
        let mut lately = self.0.lock();
        let since = match lately.since {
            Some(since) if now < since + SECOND => since,
            _ => {
                lately.since = Some(now);
                lately.told = 0;
                now
            }
        };
        if lately.told < TOLD {
            lately.told += 1;
            return true;
        }
        lately.omitted += 1;
        if lately.omitted == 1 {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                sleep_until(since + SECOND).await;
                let omitted = std::mem::take(&mut this.0.lock().omitted);
                tell(omitted);
            });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn in_a_second_some_are_told_and_the_others_counted() {
        let sparing = Arc::new(Sparing::default());
        let (omitted, mut told) = mpsc::unbounded_channel();
        let allowed = |times: u32| {
            (0..times)
                .filter(|_| {
                    let omitted = omitted.clone();
                    sparing.allows(move |count| omitted.send((count, Instant::now())).unwrap())
                })
                .count()
        };
        let begun = Instant::now();
        assert_eq!(allowed(9), 9);
        tokio::time::advance(SECOND / 2).await;
        assert_eq!(allowed(200), 1);
        assert_eq!(told.recv().await, Some((199, begun + SECOND)));
        // The next second has its own.
        assert_eq!(allowed(11), 10);
        assert_eq!(told.recv().await, Some((1, begun + 2 * SECOND)));
        assert_eq!(allowed(10), 10);
        tokio::time::advance(2 * SECOND).await;
        assert!(told.try_recv().is_err(), "nothing was left out");
    }
}
