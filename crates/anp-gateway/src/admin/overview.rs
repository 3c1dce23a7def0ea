//! The gateway as a whole: health, metrics, sums, its configuration.

use http::StatusCode;
use prometheus_client::encoding::text::encode;
use serde_json::{Map, Value, json};

use super::{
    Admin,
    reply::{Problem, Reply, json as answer, text, with_type},
};
use crate::{
    metrics::CLASSES,
    reload::{ReloadError, Reloaded},
    route::Source,
    stop::Step,
};

/// The form Prometheus reads.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Admin {
    /// The process runs.
    pub(super) fn alive(&self) -> Reply {
        text(StatusCode::OK, "ok\n")
    }

    /// Requests may be sent here. Ready without a tunnel, too: receivers only come to what is ready.
    pub(super) fn ready(&self) -> Reply {
        match self.is_stopping() {
            true => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            false => text(StatusCode::OK, "ready\n"),
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.stop.is(Step::Leaving)
    }

    pub(super) fn metrics(&self) -> Result<Reply, Problem> {
        let mut body = String::new();
        match encode(&mut body, &self.prometheus) {
            Ok(()) => Ok(with_type(StatusCode::OK, OPENMETRICS, body)),
            Err(_) => Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics failed",
            )),
        }
    }

    pub(super) fn stats(&self) -> Reply {
        let totals = self.metrics.totals();
        let (tunnels, streams) = self.shared.tunnels.totals();
        let table = self.shared.routes.now();
        let of = |source| table.iter().filter(|s| s.source == source).count();
        let stats = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": if self.is_stopping() { "stopping" } else { "serving" },
            "uptime_seconds": self.started.elapsed().as_secs(),
            "workers": self.shared.dealt.len(),
            "connections": totals.connections,
            "connections_refused": totals.connections_refused,
            "bytes": { "received": totals.received, "sent": totals.sent },
            "requests": {
                "in_flight": totals.in_flight,
                "queued": totals.queued,
                "retries": totals.retries,
                "over": by_class(|class| totals.requests[class]),
            },
            "tunnels": tunnels,
            "streams": streams,
            "endpoints": {
                "config": of(Source::Config),
                "registry": of(Source::Registry),
                "did": of(Source::Did),
                "left_out": table.left_out_after("").count(),
            },
        });
        answer(StatusCode::OK, &stats)
    }

    /// What is in effect. Secrets mask themselves.
    pub(super) fn config(&self) -> Reply {
        let settings = self.shared.settings.load();
        answer(StatusCode::OK, &json!({ "gateway": settings.config }))
    }

    pub(super) async fn reload(&self) -> Result<Reply, Problem> {
        let reloader = self.reloader.clone();
        // It reads files.
        let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
        match reloaded {
            Ok(Ok(Reloaded { changed, kept })) => {
                let done = json!({ "changed": changed, "needs_restart": kept });
                Ok(answer(StatusCode::OK, &done))
            }
            Ok(Err(error @ ReloadError::Unavailable)) => {
                Err(Problem::new(StatusCode::CONFLICT, error.to_string()))
            }
            Ok(Err(error)) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("nothing was changed: {error}"),
            )),
            Err(_) => Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the reload failed",
            )),
        }
    }
}

/// Counts of requests that are over, by what became of them.
pub(super) fn by_class(count: impl Fn(usize) -> u64) -> Value {
    let counts = CLASSES.iter().enumerate();
    let counts = counts.map(|(class, name)| ((*name).to_owned(), count(class).into()));
    Value::Object(counts.collect::<Map<_, _>>())
}
