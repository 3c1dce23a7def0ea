//! What the program counts of its log, in the form Prometheus reads.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

/// Says how many lines of the log were dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogMetrics(pub(crate) fn() -> u64);

impl Collector for LogMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = encoder.encode_descriptor(
            "anp_log_lines_dropped",
            "Lines of the log that were dropped because standard error took them too slowly",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new((self.0)()).encode(dropped)
    }
}
