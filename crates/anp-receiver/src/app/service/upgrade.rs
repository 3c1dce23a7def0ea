//! Upgrades: through hyper's own server on a pipe within the process.
//!
//! Only hyper can make the `hyper::upgrade::OnUpgrade` that axum and others look for, and only for a
//! connection that it serves. So it gets one, and the receiver calls it as any app over HTTP/1.1.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
};

use anp_http1::Connection;
use anp_tunnel::Incoming;
use bytes::BytesMut;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::{body::Body, call::call, caller::Caller, exchange::tell};
use crate::{
    app::{
        error::{AppError, BoxError},
        http1::{Ended, exchange as send, splice},
        pipe::Pipe,
        socket::Socket,
        sparing::Sparing,
    },
    coding::Codings,
};

/// Calls `service` with a request that may become raw bytes both ways.
///
/// # Errors
/// The stream has to be reset, or is over.
pub(super) async fn exchange<S, B>(
    service: S,
    incoming: &mut Incoming,
    codings: &Codings,
    faults: &Arc<Sparing>,
) -> Result<(), AppError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    let (ours, theirs) = Pipe::pair();
    let head = incoming.head.clone();
    let faults = Arc::clone(faults);
    let answering = service_fn(move |request: Request<hyper::body::Incoming>| {
        let service = service.clone();
        let (head, faults) = (head.clone(), Arc::clone(&faults));
        async move {
            let mut request = request.map(|_| Body::empty());
            request.extensions_mut().insert(Caller::of(&head));
            Ok::<_, Infallible>(match call(service, request).await {
                Ok(response) => response.map(Either::Left),
                Err(fault) => {
                    tell(&head, &fault, &faults);
                    let mut response = Response::new(Either::Right(Empty::new()));
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                    response
                }
            })
        }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), answering)
            .with_upgrades()
    );
    let mut exchanging = pin!(async {
        let mut conn = Connection::new(Socket::Pipe(ours), BytesMut::new());
        match send(&mut conn, incoming, b"", codings, false).await? {
            Ended::Switched => splice(conn, incoming).await,
            Ended::Reusable | Ended::Spent => Ok(()),
        }
    });
    let mut served = false;
    poll_fn(|cx| {
        // How it ended, the other end of the pipe shows.
        served = served || serving.as_mut().poll(cx).is_ready();
        exchanging.as_mut().poll(cx)
    })
    .await
}
