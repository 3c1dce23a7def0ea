//! A gateway that serves, until its end.

use std::{sync::Arc, time::Duration};

use anp_tunnel::Tunnel;
use anpx::CloseCode;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    error::GatewayError,
    stop::{Shutdown, Step},
    worker::Shared,
};

/// How long a stop leaves connections without a request open: one that sends a request in this time
/// gets its answer, with `Connection: close`.
const IDLE_GRACE: Duration = Duration::from_secs(2);

/// How much longer those have that were accepted before the stop and whose first request is still to
/// come: nobody told them that they are too late.
const BEGIN_GRACE: Duration = Duration::from_secs(3);

/// Tunnels drained at once, and the pause after so many: 10,000 take two seconds.
const AWAY_AT_ONCE: usize = 50;
const AWAY_PAUSE: Duration = Duration::from_millis(10);

/// How long the ends of tunnels and callers' connections may take once everything must end.
const LAST: Duration = Duration::from_millis(500);

/// A gateway that serves.
pub(crate) struct Running {
    shared: Arc<Shared>,
    ends: Vec<oneshot::Receiver<()>>,
}

impl Running {
    /// Without workers yet.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            ends: Vec::new(),
        }
    }

    /// Ends with a worker, which must not end before.
    pub(crate) fn ends_with(&mut self, worker: oneshot::Receiver<()>) {
        self.ends.push(worker);
    }

    /// Serves until `shutdown` says otherwise, then finishes what is under way.
    pub(crate) async fn until(
        mut self,
        mut shutdown: watch::Receiver<Shutdown>,
    ) -> Result<(), GatewayError> {
        tokio::select! {
            () = asked(&mut shutdown, Shutdown::Replaced) => {}
            () = first(&mut self.ends) => return Err(GatewayError::WorkerLost),
        }
        let replaced = *shutdown.borrow() == Shutdown::Replaced;
        if replaced {
            self.shared.stop.replace();
        }
        let stopped = async {
            // Where another process serves the listeners, callers find it without being led there.
            if !replaced {
                leave(&self.shared).await;
            }
            drain(&self.shared).await;
        };
        tokio::select! {
            () = stopped => {}
            () = asked(&mut shutdown, Shutdown::Now) => tracing::info!("stopping now"),
            () = first(&mut self.ends) => return Err(GatewayError::WorkerLost),
        }
        for tunnel in self.shared.tunnels.all() {
            tunnel.close(CloseCode::GOING_AWAY, "the gateway stops");
        }
        let ends = async {
            self.shared.connected.none().await;
            self.shared.no_callers().await;
        };
        let _ = timeout(LAST, ends).await;
        self.shared.stop.go(Step::Now);
        for end in &mut self.ends {
            let _ = end.await;
        }
        // A stop that is not graceful gets here without a drain, and who starts next wants the file.
        if let Some(auth) = &self.shared.auth {
            auth.retire();
        }
        tracing::info!("stopped");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.go(Step::Now);
    }
}

/// Says at its health that callers are to be led elsewhere, and gives whoever asks there the time to.
async fn leave(shared: &Shared) {
    let delay = shared.settings.load().config.stop_delay.0;
    if delay.is_zero() {
        return;
    }
    tracing::info!(
        delay_ms = delay.as_millis() as u64,
        "health says 503; serving on for gateway.stop_delay"
    );
    shared.stop.go(Step::Leaving);
    tokio::time::sleep(delay).await;
}

