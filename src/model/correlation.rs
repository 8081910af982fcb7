//! Correlation coefficients of a latency, and how far they can be trusted.

use serde::{Deserialize, Serialize};

use super::signal::Signal;

/// How one signal moves with the latency (or lateness) of one step, over the rolling window.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Coefficient {
    /// The signal.
    pub signal: Signal,
    /// Spearman's rank correlation, in [-1, 1].
    pub spearman: f64,
    /// Pearson's correlation with the logarithm of the latency, in [-1, 1], where there is one.
    pub pearson: Option<f64>,
    /// The effective number of samples: fewer than were taken where neighbours resemble each other.
    pub samples: f64,
    /// The interval that holds Spearman's with 95 % confidence.
    pub interval: [f64; 2],
    /// Whether it is more than chance explains, with all signals considered.
    pub strong: bool,
}
