//! The messages of remote write 1.0, and how metrics become series of samples.

use std::collections::BTreeMap;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    Metric, MetricFamily,
};
use prost::Message;

/// The value by which a series ends: Prometheus' own NaN, told from others by its bits.
pub(super) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// What is sent.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A value, and when that was.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    /// Unix time in milliseconds.
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

/// The labels of a series, its name among them. Sorted, as the protocol asks.
pub(super) type Labels = BTreeMap<String, String>;

/// Samples, by series.
pub(super) type Series = BTreeMap<Labels, Vec<Sample>>;

/// Encodes series as the body of a request.
pub(super) fn body<'a>(series: impl IntoIterator<Item = (&'a Labels, &'a Vec<Sample>)>) -> Vec<u8> {
    let series = series.into_iter().map(|(labels, samples)| {
        let mut samples = samples.clone();
        samples.sort_by_key(|sample| sample.timestamp);
        let labels = labels.iter().map(|(name, value)| Label {
            name: name.clone(),
            value: value.clone(),
        });
        TimeSeries {
            labels: labels.collect(),
            samples,
        }
    });
    let request = WriteRequest {
        series: series.collect(),
    };
    snap::raw::Encoder::new()
        .compress_vec(&request.encode_to_vec())
        .expect("a request is far smaller than the 4 GiB that snappy can take")
}

/// The series of some metrics, each with its value now.
pub(super) fn values(families: &[MetricFamily]) -> BTreeMap<Labels, f64> {
    let mut values = BTreeMap::new();
    for family in families {
        for metric in &family.metric {
            add(&family.name, metric, &mut values);
        }
    }
    values
}

fn add(name: &str, metric: &Metric, values: &mut BTreeMap<Labels, f64>) {
    let mut put = |suffix: &str, edge: Option<f64>, value: f64| {
        let own = metric
            .label
            .iter()
            .map(|label| (label.name.clone(), label.value.clone()));
        let name = ("__name__".to_owned(), format!("{name}{suffix}"));
        let edge = edge.map(|edge| ("le".to_owned(), shown(edge)));
        values.insert(own.chain([name]).chain(edge).collect(), value);
    };
    if let Some(counter) = &metric.counter {
        put("", None, counter.value);
    }
    if let Some(gauge) = &metric.gauge {
        put("", None, gauge.value);
    }
    if let Some(histogram) = &metric.histogram {
        for bucket in &histogram.bucket {
            let edge = Some(bucket.upper_bound);
            put("_bucket", edge, number(bucket.cumulative_count));
        }
        put("_sum", None, histogram.sample_sum);
        put("_count", None, number(histogram.sample_count));
    }
}

/// An edge as `OpenMetrics` has it, and Prometheus after any scrape: `1.0`, not `1`, or it would be another series.
fn shown(edge: f64) -> String {
    if edge == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        format!("{edge:?}")
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count is exact up to 2^53, and Prometheus knows no other"
)]
const fn number(count: u64) -> f64 {
    count as f64
}
