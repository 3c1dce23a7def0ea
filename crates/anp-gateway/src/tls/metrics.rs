//! Handshakes and certificates, in the form Prometheus reads.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::UNIX_EPOCH,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::Keeper;

/// What TLS has to tell.
#[derive(Debug)]
pub(crate) struct TlsMetrics(pub(crate) Arc<Keeper>);

impl Collector for TlsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut handshakes = encoder.encode_descriptor(
            "anp_gateway_tls_handshakes",
            "TLS handshakes that are over, by listener and outcome",
            None,
            MetricType::Counter,
        )?;
        for tls in self.0.listeners() {
            let outcomes = &tls.outcomes;
            for (outcome, count) in [
                ("complete", &outcomes.complete),
                ("failed", &outcomes.failed),
                ("late", &outcomes.late),
                ("plain", &outcomes.plain),
            ] {
                let labels = [("listener", tls.listener.name()), ("outcome", outcome)];
                let value = ConstCounter::new(count.load(Relaxed));
                value.encode(handshakes.encode_family(&labels)?)?;
            }
        }
        let failures = encoder.encode_descriptor(
            "anp_gateway_certificate_failures",
            "Reloads of certificates that found one that cannot be used",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.0.failures()).encode(failures)?;
        let mut ends = encoder.encode_descriptor(
            "anp_gateway_certificate_not_after_seconds",
            "When a certificate in use ends, in seconds since 1970",
            None,
            MetricType::Gauge,
        )?;
        for (file, facts) in self.0.certificates() {
            let end = facts
                .not_after
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let end = i64::try_from(end.as_secs()).unwrap_or(i64::MAX);
            let labels = [("name", facts.name()), ("file", file.as_str())];
            ConstGauge::new(end).encode(ends.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
