//! Counters added up, for those who look at the gateway as a whole.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::counters::{BOUNDS, CLASSES, WorkerMetrics};
use crate::worker::Shared;

/// Sums over workers and endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    /// Callers' connections now.
    pub(crate) connections: u64,
    /// Connections, also of receivers, refused because there were too many.
    pub(crate) connections_refused: u64,
    /// Bytes read from callers, framing included.
    pub(crate) received: u64,
    /// Bytes written to callers, framing included.
    pub(crate) sent: u64,
    /// Requests under way.
    pub(crate) in_flight: u64,
    /// Requests that were sent to a further tunnel.
    pub(crate) retries: u64,
    /// Requests that had to wait for a place.
    pub(crate) queued: u64,
    /// Requests that are over, by [`CLASSES`], those of endpoints that are gone left out.
    pub(crate) requests: [u64; CLASSES.len()],
}

/// Everything that is measured, in the form Prometheus reads.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    shared: Arc<Shared>,
}

impl Metrics {
    /// Sums up these workers.
    pub(crate) fn new(workers: Vec<Arc<WorkerMetrics>>, shared: Arc<Shared>) -> Self {
        Self { workers, shared }
    }

    /// Sums for those who look at the gateway as a whole.
    pub(crate) fn totals(&self) -> Totals {
        let mut requests = [0; CLASSES.len()];
        for served in self.shared.routes.now().iter() {
            for (class, sum) in requests.iter_mut().enumerate() {
                *sum += served.pool.counted(class);
            }
        }
        for (class, sum) in requests.iter_mut().enumerate() {
            *sum += self.sum(|w| &w.nowhere[class]);
        }
        Totals {
            connections: self.shared.callers.count() as u64,
            connections_refused: self.connections_refused(),
            received: self.sum(|w| &w.received),
            sent: self.sum(|w| &w.sent),
            in_flight: self.sum(|w| &w.in_flight),
            retries: self.sum(|w| &w.retries),
            queued: self.sum(|w| &w.queued),
            requests,
        }
    }

    fn connections_refused(&self) -> u64 {
        let shared = &self.shared;
        let redirects = &shared.redirects.connections;
        shared.callers.refused() + shared.handshakes.refused() + redirects.refused()
    }

    fn sum(&self, counter: impl Fn(&WorkerMetrics) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|w| counter(w).load(Relaxed)).sum()
    }
}

/// The sum over workers of one of their counters: its name, its help, and where it is.
type Sum = (&'static str, &'static str, fn(&WorkerMetrics) -> &AtomicU64);

const COUNTERS: [Sum; 6] = [
    (
        "anp_gateway_received_bytes",
        "Bytes read from callers",
        |w| &w.received,
    ),
    ("anp_gateway_sent_bytes", "Bytes written to callers", |w| {
        &w.sent
    }),
    (
        "anp_gateway_retries",
        "Requests sent to a further tunnel",
        |w| &w.retries,
    ),
    (
        "anp_gateway_queued",
        "Requests that waited for a place on a tunnel",
        |w| &w.queued,
    ),
    (
        "anp_gateway_overloaded",
        "Requests refused at once because a place on a tunnel would have come too late",
        |w| &w.overloaded,
    ),
    (
        "anp_gateway_rate_limited",
        "Requests refused because a limit on their rate was used up",
        |w| &w.rate_limited,
    ),
];

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let summed = COUNTERS.map(|(name, help, counter)| (name, help, self.sum(counter)));
        let refused = (
            "anp_gateway_connections_refused",
            "Connections, also of receivers, refused because there were too many",
            self.connections_refused(),
        );
        let redirects = (
            "anp_gateway_redirects",
            "Requests sent on to https",
            self.shared.redirects.sent_on.load(Relaxed),
        );
        for (name, help, value) in summed.into_iter().chain([refused, redirects]) {
            let value = ConstCounter::new(value);
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let shared = &self.shared;
        let (tunnels, streams) = shared.tunnels.totals();
        let gauges = [
            (
                "anp_gateway_connections",
                "Connections of callers",
                shared.callers.count() as u64,
            ),
            (
                "anp_gateway_in_flight",
                "Requests under way",
                self.sum(|w| &w.in_flight),
            ),
            ("anp_gateway_tunnels", "Tunnels that are connected", tunnels),
            ("anp_gateway_streams", "Streams open on tunnels", streams),
        ];
        for (name, help, value) in gauges {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let reloads = &shared.reloads;
        let outcomes = [("taken", &reloads.taken), ("refused", &reloads.refused)];
        let mut family = encoder.encode_descriptor(
            "anp_gateway_reloads",
            "Reloads of the configuration, by what became of them",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in outcomes {
            let count = ConstCounter::new(count.load(Relaxed));
            count.encode(family.encode_family(&[("outcome", outcome)])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "anp_gateway_tunnel_handshakes",
            "Handshakes of receivers, by status: 101, or that of the refusal",
            None,
            MetricType::Counter,
        )?;
        for (status, count) in shared.handshake_outcomes.counted() {
            let status = status.to_string();
            ConstCounter::new(count).encode(family.encode_family(&[("status", &*status)])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "anp_gateway_requests",
            "Requests that are over, by endpoint and class of status",
            None,
            MetricType::Counter,
        )?;
        let mut requests = |endpoint: &str, counted: &dyn Fn(usize) -> u64| {
            for (class, name) in CLASSES.iter().enumerate() {
                let value = counted(class);
                if value > 0 {
                    let labels = [("endpoint", endpoint), ("class", *name)];
                    ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
            fmt::Result::Ok(())
        };
        for served in self.shared.routes.now().iter() {
            requests(&served.name, &|class| served.pool.counted(class))?;
        }
        requests("none", &|class| self.sum(|w| &w.nowhere[class]))?;
        let counts =
            std::array::from_fn::<_, { BOUNDS.len() + 1 }, _>(|i| self.sum(|w| &w.heads[i]));
        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        // Exact below 2^53 microseconds, which is 285 years.
        #[allow(clippy::cast_precision_loss)]
        let sum = self.sum(|w| &w.heads_micros) as f64 / 1e6;
        encoder
            .encode_descriptor(
                "anp_gateway_response_head_seconds",
                "Time from a request's head to its response's head",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }
}