/// Finishes what is under way, up to the deadline.
///
/// All tunnels of a receiver but one that takes requests drain at once, so that it opens others
/// elsewhere. The last one drains after the callers' idle connections were given their time, since a
/// request that comes on one of them needs a tunnel that still takes it.
async fn drain(shared: &Shared) {
    let Shared {
        stop,
        beginning,
        connected,
        tunnels,
        auth,
        ..
    } = shared;
    let drain_timeout = shared.settings.load().config.drain_timeout.0;
    tracing::info!(
        deadline_ms = drain_timeout.as_millis() as u64,
        connections = shared.caller_count(),
        tunnels = connected.count(),
        "draining"
    );
    let deadline = Instant::now() + drain_timeout;
    tunnels.stop_admitting();
    if let Some(auth) = auth {
        auth.retire();
    }
    stop.go(Step::Draining);
    send_away(tunnels.all_but_one_each()).await;
    let idle = deadline.min(Instant::now() + IDLE_GRACE);
    let _ = timeout_at(idle, shared.no_callers()).await;
    let _ = timeout_at(deadline.min(idle + BEGIN_GRACE), beginning.none()).await;
    stop.go(Step::CloseIdle);
    send_away(tunnels.all()).await;
    let all = async {
        shared.no_callers().await;
        connected.none().await;
    };
    if timeout_at(deadline, all).await.is_err() {
        tracing::warn!(
            connections = shared.caller_count(),
            tunnels = connected.count(),
            "the drain deadline has passed; breaking off what is left"
        );
    }
}

/// Drains tunnels, not all in one moment: their receivers come to another gateway at once.
async fn send_away(tunnels: Vec<Tunnel>) {
    for few in tunnels.chunks(AWAY_AT_ONCE) {
        few.iter().for_each(Tunnel::drain);
        if few.len() == AWAY_AT_ONCE {
            tokio::time::sleep(AWAY_PAUSE).await;
        }
    }
}

/// Ready once `shutdown` says `what` or more.
async fn asked(shutdown: &mut watch::Receiver<Shutdown>, what: Shutdown) {
    let gone = shutdown.wait_for(|now| *now >= what).await.is_err();
    if gone && what == Shutdown::Now {
        // Nobody can say it any more.
        std::future::pending::<()>().await;
    }
}

/// Ready with the first end.
async fn first(ends: &mut [oneshot::Receiver<()>]) {
    std::future::poll_fn(|cx| {
        let ended = |end: &mut oneshot::Receiver<()>| std::pin::Pin::new(end).poll(cx).is_ready();
        if ends.iter_mut().any(ended) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use anp_tunnel::units::Span;

    use super::*;
    use crate::config::Config;

    /// When the connections without a request are closed, where one is accepted whose first request
    /// finds a tunnel after `first`.
    async fn closed_after(first: Option<Duration>) -> Duration {
        let shared = Shared::alone(Config::default());
        let start = Instant::now();
        let _caller = shared.callers.begin(9);
        let begins = async {
            let beginning = first.and_then(|_| shared.beginning.begin(9));
            tokio::time::sleep(first.unwrap_or_default()).await;
            drop(beginning);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = begins => unreachable!(),
            () = drain(&shared) => unreachable!(),
            () = shared.stop.reached(Step::CloseIdle) => start.elapsed(),
        }
    }

    /// How long a gateway with a `stop_delay` serves on when it is told to stop like this.
    async fn serves_on(delay: Duration, told: Shutdown) -> Duration {
        let shared = Shared::alone(Config {
            stop_delay: Span(delay),
            ..Config::default()
        });
        let (tell, asked) = watch::channel(Shutdown::No);
        let running = Running::new(shared.clone());
        let stops = async {
            tell.send_replace(told);
            let start = Instant::now();
            shared.stop.reached(Step::Draining).await;
            start.elapsed()
        };
        let (ended, served) = tokio::join!(running.until(asked), stops);
        ended.unwrap();
        served
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_stop_that_can_wait_is_delayed() {
        let delay = Duration::from_secs(3600);
        assert_eq!(serves_on(delay, Shutdown::Graceful).await, delay);
        for told in [Shutdown::Replaced, Shutdown::Now] {
            assert_eq!(serves_on(delay, told).await, Duration::ZERO, "{told:?}");
        }
        let none = serves_on(Duration::ZERO, Shutdown::Graceful).await;
        assert_eq!(none, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_first_requests_find_a_tunnel_but_does_not_wait_long() {
        let all = IDLE_GRACE + BEGIN_GRACE;
        let between = IDLE_GRACE + BEGIN_GRACE / 2;
        for (first, closed) in [
            (None, IDLE_GRACE),
            (Some(Duration::from_millis(1)), IDLE_GRACE),
            (Some(between), between),
            (Some(2 * all), all),
        ] {
            assert_eq!(closed_after(first).await, closed, "{first:?}");
        }
    }
}
