//! Remote write 1.0: samples of runs that are over, or of all that is published, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::message::{Labels, STALE, Sample, Series, body, values};
use super::post::Post;
use super::{Error, JOB};
use crate::config::{Config, RemoteWrite};
use crate::model::run::Run;
use crate::model::time::Moment as _;
use crate::publish::Publisher;
use crate::publish::one_shot::gauges;
use crate::shutdown::Shutdown;

/// How often all that is published is sent. A series goes stale after 5 minutes without a sample, so that one lost
/// request must not matter; some receivers are at that after 2.
const EVERY: Duration = Duration::from_secs(30);
/// How long the last words may hold up the end of the program.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// How many series one request has at most.
const BATCH: usize = 2000;

/// A remote-write endpoint.
#[derive(Debug)]
pub struct Remote {
    post: Post,
    instance: String,
    every: Duration,
}

impl Remote {
    /// A client for an endpoint. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL can't be used.
    pub fn new(config: &RemoteWrite, instance: &str) -> Result<Self, Error> {
        Ok(Self {
            post: Post::new(&config.url, config.bearer_token_file.clone())?,
            instance: instance.to_owned(),
            every: EVERY,
        })
    }

    /// Sends this often what is published.
    #[must_use]
    pub const fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Writes one sample a run, at the run's own time.
    pub(super) async fn write_runs(
        &self,
        config: &Config,
        runs: &[Run],
        until: Instant,
    ) -> Result<(), Error> {
        let mut series = Series::new();
        for run in runs {
            let Some(probe) = config.probe(&run.probe) else {
                continue;
            };
            for (step, gauges) in gauges(probe, run) {
                for gauge in gauges {
                    let own = [
                        ("__name__", gauge.name.to_owned()),
                        ("probe", run.probe.clone()),
                        ("kind", run.kind.to_string()),
                        ("step", step.to_string()),
                    ];
                    let labels = own.into_iter().chain(gauge.labels);
                    let labels = labels.map(|(name, value)| (name.to_owned(), value));
                    series
                        .entry(self.labels(labels.collect()))
                        .or_default()
                        .push(Sample {
                            value: gauge.value,
                            timestamp: run.finished.as_millisecond(),
                        });
                }
            }
        }
        self.write(&series, until).await
    }

    /// Writes nothing, which shows whether something would be taken.
    pub(super) async fn reach(&self, until: Instant) -> Result<(), Error> {
        self.send(
            "an empty request, by remote write",
            body(std::iter::empty()),
            until,
        )
        .await
    }

    /// Writes all that is published, again and again, for as long as this replica leads; a series that goes is told
    /// to be stale. Ends once `over` is asked for, which should be after the last fact, and says farewell.
    pub async fn run(self, publisher: Arc<Publisher>, over: Shutdown) {
        let mut known = Known::default();
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = over.wait() => break,
                _ = tick.tick() => {}
            }
            // The others write the same series once they lead.
            let values = if publisher.leads() {
                self.values(&publisher)
            } else {
                BTreeMap::new()
            };
            let series = known.turn(values, Timestamp::now());
            let written = tokio::select! {
                biased;
                // Not for ever: what is newer is due then.
                written = self.write(&series, Instant::now().later(self.every)) => written,
                () = over.wait() => break,
            };
            match written {
                Ok(()) => known.settle(),
                Err(error) => tracing::warn!(error = %error, "could not send the metrics"),
            }
        }
        let until = Instant::now().later(FAREWELL_LIMIT);
        let values = if known.alive.is_empty() {
            BTreeMap::new()
        } else {
            self.values(&publisher)
        };
        let mut last = known.turn(values, Timestamp::now());
        for samples in last.values_mut() {
            let ended = samples
                .iter()
                .map(|sample| sample.timestamp.saturating_add(1))
                .max();
            let live = samples.iter().any(|sample| !sample.value.is_nan());
            samples.extend(ended.filter(|_| live).map(stale));
        }
        if let Err(error) = self.write(&last, until).await {
            tracing::warn!(error = %error, "could not send the last metrics");
        }
    }

    fn values(&self, publisher: &Publisher) -> BTreeMap<Labels, f64> {
        values(&publisher.families())
            .into_iter()
            .map(|(labels, value)| (self.labels(labels), value))
            .collect()
    }

    fn labels(&self, mut labels: Labels) -> Labels {
        labels.insert("job".to_owned(), JOB.to_owned());
        labels.insert("instance".to_owned(), self.instance.clone());
        labels
    }

    async fn write(&self, series: &Series, until: Instant) -> Result<(), Error> {
        let all: Vec<_> = series.iter().collect();
        for batch in all.chunks(BATCH) {
            let what = format!("{} series by remote write", batch.len());
            self.send(&what, body(batch.iter().copied()), until).await?;
        }
        Ok(())
    }

    async fn send(&self, what: &str, body: Vec<u8>, until: Instant) -> Result<(), Error> {
        let headers = HeaderMap::from_iter([
            (CONTENT_ENCODING, HeaderValue::from_static("snappy")),
            (
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-protobuf"),
            ),
            (
                HeaderName::from_static("x-prometheus-remote-write-version"),
                HeaderValue::from_static("0.1.0"),
            ),
        ]);
        self.post
            .send(what, self.post.url(), &headers, body, until)
            .await
    }
}

