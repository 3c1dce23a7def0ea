//! The admin listener: health, metrics, and the API by which a running gateway is looked at and
//! changed. `docs/admin-api.yaml` describes it; a test compares the two.

mod documents;
mod endpoints;
mod guard;
mod overview;
mod query;
mod reply;
mod routes;
mod tunnels;

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode,
    header::{CONNECTION, IF_MATCH},
};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, time::Instant};

use crate::{
    alive::Alive,
    conn::{Metered, Moved},
    endpoints::Expected,
    listener::{self, Until},
    metrics::Metrics,
    reload::Reloader,
    stop::{Step, Stop},
    tls::TlsMetrics,
    worker::Shared,
};
use reply::{Problem, Reply};

/// Connections at once; more are closed.
const MAX_CONNECTIONS: usize = 256;

/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 << 10;

/// For the head of a request, its body, and a connection without one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the admin listener looks at and changes.
#[derive(Debug)]
pub(crate) struct Admin {
    shared: Arc<Shared>,
    metrics: Metrics,
    prometheus: Registry,
    reloader: Reloader,
    started: Instant,
}

/// A request for the API.
struct Asked {
    /// The part of the path that stands for a name.
    name: String,
    query: String,
    /// What must still be true of what is changed.
    expected: Expected,
    body: Bytes,
}

impl Admin {
    /// Of this gateway.
    pub(crate) fn new(shared: Arc<Shared>, metrics: Metrics, reloader: Reloader) -> Self {
        let mut prometheus = Registry::default();
        prometheus.register_collector(Box::new(metrics.clone()));
        if let Some(keeper) = &shared.tls {
            prometheus.register_collector(Box::new(TlsMetrics(keeper.clone())));
        }
        Self {
            shared,
            metrics,
            prometheus,
            reloader,
            started: Instant::now(),
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Reply {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let answered = self.checked(request).await;
        let mut reply = answered.unwrap_or_else(Problem::into_reply);
        if self.shared.stop.is(Step::Draining) {
            let close = HeaderValue::from_static("close");
            reply.headers_mut().insert(CONNECTION, close);
        }
        let status = reply.status().as_u16();
        if matches!(status, 401 | 403) {
            tracing::warn!(%peer, %method, path, status, "admin request refused");
        } else if !method.is_safe() {
            tracing::info!(%peer, %method, path, status, "admin request");
        }
        reply
    }

    async fn checked(&self, request: Request<Incoming>) -> Result<Reply, Problem> {
        let found = routes::find(request.method(), request.uri().path());
        // Whoever may not ask learns nothing but whether the gateway is well.
        if !matches!(&found, Ok((action, _)) if action.is_for_all()) {
            guard::check_caller(&request, &self.shared.settings.load())?;
        }
        let (action, name) = found?;
        let name = name.into_owned();
        guard::check_change(&request)?;
        let query = request.uri().query().unwrap_or_default().to_owned();
        let condition = request.headers().get_all(IF_MATCH).iter();
        let asked = Asked {
            name,
            query,
            expected: Expected::read(condition.map(HeaderValue::as_bytes)),
            body: body(request).await?,
        };
        if action.is_of_registry() {
            // What a gateway that was replaced wrote at last is to be seen, and not to be overwritten.
            self.shared.caught_up().await;
        }
        action.run(self, asked).await
    }
}

/// The body, as a whole.
async fn body(request: Request<Incoming>) -> Result<Bytes, Problem> {
    let whole = Limited::new(request.into_body(), MAX_BODY).collect();
    match tokio::time::timeout(PATIENCE, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body exceeds 64 KiB",
        )),
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        )),
    }
}

/// Serves an admin listener: that of the gateway until everything ends.
pub(crate) async fn serve(admin: Arc<Admin>, listener: TcpListener, until: Until) {
    let connections = Alive::default();
    let shared = admin.shared.clone();
    let take = |socket, peer| {
        let Some(life) = connections.begin(MAX_CONNECTIONS) else {
            tracing::warn!(%peer, "too many admin connections");
            return;
        };
        let (admin, shared) = (admin.clone(), shared.clone());
        let asked = Arc::new(AtomicBool::new(false));
        let was_asked = asked.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            asked.store(true, Relaxed);
            let admin = admin.clone();
            async move { Ok::<_, Infallible>(admin.answer(request, peer).await) }
        });
        tokio::spawn(async move {
            let io = Metered::new(socket, Arc::default());
            let moved = io.moved().clone();
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(io), service);
            let served = async {
                let mut connection = pin!(connection);
                tokio::select! {
                    result = connection.as_mut() => return result,
                    () = replaced(&shared.stop) => {}
                }
                // Nobody told those whose first request is still to come that they are too late: it
                // is answered, as the last.
                if was_asked.load(Relaxed) {
                    connection.as_mut().graceful_shutdown();
                }
                connection.await
            };
            tokio::select! {
                result = served => if let Err(error) = result {
                    tracing::debug!(%error, "admin connection ended");
                },
                () = stalled(&moved) => {
                    tracing::debug!(%peer, "admin connection closed: nothing moves");
                }
                () = shared.stop.reached(Step::Now) => {}
            }
            drop(life);
        });
    };
    listener::accept(listener, "admin", &shared.stop, until, take).await;
}

/// Ready once nothing has moved for long: a caller that does not read its answers must not keep a place
/// from others. No answer takes as long.
async fn stalled(moved: &Moved) {
    loop {
        moved.take();
        tokio::time::sleep(2 * PATIENCE).await;
        if !moved.take() {
            return;
        }
    }
}

/// Ready once another gateway took over the listeners: that one is to be asked from then on.
async fn replaced(stop: &Stop) {
    stop.reached(Step::Draining).await;
    if !stop.is_replaced() {
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
