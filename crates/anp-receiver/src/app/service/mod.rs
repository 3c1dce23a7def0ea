//! An app in this process: any `tower::Service` of HTTP requests.

mod body;
mod call;
mod caller;
mod exchange;
mod heads;
mod upgrade;

use std::{marker::PhantomData, rc::Rc, sync::Arc};

use anp_tunnel::Incoming;
use http::{Request, Response};
use tokio::task::spawn_local;
use tower_service::Service;

pub use body::{Body, BodyError};
pub use caller::Caller;

use crate::{
    app::{conclude::conclude, error::BoxError},
    coding::Codings,
    monitor::WorkerCounts,
};

/// A service on one worker: takes requests and answers each, whatever happens.
pub(crate) trait Serve {
    /// Answers `incoming` in a task of its own. Must run where `spawn_local` works.
    fn serve(&self, incoming: Incoming);
}

/// Makes each worker the service it calls, which counts what became of requests.
pub(crate) type Make = Arc<dyn Fn(Codings, Arc<WorkerCounts>) -> Rc<dyn Serve> + Send + Sync>;

/// The way to make services that `make` makes.
pub(crate) fn maker<S, B>(make: impl Fn() -> S + Send + Sync + 'static) -> Make
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    Arc::new(move |codings, counts| {
        Rc::new(Local {
            service: make(),
            codings: Rc::new(codings),
            counts,
            body: PhantomData,
        })
    })
}

/// One worker's service.
struct Local<S, B> {
    service: S,
    codings: Rc<Codings>,
    counts: Arc<WorkerCounts>,
    body: PhantomData<fn() -> B>,
}

impl<S, B> Serve for Local<S, B>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    fn serve(&self, mut incoming: Incoming) {
        let service = self.service.clone();
        let codings = Rc::clone(&self.codings);
        let counts = Arc::clone(&self.counts);
        spawn_local(async move {
            let faults = &counts.faults;
            if incoming.head.protocol.is_some() {
                let result = upgrade::exchange(service, &mut incoming, &codings, faults).await;
                let Incoming { head, response, .. } = &mut incoming;
                return conclude(result, head, response, &counts);
            }
            let Incoming {
                head,
                body,
                mut response,
            } = incoming;
            let result =
                exchange::exchange(service, &head, body, &mut response, &codings, faults).await;
            conclude(result, &head, &mut response, &counts);
        });
    }
}