/// The series that the endpoint may know as alive.
#[derive(Debug, Default)]
struct Known {
    alive: BTreeSet<Labels>,
    gone: BTreeSet<Labels>,
}

impl Known {
    /// What is to be sent so that these are alive at `now` and those before that are not among them are not.
    fn turn(&mut self, values: BTreeMap<Labels, f64>, now: Timestamp) -> Series {
        let timestamp = now.as_millisecond();
        let before = std::mem::take(&mut self.alive);
        self.gone.extend(before);
        self.gone.retain(|labels| !values.contains_key(labels));
        self.alive = values.keys().cloned().collect();
        let gone = self
            .gone
            .iter()
            .map(|labels| (labels.clone(), vec![stale(timestamp)]));
        let alive = values
            .into_iter()
            .map(|(labels, value)| (labels, vec![Sample { value, timestamp }]));
        gone.chain(alive).collect()
    }

    /// All was sent.
    fn settle(&mut self) {
        self.gone.clear();
    }
}

const fn stale(timestamp: i64) -> Sample {
    Sample {
        value: STALE,
        timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(names: &[&str]) -> BTreeMap<Labels, f64> {
        let labels = |name: &&str| Labels::from([("__name__".to_owned(), (*name).to_owned())]);
        names.iter().map(|name| (labels(name), 1.0)).collect()
    }

    /// The names of what is sent, those of stale ones with a `-`.
    fn sent(series: &Series) -> Vec<String> {
        let told = |(labels, samples): (&Labels, &Vec<Sample>)| {
            let name = &labels["__name__"];
            let stale = samples[0].value.to_bits() == STALE.to_bits();
            format!("{}{name}", if stale { "-" } else { "" })
        };
        series.iter().map(told).collect()
    }

    #[test]
    fn what_goes_is_told_to_be_stale_until_that_has_arrived() {
        let now = Timestamp::UNIX_EPOCH;
        let mut known = Known::default();
        assert_eq!(sent(&known.turn(series(&["a", "b"]), now)), ["a", "b"]);
        known.settle();
        assert_eq!(sent(&known.turn(series(&["a"]), now)), ["a", "-b"]);
        assert_eq!(sent(&known.turn(series(&["a"]), now)), ["a", "-b"]);
        known.settle();
        assert_eq!(sent(&known.turn(series(&["a"]), now)), ["a"]);
        assert_eq!(sent(&known.turn(series(&[]), now)), ["-a"]);
        assert_eq!(sent(&known.turn(series(&["a", "b"]), now)), ["a", "b"]);
    }
}
