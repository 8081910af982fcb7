//! The formats in which metrics are exposed, and the choice of one by a scraper.

use std::fmt;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prometheus_client::encoding::{prometheus_protobuf, prometheus_text, text};
use prometheus_client::registry::Registry;
use prost::Message as _;

/// A format in which metrics are exposed. The later goes first where a scraper likes two alike.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Format {
    /// Prometheus' text, which everyone understands.
    Text,
    /// `OpenMetrics` text, with exemplars.
    OpenMetrics,
    /// Prometheus' messages, with exemplars and native histograms.
    Protobuf,
}

impl Format {
    /// The format that a header `Accept` prefers. Who does not ask for another by its name gets text.
    pub(super) fn preferred(accept: Option<&str>) -> Self {
        accept
            .unwrap_or_default()
            .split(',')
            .filter_map(offer)
            .max_by(|(format, liking), (other, other_liking)| {
                liking.total_cmp(other_liking).then(format.cmp(other))
            })
            .map_or(Self::Text, |(format, _)| format)
    }

    /// The media type.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Encodes what `registry` holds.
    pub(super) fn encode(self, registry: &Registry) -> Result<Vec<u8>, fmt::Error> {
        let mut body = String::new();
        match self {
            Self::Text => prometheus_text::encode(&mut body, registry)?,
            Self::OpenMetrics => text::encode(&mut body, registry)?,
            Self::Protobuf => {
                let families = families(registry)?;
                let messages = families
                    .iter()
                    .map(MetricFamily::encode_length_delimited_to_vec);
                return Ok(messages.flatten().collect());
            }
        }
        Ok(body.into_bytes())
    }
}

/// The families as messages, without those that have no series. Where a native histogram follows its classic twin,
/// which alone has exemplars, the two are made one.
pub(super) fn families(registry: &Registry) -> Result<Vec<MetricFamily>, fmt::Error> {
    let mut families = prometheus_protobuf::encode(registry)?;
    families.retain(|family| !family.metric.is_empty());
    for family in &mut families {
        family.metric.dedup_by(|native, classic| {
            if native.label != classic.label {
                return false;
            }
            let (Some(native), Some(classic)) = (&mut native.histogram, &mut classic.histogram)
            else {
                return false;
            };
            for (bucket, twin) in native.bucket.iter_mut().zip(&mut classic.bucket) {
                bucket.exemplar = twin.exemplar.take();
            }
            std::mem::swap(native, classic);
            true
        });
    }
    Ok(families)
}

/// What one range of a header `Accept` asks for, if it is a format of ours, and how much it is liked.
fn offer(range: &str) -> Option<(Format, f64)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
    let parameter = |name: &str| {
        let mut values = parameters.iter();
        let found = values.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().trim_matches('"'))
    };
    let is = |name: &str, wanted: &str| parameter(name).is_none_or(|value| value == wanted);
    let format = match media.as_str() {
        "text/plain" if is("version", "0.0.4") => Format::Text,
        "application/openmetrics-text" if is("version", "1.0.0") => Format::OpenMetrics,
        "application/vnd.google.protobuf"
            if is("proto", "io.prometheus.client.MetricFamily") && is("encoding", "delimited") =>
        {
            Format::Protobuf
        }
        _ => return None,
    };
    let liking = parameter("q").map_or(Some(1.0), |q| q.parse().ok())?;
    (liking > 0.0).then_some((format, liking))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_what_it_prefers() {
        let check = |accept: &str, format: Format| {
            assert_eq!(Format::preferred(Some(accept)), format, "{accept}");
        };
        // Prometheus 2.42, with native histograms and without.
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::Protobuf,
        );
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        );
        // Prometheus 3, with native histograms and without.
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Format::Protobuf,
        );
        check(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        );
        check("*/*", Format::Text);
        check("", Format::Text);
        check("text/html, application/xhtml+xml, */*;q=0.8", Format::Text);
        check(
            "text/plain, application/openmetrics-text; version=1.0.0",
            Format::OpenMetrics,
        );
        check(
            "application/openmetrics-text; version=1.0.0; q=0, */*",
            Format::Text,
        );
        check("application/openmetrics-text; version=0.0.1", Format::Text);
        check(
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
            Format::Text,
        );
        assert_eq!(Format::preferred(None), Format::Text);
    }
}
