//! The receivers' counts in the form Prometheus reads.
//!
//! Labels come from the configuration, or are one of a few words: nothing that callers, gateways or
//! apps do makes a new series.

use std::{collections::BTreeMap, fmt, sync::Arc};

use anp_receiver::{GatewaySnapshot, Monitor, Snapshot};
use hyper::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{
    reply::{Reply, text, with_type},
    watched::Watched,
};
use crate::stderr;

/// The form Prometheus reads.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured.
pub(super) fn reply(registry: &Registry) -> Reply {
    let mut body = String::new();
    match encode(&mut body, registry) {
        Ok(()) => with_type(StatusCode::OK, OPENMETRICS, body),
        Err(_) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics failed\n".to_owned(),
        ),
    }
}

/// What these receivers count.
#[derive(Debug)]
pub(super) struct Metrics(pub(super) Arc<Watched>);

/// A family: its name, its help, its kind, and its series in each receiver, by their second label.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// What the label besides `receiver` is called; empty where there is none.
    label: &'static str,
    series: fn(&Snapshot) -> Vec<(String, u64)>,
}

const FAMILIES: [Family; 12] = [
    gauge(
        "anp_receiver_ready",
        "1 while requests can get through, as /readyz says",
        "",
        |seen| one(seen.is_ready()),
    ),
    gauge(
        "anp_receiver_app_up",
        "1 while health checks find any app up",
        "",
        |seen| seen.app_up.map_or_else(Vec::new, one),
    ),
    gauge(
        "anp_receiver_tunnels",
        "Tunnels that take requests",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.ready as u64),
    ),
    gauge(
        "anp_receiver_in_flight",
        "Requests under way",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.in_flight as u64),
    ),
    gauge(
        "anp_receiver_given_up",
        "1 where the gateway is not tried again",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.given_up.into()),
    ),
    counter(
        "anp_receiver_tunnels_opened",
        "Tunnels that became ready",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.opened),
    ),
    counter(
        "anp_receiver_tunnels_lost",
        "Tunnels that ended although they had been ready, those that the gateway drained left out",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.lost),
    ),
    counter(
        "anp_receiver_connect_failures",
        "Attempts to open a tunnel that came to nothing",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.failed),
    ),
    counter(
        "anp_receiver_received_bytes",
        "Bytes read from tunnels",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.received),
    ),
    counter(
        "anp_receiver_sent_bytes",
        "Bytes written to tunnels",
        GATEWAY,
        |seen| each(seen, |gateway| gateway.sent),
    ),
    counter(
        "anp_receiver_requests",
        "Requests that are over, by class of status",
        "class",
        |seen| words(&seen.requests),
    ),
    counter(
        "anp_receiver_app_failures",
        "Requests that the app gave no answer or no whole one, by what went wrong",
        "kind",
        |seen| words(&seen.failures),
    ),
];

const GATEWAY: &str = "gateway";

const fn gauge(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    series: fn(&Snapshot) -> Vec<(String, u64)>,
) -> Family {
    let kind = MetricType::Gauge;
    Family {
        name,
        help,
        kind,
        label,
        series,
    }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    series: fn(&Snapshot) -> Vec<(String, u64)>,
) -> Family {
    Family {
        kind: MetricType::Counter,
        ..gauge(name, help, label, series)
    }
}

fn one(value: bool) -> Vec<(String, u64)> {
    vec![(String::new(), value.into())]
}

fn each(seen: &Snapshot, value: fn(&GatewaySnapshot) -> u64) -> Vec<(String, u64)> {
    let gateways = seen.gateways.iter();
    gateways
        .map(|gateway| (gateway.url.clone(), value(gateway)))
        .collect()
}

fn words(counts: &[(&'static str, u64)]) -> Vec<(String, u64)> {
    let named = |(name, count): &(&str, u64)| ((*name).to_owned(), *count);
    counts.iter().map(named).collect()
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let receivers = self.0.receivers();
        let seen: Vec<_> = receivers.iter().map(Monitor::snapshot).collect();
        for family in &FAMILIES {
            // A gateway may be configured twice: one series, the sum.
            let mut sums: BTreeMap<(&str, String), u64> = BTreeMap::new();
            for receiver in &seen {
                let name = receiver.name.as_deref().unwrap_or_default();
                for (label, value) in (family.series)(receiver) {
                    *sums.entry((name, label)).or_default() += value;
                }
            }
            if sums.is_empty() {
                continue;
            }
            let Family {
                name, help, kind, ..
            } = *family;
            let mut family_encoder = encoder.encode_descriptor(name, help, None, kind)?;
            for ((receiver, label), value) in &sums {
                let labels = [("receiver", *receiver), (family.label, label)];
                let count = if family.label.is_empty() { 1 } else { 2 };
                let labels = labels.get(..count).unwrap_or_default();
                let series = family_encoder.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(*value).encode(series)?,
                    _ => {
                        let value = i64::try_from(*value).unwrap_or(i64::MAX);
                        ConstGauge::new(value).encode(series)?;
                    }
                }
            }
        }
        let mut reloads = encoder.encode_descriptor(
            "anp_receiver_reloads",
            "Reloads of the configuration, by what became of them",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in self.0.reloads() {
            let labels = [("outcome", outcome)];
            let series = reloads.encode_family(&labels)?;
            ConstCounter::new(count).encode(series)?;
        }
        let dropped = encoder.encode_descriptor(
            "anp_log_lines_dropped",
            "Lines of the log that were dropped because standard error took them too slowly",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(stderr::dropped()).encode(dropped)
    }
}
