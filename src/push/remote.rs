//! Remote write 1.0: samples of runs that are over, or of all that is published, again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::known::{Known, stale};
use super::message::{Labels, Sample, Series, body, values};
use super::post::Post;
use super::{Error, JOB};
use crate::config::{Config, Receiver};
use crate::model::run::Run;
use crate::model::time::Moment as _;
use crate::publish::Publisher;
use crate::publish::one_shot::gauges;
use crate::shutdown::Shutdown;

/// Where it is configured.
pub(super) const KEY: &str = "push.remoteWrite";

/// How often all that is published is sent. A series goes stale after 5 minutes without a sample, so that one lost
/// request must not matter; some receivers are at that after 2.
const EVERY: Duration = Duration::from_secs(30);
/// How long the last words may hold up the end of the program.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// How many series one request has at most.
const BATCH: usize = 2000;
/// How many refused requests one write may cost, in search of the series that are to blame.
const SEARCH: usize = 64;

/// A remote-write endpoint.
#[derive(Debug)]
pub struct Remote {
    post: Post,
    instance: String,
    labels: BTreeMap<String, String>,
    every: Duration,
}

impl Remote {
    /// A client for an endpoint. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL can't be used.
    pub fn new(receiver: &Receiver, instance: &str) -> Result<Self, Error> {
        Ok(Self {
            post: Post::new(KEY, receiver)?,
            instance: instance.to_owned(),
            labels: BTreeMap::new(),
            every: EVERY,
        })
    }

    /// Sends these labels along, of which none is the prober's own.
    #[must_use]
    pub fn labelled(mut self, labels: &BTreeMap<String, String>) -> Self {
        self.labels.clone_from(labels);
        self
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
                        ("probe", run.probe.to_string()),
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
        let written = self.write(series.iter().collect(), until).await;
        written.error.map_or(Ok(()), Err)
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
        let mut trouble = Trouble::default();
        loop {
            tokio::select! {
                biased;
                () = over.wait() => break,
                _ = tick.tick() => {}
            }
            if trouble.asks_for_silence() {
                continue;
            }
            // The others write the same series once they lead.
            let values = if publisher.standing().follows() {
                BTreeMap::new()
            } else {
                self.values(&publisher)
            };
            let series = known.turn(values, Timestamp::now().as_millisecond());
            // What was refused before comes last, and holds up nothing.
            let (suspects, others): (Vec<_>, Vec<_>) = series
                .iter()
                .partition(|(labels, _)| known.suspects(labels));
            // Not for ever: what is newer is due then.
            let until = Instant::now().later(self.every);
            let written = async {
                let others = self.write(others, until).await;
                others.and(self.write(suspects, until).await)
            };
            let written = tokio::select! {
                biased;
                written = written => written,
                () = over.wait() => break,
            };
            known.settle(written.taken);
            known.refuse(written.refused);
            known.suspect(written.suspects);
            trouble.take(written.error);
        }
        let until = Instant::now().later(FAREWELL_LIMIT);
        let values = if known.is_empty() {
            BTreeMap::new()
        } else {
            self.values(&publisher)
        };
        let mut last = known.turn(values, Timestamp::now().as_millisecond());
        last.retain(|labels, _| !known.suspects(labels));
        for samples in last.values_mut() {
            let ended = samples
                .iter()
                .map(|sample| sample.timestamp.saturating_add(1))
                .max();
            let live = samples.iter().any(|sample| !sample.value.is_nan());
            samples.extend(ended.filter(|_| live).map(stale));
        }
        if let Some(error) = self.write(last.iter().collect(), until).await.error {
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
        labels.extend(self.labels.clone());
        labels.insert("job".to_owned(), JOB.to_owned());
        labels.insert("instance".to_owned(), self.instance.clone());
        labels
    }

    /// Writes series, batch by batch. A batch that is refused is halved, until what is to blame is alone and all else has
    /// arrived.
    async fn write<'a>(&self, series: Vec<Entry<'a>>, until: Instant) -> Written<'a> {
        let mut written = Written::default();
        // Each with whether it is a part of one that was refused.
        let batches = series.chunks(BATCH).rev().map(|batch| (batch, false));
        let mut batches: Vec<_> = batches.collect();
        let mut refusals = 0;
        while let Some((batch, suspect)) = batches.pop() {
            let what = match batch {
                [(labels, _)] => format!("the series `{}` by remote write", shown(labels)),
                _ => format!("{} series by remote write", batch.len()),
            };
            let all = batch.iter().map(|(labels, _)| *labels);
            match self.send(&what, body(batch.iter().copied()), until).await {
                Ok(()) => written.taken.extend(all),
                Err(error) if error.is_of_the_content() => {
                    refusals += 1;
                    let alone = batch.len() == 1;
                    if alone {
                        written.refused.extend(all);
                    } else if refusals <= SEARCH {
                        let (first, second) = batch.split_at(batch.len() / 2);
                        batches.extend([(second, true), (first, true)]);
                        continue;
                    } else {
                        written.suspects.extend(all);
                    }
                    written.error.get_or_insert(error);
                }
                // All else would fare the same.
                Err(error) => {
                    batches.push((batch, suspect));
                    written.error = Some(error);
                    break;
                }
            }
        }
        let left = batches.into_iter().filter(|(_, suspect)| *suspect);
        let left = left.flat_map(|(batch, _)| batch.iter().map(|(labels, _)| *labels));
        written.suspects.extend(left);
        written
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

type Entry<'a> = (&'a Labels, &'a Vec<Sample>);

/// What became of a write.
#[derive(Default)]
struct Written<'a> {
    taken: Vec<&'a Labels>,
    /// What was refused for what it is.
    refused: Vec<&'a Labels>,
    /// Of these, something was refused.
    suspects: Vec<&'a Labels>,
    error: Option<Error>,
}

impl Written<'_> {
    /// As one write.
    fn and(mut self, other: Self) -> Self {
        self.taken.extend(other.taken);
        self.refused.extend(other.refused);
        self.suspects.extend(other.suspects);
        self.error = self.error.or(other.error);
        self
    }
}

/// The endpoint's trouble, which is told once.
#[derive(Default)]
struct Trouble {
    told: Option<String>,
    silence: Option<Instant>,
}

impl Trouble {
    /// Takes in how the last write ended.
    fn take(&mut self, error: Option<Error>) {
        let silence = error.as_ref().and_then(Error::retry_after);
        self.silence = silence.map(|silence| Instant::now().later(silence));
        let told = error.map(|error| error.to_string());
        if let Some(error) = told.as_ref().filter(|_| told != self.told) {
            tracing::warn!(error, "could not send all metrics");
        } else if told.is_none() && self.told.is_some() {
            tracing::info!("all metrics are sent again");
        }
        self.told = told;
    }

    /// Whether it wants to be left alone for now.
    fn asks_for_silence(&self) -> bool {
        self.silence.is_some_and(|silence| Instant::now() < silence)
    }
}

/// A series as Prometheus writes it.
fn shown(labels: &Labels) -> String {
    let name = labels.get("__name__").map_or("", String::as_str);
    let others = labels.iter().filter(|(label, _)| *label != "__name__");
    let others: Vec<_> = others
        .map(|(label, value)| format!("{label}={value:?}"))
        .collect();
    format!("{name}{{{}}}", others.join(","))
}
