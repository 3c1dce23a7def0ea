//! The status listener: health and metrics of the receivers of this process, over plain HTTP.
//!
//! It answers whoever reaches it, changes nothing, and shows no secrets. One request a connection,
//! which ends with the answer: probes and scrapes come seconds apart, and nobody keeps a place.

mod metrics;
mod ready;
mod reply;
mod watched;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Method, Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

pub(crate) use self::watched::Watched;
use self::{
    metrics::Metrics,
    reply::{Reply, text},
};

/// Connections at once; more are closed.
const MAX_CONNECTIONS: usize = 256;

/// For a connection, from its begin to its end. Less than a probe is repeated in, so that whoever says
/// nothing keeps no probe away for long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest head of a request, in bytes; 8 KiB is hyper's least.
const MAX_HEAD: usize = 16 << 10;

/// How long the listener rests after an error that only time mends, such as too many open files.
const REST: Duration = Duration::from_millis(100);

/// What is served of the receivers of this process.
#[derive(Debug)]
pub(crate) struct Status {
    watched: Arc<Watched>,
    prometheus: Registry,
}

impl Status {
    /// Of what is watched.
    pub(crate) fn new(watched: Arc<Watched>) -> Self {
        let mut prometheus = Registry::default();
        prometheus.register_collector(Box::new(Metrics(Arc::clone(&watched))));
        Self {
            watched,
            prometheus,
        }
    }

    /// The answer to a request, a body of which nobody reads.
    fn answer<B>(&self, request: &Request<B>) -> Reply {
        let reply: fn(&Self) -> Reply = match request.uri().path() {
            "/healthz" => |_| text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => |status| ready::reply(&status.watched.receivers()),
            "/metrics" => |status| metrics::reply(&status.prometheus),
            _ => {
                return text(
                    StatusCode::NOT_FOUND,
                    "try /healthz, /readyz or /metrics\n".to_owned(),
                );
            }
        };
        match *request.method() {
            Method::GET | Method::HEAD => reply(self),
            _ => reply::not_allowed(),
        }
    }
}

/// Serves `status` for as long as it is polled.
pub(crate) async fn serve(status: Status, listener: TcpListener) {
    let status = Arc::new(status);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(listener = "status", %error, "a connection cannot be taken");
                sleep(REST).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            // Whoever comes could fill the log.
            tracing::debug!(%peer, "too many status connections");
            continue;
        };
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            converse(status, socket, peer).await;
            drop(place);
        });
    }
}

/// Answers the one request of a connection, if it comes in time.
async fn converse(status: Arc<Status>, socket: TcpStream, peer: SocketAddr) {
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = status.answer(&request);
        async move { Ok::<_, Infallible>(reply) }
    });
    let serving = http1::Builder::new()
        .keep_alive(false)
        // Some probes shut their half down behind the request.
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(socket), service);
    match timeout(PATIENCE, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "status connection ended"),
        Err(_) => tracing::debug!(%peer, "status connection closed: it took too long"),
    }
}

#[cfg(test)]
mod tests;
