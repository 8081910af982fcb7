//! The text in which metrics are exposed, read sample by sample, whatever stands in it.
