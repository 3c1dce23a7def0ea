//! Counters, kept by each worker for itself and added up when they are asked for.

mod counters;
mod log;
mod page;

pub(crate) use counters::{CLASSES, Handshakes, Reloads, WorkerMetrics, class};
pub(crate) use log::LogMetrics;
pub(crate) use page::Metrics;
