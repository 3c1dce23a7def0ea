//! What a request asks for, by its host and path.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::time::timeout;

use super::{downstream::Downstream, failure::Failure};
use crate::{documents::Published, error::ProxyError, route::Served, worker::Worker};

/// What a request asks for.
pub(super) enum Found {
    /// A DID document that is hosted here.
    Document(Arc<Published>),
    /// An endpoint.
    Endpoint(Arc<Served>),
}

/// What is there under this host and path.
///
/// # Errors
/// Nothing is, or not for this caller.
pub(super) fn find(worker: &Worker, authority: &str, target: &str) -> Result<Found, ProxyError> {
    let shared = &worker.shared;
    match shared.documents.at(authority, target) {
        Some(found) => found.map(Found::Document).ok_or(ProxyError::NoEndpoint),
        None => {
            let found = shared.routes.now().find(authority, target).cloned();
            found.map(Found::Endpoint)
        }
    }
}

/// What a request asks for where it is not there yet: a gateway that was replaced may have written it
/// to the registry at last, an endpoint that a DID has by its name comes with its receiver, and after a
/// gateway was replaced, receivers are on their way.
///
/// # Errors
/// It did not come, or the caller left.
pub(super) async fn expected<D: Downstream>(
    worker: &Worker,
    authority: &str,
    target: &str,
    down: &mut D,
) -> Result<Found, Failure> {
    let shared = &worker.shared;
    let begin = || {
        let most = shared.settings.load().config.queue_size;
        shared.places.expected.begin(most).ok_or(ProxyError::Full)
    };
    let mut waits = None;
    if shared.endpoints.are_behind() {
        waits = Some(begin()?);
        unless_gone(down, shared.caught_up()).await?;
    }
    // Whether it waited or not: that may have come between the caller's look and this.
    match find(worker, authority, target) {
        // No receiver brings a document.
        Err(ProxyError::NoEndpoint) if shared.documents.at(authority, target).is_none() => {}
        found => return Ok(found?),
    }
    let mut opened = shared.places.opened();
    while shared.places.are_given()
        && let Some(left) = shared.tunnels.expects_for()
    {
        if waits.is_none() {
            waits = Some(begin()?);
        }
        let changed = unless_gone(down, timeout(left, opened.changed())).await?;
        if !matches!(changed, Ok(Ok(()))) {
            break;
        }
        match find(worker, authority, target) {
            Err(ProxyError::NoEndpoint) => {}
            found => return Ok(found?),
        }
    }
    Err(ProxyError::NoEndpoint.into())
}

/// What `awaited` gives, unless the caller leaves before.
///
/// # Errors
/// It left.
pub(super) async fn unless_gone<D: Downstream, T>(
    down: &mut D,
    awaited: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut awaited = pin!(awaited);
    poll_fn(|cx| match awaited.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => down.poll_gone(cx).map(|()| Err(Failure::Gone)),
    })
    .await
}
