//! The encoder of metrics: families of series, written in the order given, in whichever format is asked for.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;

use super::histogram::Distribution;

/// The labels of what has none.
pub(super) const NO_LABELS: [(&str, &str); 0] = [];

/// Writes one answer.
pub(super) struct Encoder<'a> {
    descriptors: DescriptorEncoder<'a>,
    native: bool,
}

impl<'a> Encoder<'a> {
    /// An encoder; with `native`, a native histogram follows each classic one.
    pub(super) const fn new(descriptors: DescriptorEncoder<'a>, native: bool) -> Self {
        Self {
            descriptors,
            native,
        }
    }

    /// A family of gauges.
    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut family = self
            .descriptors
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A family of counters; `name` is that of the contract, with `_total`.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let name = name.trim_end_matches("_total");
        let mut family =
            self.descriptors
                .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            family
                .encode_family(&labels)?
                .encode_counter::<[(&str, &str); 0], _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// A family of labels that say something, each 1; `name` is that of the contract, with `_info`.
    pub(super) fn infos<L: EncodeLabelSet, I: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, I)>,
    ) -> fmt::Result {
        let name = name.trim_end_matches("_info");
        let mut family = self
            .descriptors
            .encode_descriptor(name, help, None, MetricType::Info)?;
        for (labels, info) in series {
            family.encode_family(&labels)?.encode_info(&info)?;
        }
        Ok(())
    }

    /// A family of histograms.
    pub(super) fn histograms<'d, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, &'d Distribution)>,
    ) -> fmt::Result {
        let mut family =
            self.descriptors
                .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, distribution) in series {
            distribution.encode_classic(family.encode_family(&labels)?)?;
            if self.native {
                distribution.encode_native(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
