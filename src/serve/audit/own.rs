//! The prober's own requests to Vault, which tell who it is, how far Vault's clock is, and whether its lines come.

use std::time::Duration;

use jiff::Timestamp;

use crate::audit::entry::{Half, VaultEntry};
use crate::audit::identity::Person;
use crate::model::clock::Bound;
use crate::model::time::Moment as _;

/// No more are waited for, and no more bounds are kept.
const LONGEST: usize = 20;
/// The request that the prober leaves its line with.
const PATH: &str = "auth/token/lookup-self";

/// A request whose line is waited for.
#[derive(Debug)]
struct Asked {
    id: String,
    sent: Timestamp,
    received: Timestamp,
}

/// What is known of the prober's own requests.
#[derive(Debug, Default)]
pub(super) struct Own {
    asked: Vec<Asked>,
    /// Lines that came before the answer did.
    lines: Vec<VaultEntry>,
    pub(super) bounds: Vec<Bound>,
    people: Vec<Person>,
    /// When a request was made last whose line came.
    heard: Option<Timestamp>,
}

impl Own {
    /// One that knows so much of who the prober is.
    pub(super) fn new(people: Vec<Person>) -> Self {
        Self {
            people,
            ..Self::default()
        }
    }

    /// A request was made. Whether more is known of who the prober is.
    pub(super) fn asked(&mut self, id: String, sent: Timestamp, received: Timestamp) -> bool {
        if id.is_empty() {
            return false;
        }
        let line = self.lines.iter().position(|line| line.id == id);
        let asked = Asked { id, sent, received };
        if let Some(line) = line {
            let line = self.lines.remove(line);
            return self.pair(&asked, &line);
        }
        self.asked.push(asked);
        if self.asked.len() > LONGEST {
            self.asked.remove(0);
        }
        false
    }

    /// A line came. Whether more is known of who the prober is.
    pub(super) fn line(&mut self, entry: &VaultEntry) -> bool {
        if entry.path != PATH || entry.half != Half::Response {
            return false;
        }
        if let Some(place) = self.asked.iter().position(|asked| asked.id == entry.id) {
            let asked = self.asked.remove(place);
            return self.pair(&asked, entry);
        }
        self.lines.push(entry.clone());
        if self.lines.len() > LONGEST {
            self.lines.remove(0);
        }
        false
    }

    fn pair(&mut self, asked: &Asked, line: &VaultEntry) -> bool {
        self.bounds.push(Bound {
            sent: asked.sent,
            received: asked.received,
            line: line.time,
        });
        if self.bounds.len() > LONGEST {
            self.bounds.remove(0);
        }
        self.heard = self.heard.max(Some(asked.received));
        self.asked.retain(|older| older.sent > asked.sent);
        let person = Person::of(&line.who);
        let new = !self.people.contains(&person);
        if new {
            self.people.push(person);
        }
        new
    }

    /// Who the prober is.
    pub(super) fn people(&self) -> Vec<Person> {
        self.people.clone()
    }

    /// Whether the sources have the lines of the prober's own requests.
    pub(super) fn whole(&self, now: Timestamp, lag: Duration) -> bool {
        self.heard.is_some() && self.missed(now, lag).is_none()
    }

    /// Why the sources can't be relied on at `now`, if they can't: a line of the prober's own has not come within `lag`.
    pub(super) fn missed(&self, now: Timestamp, lag: Duration) -> Option<String> {
        let oldest = self.asked.first()?;
        let late = oldest.received.later(lag) < now;
        late.then(|| {
            format!(
                "the prober's own request of {} has left no line in any source",
                oldest.received
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::entry::{Entry, parse};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn line(id: &str, second: i64) -> VaultEntry {
        let line = serde_json::json!({
            "time": at(second), "type": "response", "auth": {"display_name": "kubernetes-vso-prober"},
            "request": {"id": id, "operation": "read", "path": PATH},
        });
        match parse(line.to_string().as_bytes()) {
            Ok(Entry::Vault(entry)) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_and_its_line_come_in_either_order() {
        let mut own = Own::default();
        assert!(
            own.line(&line("a", 5)) | own.asked("a".to_owned(), at(0), at(1)),
            "who it is"
        );
        assert!(
            !own.asked("b".to_owned(), at(10), at(11)) && !own.line(&line("b", 15)),
            "the same"
        );
        assert!(!own.line(&line("somebody's", 15)));
        assert_eq!(own.bounds.len(), 2);
        assert_eq!(
            own.people()[0].display_name.as_deref(),
            Some("kubernetes-vso-prober")
        );
        assert_eq!(own.missed(at(500), Duration::from_secs(30)), None);
        own.asked("c".to_owned(), at(510), at(511));
        assert_eq!(own.missed(at(520), Duration::from_secs(30)), None);
        assert!(own.missed(at(550), Duration::from_secs(30)).is_some());
    }
}
