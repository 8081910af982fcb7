//! The series that a remote-write endpoint may know: alive, gone, or refused.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Labels, STALE, Sample, Series};

/// After so long without a sample a series has gone stale by itself, in milliseconds: Prometheus' `query.lookback-delta`.
const LOOKBACK: i64 = 300_000;

/// The series that the endpoint may know as alive.
#[derive(Debug, Default)]
pub(super) struct Known {
    alive: BTreeSet<Labels>,
    /// Those that have gone, and when: Unix time in milliseconds.
    gone: BTreeMap<Labels, i64>,
    /// Those that the endpoint refused when it was last asked, alone or with others.
    suspects: BTreeSet<Labels>,
}

impl Known {
    /// Whether nothing is known as alive.
    pub(super) fn is_empty(&self) -> bool {
        self.alive.is_empty()
    }

    /// What is to be sent so that these are alive at `now`, in Unix time in milliseconds, and those before that are not among
    /// them are not.
    pub(super) fn turn(&mut self, values: BTreeMap<Labels, f64>, now: i64) -> Series {
        let before = std::mem::take(&mut self.alive);
        for labels in before {
            self.gone.entry(labels).or_insert(now);
        }
        self.gone.retain(|labels, since| {
            !values.contains_key(labels) && now.saturating_sub(*since) < LOOKBACK
        });
        self.alive = values.keys().cloned().collect();
        let gone = &self.gone;
        self.suspects
            .retain(|labels| values.contains_key(labels) || gone.contains_key(labels));
        let gone = self.gone.keys();
        let gone = gone.map(|labels| (labels.clone(), vec![stale(now)]));
        let alive = values.into_iter().map(|(labels, value)| {
            let timestamp = now;
            (labels, vec![Sample { value, timestamp }])
        });
        gone.chain(alive).collect()
    }

    /// Whether the endpoint refused this series when it was last asked, alone or with others.
    pub(super) fn suspects(&self, labels: &Labels) -> bool {
        self.suspects.contains(labels)
    }

    /// These have arrived.
    pub(super) fn settle<'a>(&mut self, taken: impl IntoIterator<Item = &'a Labels>) {
        for labels in taken {
            self.gone.remove(labels);
            self.suspects.remove(labels);
        }
    }

    /// These were refused for what they are: no marker has to tell of their end.
    pub(super) fn refuse<'a>(&mut self, refused: impl IntoIterator<Item = &'a Labels>) {
        for labels in refused {
            self.gone.remove(labels);
            if self.alive.remove(labels) {
                self.suspects.insert(labels.clone());
            }
        }
    }

    /// One of these was refused, and there was no time to find which.
    pub(super) fn suspect<'a>(&mut self, suspects: impl IntoIterator<Item = &'a Labels>) {
        self.suspects.extend(suspects.into_iter().cloned());
    }
}

/// The sample by which a series ends.
pub(super) const fn stale(timestamp: i64) -> Sample {
    Sample {
        value: STALE,
        timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from([("__name__".to_owned(), name.to_owned())])
    }

    fn series(names: &[&str]) -> BTreeMap<Labels, f64> {
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

    fn settle(known: &mut Known, names: &[&str]) {
        let all: Vec<_> = names.iter().map(|name| labels(name)).collect();
        known.settle(&all);
    }

    #[test]
    fn what_goes_is_told_to_be_stale_until_that_has_arrived() {
        let mut known = Known::default();
        assert_eq!(sent(&known.turn(series(&["a", "b"]), 0)), ["a", "b"]);
        settle(&mut known, &["a", "b"]);
        assert_eq!(sent(&known.turn(series(&["a"]), 0)), ["a", "-b"]);
        settle(&mut known, &["a"]);
        assert_eq!(sent(&known.turn(series(&["a"]), 0)), ["a", "-b"]);
        settle(&mut known, &["b"]);
        assert_eq!(sent(&known.turn(series(&["a"]), 0)), ["a"]);
        assert_eq!(sent(&known.turn(series(&[]), 0)), ["-a"]);
        assert_eq!(sent(&known.turn(series(&["a", "b"]), 0)), ["a", "b"]);
    }

    #[test]
    fn markers_end() {
        let mut known = Known::default();
        known.turn(series(&["a", "b"]), 0);
        assert_eq!(sent(&known.turn(series(&["a"]), 1)), ["a", "-b"]);
        // Nothing arrives; in the end, the series is stale by itself.
        assert_eq!(sent(&known.turn(series(&["a"]), LOOKBACK)), ["a", "-b"]);
        assert_eq!(sent(&known.turn(series(&["a"]), LOOKBACK + 1)), ["a"]);
        // What is refused never was alive.
        known.refuse(&[labels("a")]);
        assert!(known.suspects(&labels("a")));
        assert_eq!(sent(&known.turn(series(&["a", "b"]), 0)), ["a", "b"]);
        assert!(known.suspects(&labels("a")));
        known.refuse(&[labels("a")]);
        assert_eq!(sent(&known.turn(series(&["b"]), 0)), ["b"]);
        assert!(!known.suspects(&labels("a")));
    }
}
