//! The admin listener: health and metrics, for loopback only.

use std::{convert::Infallible, sync::Arc};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

use crate::{
    listener,
    stop::{Step, Stop},
    workers::Shared,
};

/// Serves `/healthz`, `/readyz` and `/metrics` until everything ends.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, metrics: Arc<Registry>) {
    let take = |socket, _| {
        let (shared, stopping, metrics) = (shared.clone(), shared.clone(), metrics.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(
                &shared.stop,
                &metrics,
                request.method(),
                request.uri().path(),
            );
            std::future::ready(Ok::<_, Infallible>(response))
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                result = connection => if let Err(error) = result {
                    tracing::debug!(%error, "admin connection ended");
                },
                () = stopping.stop.reached(Step::Now) => {}
            }
        });
    };
    listener::accept(listener, "admin", &shared.stop, Step::Now, take).await;
}

fn answer(stop: &Stop, metrics: &Registry, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered here\n",
        );
    }
    match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        // Ready without a tunnel, too: receivers only come to what is ready.
        "/readyz" if stop.is(Step::Draining) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        "/readyz" => text(StatusCode::OK, "ready\n"),
        "/metrics" => {
            let mut body = String::new();
            if encode(&mut body, metrics).is_err() {
                return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics failed\n");
            }
            let mut response = text(StatusCode::OK, body);
            let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            response
                .headers_mut()
                .insert(CONTENT_TYPE, http::HeaderValue::from_static(openmetrics));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
