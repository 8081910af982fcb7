//! Readings of the operator's metrics, and what it counted between them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::context::Window;
use crate::model::snapshot::Snapshot;

/// No more windows are kept: an hour of them.
const LONGEST: usize = 60;

/// What was counted at one time, by which processes since when.
#[derive(Clone, Debug)]
struct Reading {
    at: Timestamp,
    processes: BTreeMap<String, f64>,
    logins: f64,
    reads: f64,
    seconds: f64,
}

/// The windows between readings of the same processes, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    last: Option<Reading>,
    windows: Vec<Window>,
}

impl Readings {
    /// Takes in a reading that was asked for, and came. Where a process has begun anew, or gone, the windows begin anew, and this one is void. Whether it is
    /// not.
    pub(super) fn reading(
        &mut self,
        (asked, at): (Timestamp, Timestamp),
        snapshot: &Snapshot,
    ) -> bool {
        let connections = || snapshot.connections.values();
        let reading = Reading {
            at,
            processes: snapshot.processes.clone(),
            logins: connections().map(|one| one.logins.count).sum(),
            reads: connections().map(|one| one.reads.count).sum(),
            seconds: connections()
                .map(|one| one.reads.seconds + one.logins.seconds)
                .sum(),
        };
        if let Some(before) = self.last.replace(reading.clone()) {
            let (logins, reads) = (reading.logins - before.logins, reading.reads - before.reads);
            if before.processes != reading.processes || logins < 0.0 || reads < 0.0 {
                self.windows.clear();
                return false;
            }
            self.windows.push(Window {
                from: before.at,
                to: at,
                logins: whole(logins),
                reads: whole(reads),
                asked: Some(asked),
                took: Duration::try_from_secs_f64(reading.seconds - before.seconds)
                    .unwrap_or_default(),
            });
            if self.windows.len() > LONGEST {
                self.windows.remove(0);
            }
        }
        true
    }

    /// The windows, one after the other.
    pub(super) fn windows(&self) -> Vec<Window> {
        self.windows.clone()
    }
}

/// A count, which is never negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count, and too many are as many as there can be"
)]
fn whole(count: f64) -> u64 {
    count.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::{Connection, Sum};

    #[test]
    fn a_process_that_begins_anew_begins_the_windows_anew() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("a time");
        let snapshot = |started: f64, logins: f64, reads: f64| {
            let sum = |count| Sum {
                count,
                seconds: count / 100.0,
            };
            let connection = Connection {
                reads: sum(reads),
                logins: sum(logins),
                errors: 0.0,
            };
            Snapshot {
                processes: [(String::new(), started)].into(),
                connections: [("a/b".to_owned(), connection)].into(),
                ..Snapshot::default()
            }
        };
        let mut readings = Readings::default();
        assert!(readings.reading((at(-1), at(0)), &snapshot(1.0, 5.0, 50.0)));
        assert!(readings.reading((at(59), at(60)), &snapshot(1.0, 6.0, 53.0)));
        let window = Window {
            from: at(0),
            to: at(60),
            logins: 1,
            reads: 3,
            asked: Some(at(59)),
            took: Duration::from_millis(40),
        };
        assert_eq!(readings.windows(), [window]);
        assert!(!readings.reading((at(119), at(120)), &snapshot(2.0, 0.0, 1.0)));
        assert_eq!(readings.windows(), []);
        assert!(readings.reading((at(179), at(180)), &snapshot(2.0, 0.0, 2.0)));
        assert_eq!(readings.windows().len(), 1);
    }
}
