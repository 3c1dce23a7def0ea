//! Where the signatures of callers are verified: on the event loop that the gateway was started on,
//! with the handshakes of receivers. A worker waits for it as for any other peer, and goes on with
//! its other requests.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle, time::timeout};

use crate::{
    auth::{TurnedAway, VERIFY_TIMEOUT},
    proxy::{Downstream, Failure},
};

/// Signatures that are verified at once; one more is told to come again. What waits there is in the
/// way of receivers, too: a signature takes 0.4 ms at most.
const AT_ONCE: usize = 64;

/// The event loop, and the places at it.
#[derive(Debug)]
pub(crate) struct Desk {
    runtime: Handle,
    places: Arc<Semaphore>,
}

/// Something that is done there. It ends when nobody waits for it any more.
pub(super) struct Doing<T>(JoinHandle<T>);

impl Desk {
    /// On the event loop that this is called on.
    pub(crate) fn here() -> Self {
        Self {
            runtime: Handle::current(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Begins `work`, where there is a place.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, TurnedAway>> + Send + 'static,
    ) -> Option<Doing<Result<T, TurnedAway>>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        Some(Doing(self.runtime.spawn(async move {
            let done = timeout(VERIFY_TIMEOUT, work).await;
            drop(place);
            done.unwrap_or(Err(TurnedAway::Busy))
        })))
    }
}

/// What came of it.
///
/// # Errors
/// The caller left.
pub(super) async fn wait<T, D: Downstream>(
    doing: Option<Doing<Result<T, TurnedAway>>>,
    down: &mut D,
) -> Result<Result<T, TurnedAway>, Failure> {
    let Some(mut doing) = doing else {
        return Ok(Err(TurnedAway::Busy));
    };
    poll_fn(|cx| match Pin::new(&mut doing.0).poll(cx) {
        Poll::Ready(Ok(done)) => Poll::Ready(Ok(done)),
        // The gateway ends, or the work panicked.
        Poll::Ready(Err(_)) => Poll::Ready(Ok(Err(TurnedAway::Busy))),
        Poll::Pending => down.poll_gone(cx).map(|()| Err(Failure::Gone)),
    })
    .await
}

impl<T> Drop for Doing<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
