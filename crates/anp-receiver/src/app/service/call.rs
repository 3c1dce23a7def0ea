//! Calls user code that may fail or panic.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use http::{Request, Response};
use tower_service::Service;

use super::body::Body;
use crate::app::error::{BoxError, Fault};

/// Waits until `service` is ready and calls it.
pub(super) async fn call<S, B>(mut service: S, request: Request<Body>) -> Result<Response<B>, Fault>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    let calling = async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    };
    let mut calling = pin!(calling);
    let answered = poll_fn(|cx| match guarded(|| calling.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(fault) => Poll::Ready(Err(fault)),
    });
    answered.await?.map_err(|error| Fault::Error(error.into()))
}

/// Runs `code`; a panic in it is its caller's to deal with, and not the end of anything else.
pub(super) fn guarded<T>(code: impl FnOnce() -> T) -> Result<T, Fault> {
    // What the code left half done is dropped, not used again.
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| Fault::Panic(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}
