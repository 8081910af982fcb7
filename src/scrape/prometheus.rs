//! The operator's metrics as Prometheus has scraped them, with the times of its scrapes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::time::timeout;

use super::Error;
use super::fetch::{Fetch, LIMIT, silence};
use crate::model::reply::Reply;
use crate::model::snapshot::Snapshot;
use crate::model::time;
use crate::operator::exposition::{NAMES, Tally};

/// How long a sample is taken for a process's last word, as Prometheus itself has it.
const STALE: SignedDuration = SignedDuration::from_mins(5);
/// How many processes are told apart, and how many scrapes of each are taken in.
const PROCESSES: usize = 64;
const SCRAPES: usize = 4096;
/// Prometheus' own series for how long each scrape took.
const DURATION: &str = "scrape_duration_seconds";

/// A Prometheus that scrapes the operator.
pub struct Prometheus {
    fetch: Fetch,
    url: String,
    selector: String,
}

/// The operator's numbers as Prometheus read them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// When the first of the scrapes they come from began, by Prometheus' clock.
    pub asked: Timestamp,
    /// When the last of them ended.
    pub received: Timestamp,
    /// The numbers.
    pub snapshot: Snapshot,
}

impl Prometheus {
    pub(super) fn new(fetch: Fetch, url: &str, selector: &str) -> Self {
        Self {
            fetch,
            url: url.to_owned(),
            selector: selector.to_owned(),
        }
    }

    /// Everything that was read from `from` to `to`, in order, by one query.
    ///
    /// # Errors
    /// Prometheus gave no answer, or one that refuses, or it knows no such series.
    pub async fn between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Sampled>, Error> {
        let span = to.duration_since(from).as_secs().max(0) + 1;
        let own = self
            .selector
            .trim()
            .trim_start_matches('{')
            .trim_end_matches('}');
        let separator = if own.trim().is_empty() { "" } else { "," };
        let names = NAMES.join("|");
        let query = format!("{{__name__=~\"{names}|{DURATION}\"{separator}{own}}}[{span}s]");
        let arguments = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("query", &query)
            .append_pair("time", &format!("{:.3}", seconds(to)))
            .finish();
        let url = format!("{}/api/v1/query?{arguments}", self.url);
        let text = timeout(LIMIT, self.fetch.text(&url, &self.url))
            .await
            .unwrap_or_else(|_| Err(silence(&self.url)))?;
        let failed = |what: &str| {
            let text = format!(
                "tried to ask Prometheus at {} for the operator's metrics: {what}",
                self.url
            );
            Error::new(Some(Reply::http(200)), text)
        };
        // The parser's own words may repeat what the answer holds.
        let answer: Answer = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            failed(&format!(
                "its response is not a query result (line {line}, column {column}); is it Prometheus?"
            ))
        })?;
        let sampled = read(&answer.data.result);
        if sampled.is_empty() {
            return Err(failed(&format!(
                "it has no samples of `{}` in the last {span} s; is `operator.metrics.prometheus.selector` right?",
                self.selector
            )));
        }
        Ok(sampled)
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// One scrape of one process.
#[derive(Default)]
struct Scrape {
    tally: Tally,
    took: Duration,
}

/// Puts the samples of each scrape together again, and then those of all processes at each moment.
fn read(series: &[Series]) -> Vec<Sampled> {
    let mut processes: BTreeMap<String, BTreeMap<Timestamp, Scrape>> = BTreeMap::new();
    for Series { metric, values } in series {
        let label = |name: &str| metric.get(name).map(|value| Cow::Borrowed(value.as_str()));
        let name = metric.get("__name__").map_or("", String::as_str);
        let process = metric.get("pod").or_else(|| metric.get("instance"));
        let process = process.cloned().unwrap_or_default();
        if processes.len() >= PROCESSES && !processes.contains_key(&process) {
            continue;
        }
        let scrapes = processes.entry(process).or_default();
        for (at, value) in values.iter().take(SCRAPES) {
            let (Some(at), Ok(value)) = (timestamp(*at), value.parse()) else {
                continue;
            };
            let scrape = scrapes.entry(at).or_default();
            if name == DURATION {
                scrape.took = time::fraction(value);
            } else {
                scrape.tally.add(name, label, value);
            }
        }
    }
    let processes: Vec<BTreeMap<Timestamp, (Timestamp, Snapshot)>> = processes
        .into_iter()
        .map(|(process, scrapes)| {
            let read = scrapes.into_iter().filter_map(|(at, scrape)| {
                let ended = at.saturating_add(scrape.took).unwrap_or(Timestamp::MAX);
                Some((at, (ended, scrape.tally.end(&process)?)))
            });
            read.collect()
        })
        .collect();
    let moments: BTreeSet<Timestamp> = processes.iter().flat_map(BTreeMap::keys).copied().collect();
    let at = |moment: Timestamp| {
        let mut whole: Option<Sampled> = None;
        for process in &processes {
            let Some((asked, (received, snapshot))) = process.range(..=moment).next_back() else {
                continue;
            };
            if moment.duration_since(*asked) > STALE {
                continue;
            }
            match &mut whole {
                None => {
                    whole = Some(Sampled {
                        asked: *asked,
                        received: *received,
                        snapshot: snapshot.clone(),
                    });
                }
                Some(whole) => {
                    whole.asked = whole.asked.min(*asked);
                    whole.received = whole.received.max(*received);
                    whole.snapshot.add(snapshot.clone());
                }
            }
        }
        whole
    };
    moments.into_iter().filter_map(at).collect()
}

/// Prometheus counts in seconds of Unix time, to the millisecond.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for some hundred thousand years"
)]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what is out of range is refused next"
)]
fn timestamp(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_millisecond((seconds * 1e3).round() as i64).ok()
}
