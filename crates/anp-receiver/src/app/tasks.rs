//! Apps called over HTTP: each request by a task that does nothing else meanwhile.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
};

use anp_tunnel::Incoming;
use tokio::sync::Notify;

use super::{
    conclude::conclude,
    error::AppError,
    h2,
    http1::{Ended, exchange, splice},
    pool::Apps,
};
use crate::monitor::WorkerCounts;

/// Most tasks that wait for a request; what each runs is 2 KiB large.
pub(crate) const MAX_WAITING: usize = 256;

/// The tasks of one worker that answer requests over HTTP, one request at a time each. One that is
/// done waits for another: to make a task costs a twentieth of what a small request does.
pub(crate) struct Tasks {
    apps: Apps,
    /// Told of apps that cannot be reached.
    suspicion: Rc<Notify>,
    counts: Arc<WorkerCounts>,
    waiting: RefCell<Vec<Rc<Place>>>,
    /// No request comes any more.
    retired: Cell<bool>,
}

/// Where a task waits for its next request.
#[derive(Default)]
struct Place {
    request: Cell<Option<Incoming>>,
    /// None comes any more.
    over: Cell<bool>,
    task: Cell<Option<Waker>>,
}

impl Tasks {
    /// Tasks that call `apps`, tell `suspicion` of those that cannot be reached, and count in `counts`
    /// what became of requests.
    pub(crate) fn new(apps: Apps, suspicion: Rc<Notify>, counts: Arc<WorkerCounts>) -> Self {
        Self {
            apps,
            suspicion,
            counts,
            waiting: RefCell::default(),
            retired: Cell::new(false),
        }
    }

    /// The apps they call.
    pub(crate) fn apps(&self) -> &Apps {
        &self.apps
    }

    /// How many wait for a request.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Has a request answered.
    pub(crate) fn answer(self: &Rc<Self>, incoming: Incoming) {
        let waiting = self.waiting.borrow_mut().pop();
        match waiting {
            Some(place) => place.put(incoming),
            None => {
                let run = Rc::clone(self).run(incoming);
                // A task moves what it runs several times: this is large, a box is not.
                tokio::task::spawn_local(Box::pin(run));
            }
        }
    }

    /// Lets go of what waits for requests, since none comes any more: tasks, and connections to apps.
    /// Those under way go on to their end.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        for place in self.waiting.take() {
            place.end();
        }
        self.apps.let_go();
    }

    async fn run(self: Rc<Self>, mut incoming: Incoming) {
        let place = Rc::new(Place::default());
        loop {
            let result = call(&self.apps, &mut incoming).await;
            if result.as_ref().is_err_and(AppError::is_unreachable) {
                self.suspicion.notify_one();
            }
            let Incoming { head, response, .. } = &mut incoming;
            conclude(result, head, response, &self.counts);
            drop(incoming);
            if self.retired.get() {
                return self.apps.let_go();
            }
            if self.waiting.borrow().len() >= MAX_WAITING {
                return;
            }
            self.waiting.borrow_mut().push(Rc::clone(&place));
            let Some(next) = place.next().await else {
                return;
            };
            incoming = next;
        }
    }
}

impl Place {
    fn put(&self, incoming: Incoming) {
        self.request.set(Some(incoming));
        self.wake();
    }

    fn end(&self) {
        self.over.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// The next request; `None` where none comes any more.
    async fn next(&self) -> Option<Incoming> {
        poll_fn(|cx| match self.request.take() {
            Some(incoming) => Poll::Ready(Some(incoming)),
            None if self.over.get() => Poll::Ready(None),
            None => {
                self.task.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// Calls the first app that can be reached. Nothing of a request goes to a second app once any
/// of it may have reached one. An upgrade has a connection of its own from start to end.
async fn call(apps: &Apps, incoming: &mut Incoming) -> Result<(), AppError> {
    let codings = apps.codings();
    let mut unreachable = None;
    for app in apps.in_order() {
        let _in_flight = app.enter();
        if app.url().is_http2() {
            let config = apps.config();
            // Boxed, as all that few requests need: it would make room in every request's task.
            let exchange = h2::exchange(app.http2(), app.url(), config, incoming, codings);
            match Box::pin(exchange).await {
                Err(error) if error.is_unreachable() => {
                    unreachable = Some(error);
                    continue;
                }
                result => return result,
            }
        }
        let kept = match incoming.head.protocol {
            None => apps.kept(app),
            Some(_) => None,
        };
        let mut reached = false;
        if let Some(mut conn) = kept {
            match exchange(&mut *conn, incoming, app.prefix(), codings, true).await {
                Ok(Ended::Reusable) => {
                    apps.keep(app, conn);
                    return Ok(());
                }
                Ok(Ended::Spent | Ended::Switched) => return Ok(()),
                // The app closed the kept connection as the request came: once more, on a fresh one.
                Err(AppError::Stale { reached: some }) => reached = some,
                Err(error) => return Err(error),
            }
        }
        let fresh = Box::pin(or_gone(incoming, apps.fresh(app)));
        let mut conn = match fresh.await {
            Ok(conn) => conn,
            Err(gone @ AppError::Gone(_)) => return Err(gone),
            Err(error) if reached => return Err(error.once_reached()),
            Err(error) => {
                unreachable = Some(error);
                continue;
            }
        };
        return match exchange(&mut *conn, incoming, app.prefix(), codings, false).await? {
            Ended::Reusable => {
                apps.keep(app, conn);
                Ok(())
            }
            Ended::Spent => Ok(()),
            Ended::Switched => Box::pin(splice(*conn, incoming)).await,
        };
    }
    Err(unreachable.unwrap_or(AppError::NoApp))
}

/// Runs `work` unless the stream ends first.
async fn or_gone<T>(
    incoming: &mut Incoming,
    work: impl Future<Output = Result<T, AppError>>,
) -> Result<T, AppError> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(error) = incoming.response.poll_error(cx) {
            return Poll::Ready(Err(error.into()));
        }
        work.as_mut().poll(cx)
    })
    .await
}
