//! A distribution of times: classic buckets with exemplars, and native ones beside them.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig};

use super::label::OfRun;

/// Seconds: the edges that controller-runtime has (from 5 ms to 60 s), so that a latency can be laid beside the
/// operator's own histogram, and some below and above.
const EDGES: [f64; 50] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6,
    0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0,
    10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 900.0,
    1800.0, 3600.0,
];

/// Seconds: the edges of what is mostly a fraction of a millisecond.
pub(super) const WATCH_EDGES: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// As many buckets as a native histogram may have before it gives up resolution.
const NATIVE_BUCKETS: usize = 160;

/// A distribution of times, in seconds.
#[derive(Debug)]
pub(super) struct Distribution {
    edges: Vec<f64>,
    classic: HistogramWithExemplars<OfRun>,
    native: Histogram,
}

impl Distribution {
    /// A distribution with these finite edges.
    pub(super) fn new(edges: Vec<f64>) -> Self {
        let native = NativeHistogramConfig::default().max_buckets(NATIVE_BUCKETS);
        Self {
            classic: HistogramWithExemplars::new(edges.iter().copied()),
            native: Histogram::new_classic_and_native(edges.iter().copied(), native),
            edges,
        }
    }

    /// Keeps what was observed, unless the edges are others now.
    pub(super) fn set_edges(&mut self, edges: Vec<f64>) {
        if edges != self.edges {
            *self = Self::new(edges);
        }
    }

    /// Takes in a time that `run`, which ended `at`, took.
    pub(super) fn observe(&self, seconds: f64, run: &str, at: Timestamp) {
        let exemplar = OfRun {
            run: run.to_owned(),
        };
        // A clock before 1970 can't be told.
        let at = (at >= Timestamp::UNIX_EPOCH).then(|| SystemTime::from(at));
        self.classic.observe(seconds, Some(exemplar), at);
        self.native.observe(seconds);
    }

    /// Encodes the classic buckets with their exemplars.
    pub(super) fn encode_classic(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.classic.encode(encoder)
    }

    /// Encodes the native buckets, and the classic ones without exemplars.
    pub(super) fn encode_native(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.native.encode(encoder)
    }
}

/// The finite edges of what is judged by `threshold` and given up no earlier than `beyond`, in seconds: one lies
/// exactly on the threshold, and all lie below `beyond`, so that what was given up is in none of the finite buckets.
pub(super) fn edges(threshold: f64, beyond: f64) -> Vec<f64> {
    let mut edges: Vec<_> = EDGES.into_iter().chain([threshold]).collect();
    edges.retain(|edge| *edge < beyond);
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges
}
