//! The newest events about a canary, however many there are, and however odd.

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::Kind;
use crate::model::record::Event;
use crate::model::text::Text;
use crate::operator;

/// How many events are told.
const NEWEST: usize = 50;

/// An event, as far as it is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReportedEvent {
    #[serde(rename = "type")]
    kind: Option<Text>,
    reason: Option<Text>,
    message: Option<Text>,
    count: Option<i64>,
    last_timestamp: Option<String>,
    event_time: Option<String>,
    #[serde(default)]
    source: Source,
    reporting_component: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Source {
    component: Option<String>,
}

/// The newest events of the operator's about a resource of a kind, since a moment, in seconds since 1970.
pub(super) struct Newest {
    kind: Kind,
    since: i64,
    /// With when each was said.
    kept: Vec<(i64, ReportedEvent)>,
}

impl Newest {
    /// None yet.
    pub(super) const fn of(kind: Kind, since: i64) -> Self {
        Self {
            kind,
            since,
            kept: Vec::new(),
        }
    }

    /// Takes in one more.
    pub(super) fn take(&mut self, said: ReportedEvent) {
        let when = said.when();
        if when < self.since || !said.by_operator(self.kind) {
            return;
        }
        self.kept.push((when, said));
        if self.kept.len() >= 2 * NEWEST {
            self.trim();
        }
    }

    /// The newest, the latest last.
    pub(super) fn events(mut self) -> Vec<Event> {
        self.trim();
        self.kept
            .into_iter()
            .map(|(_, said)| said.event())
            .collect()
    }

    fn trim(&mut self) {
        self.kept.sort_by_key(|(when, _)| *when);
        let old = self.kept.len().saturating_sub(NEWEST);
        self.kept.drain(..old);
    }
}

impl ReportedEvent {
    /// When it was said last, in seconds since 1970. One that does not say is taken for new, and one that says what is no
    /// time for as old as any.
    fn when(&self) -> i64 {
        let said = self.last_timestamp.as_ref().or(self.event_time.as_ref());
        said.map_or(i64::MAX, |said| {
            said.parse::<Timestamp>()
                .map_or(i64::MIN, Timestamp::as_second)
        })
    }

    /// Whether it is the operator's, as far as it says so itself: anyone who may create events can say so too.
    fn by_operator(&self, kind: Kind) -> bool {
        let component = self.source.component.as_ref();
        let component = component.filter(|name| !name.is_empty());
        let component = component.or(self.reporting_component.as_ref());
        component.is_some_and(|component| operator::speaks(kind, component))
    }

    fn event(self) -> Event {
        let count = self.count.unwrap_or(1).clamp(1, i32::MAX.into());
        Event {
            kind: self.kind.unwrap_or_default(),
            reason: self.reason.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            count: i32::try_from(count).unwrap_or(i32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn said(number: i64, time: &str) -> ReportedEvent {
        let event = json!({
            "message": format!("{number}"), "lastTimestamp": time, "eventTime": null,
            "source": {"component": "VaultStaticSecret"},
        });
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn the_newest_are_told_in_order() {
        let mut newest = Newest::of(Kind::Static, 0);
        for number in (0..500).rev() {
            let time = Timestamp::from_second(number).expect("a time");
            newest.take(said(number, &time.to_string()));
        }
        let told = newest.events();
        assert_eq!(told.len(), NEWEST);
        assert_eq!((&*told[0].message, &*told[49].message), ("450", "499"));
    }

    #[test]
    fn an_odd_one_hides_no_other() {
        let mut newest = Newest::of(Kind::Static, 0);
        newest.take(said(1, "9999-12-31T23:59:59.999999Z"));
        newest.take(said(2, "2026-01-01T00:00:00Z"));
        newest.take(said(3, "yesterday"));
        let untold = json!({
            "message": "x".repeat(900_000), "count": i64::MAX, "reportingComponent": "VaultStaticSecret",
        });
        newest.take(serde_json::from_value(untold).expect("an event"));
        let told = newest.events();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].message, "2");
        assert!(told[1].message.len() <= 1024 && told[1].count == i32::MAX);
    }

    /// What the keys of an event may hold that nobody honest writes.
    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            r"\PC{0,20}|[\s\S]{0,40}".prop_map(Value::from),
            "[0-9]{1,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,12})?Z"
                .prop_map(Value::from),
            prop::sample::select(vec![
                "VaultStaticSecret",
                "vaultClientFactory",
                "9999-12-31T23:59:59.999999Z"
            ])
            .prop_map(Value::from),
            "VaultStaticSecret|".prop_map(|component| json!({"component": component})),
            Just(json!([[{"component": 1}]])),
        ]
    }

    proptest! {
        #[test]
        fn whatever_an_event_holds_it_is_told_in_bounds_or_passed_over(
            fields in prop::collection::btree_map(
                prop::sample::select(vec![
                    "type", "reason", "message", "count", "lastTimestamp", "eventTime", "source",
                    "reportingComponent", "other",
                ]),
                any_value(),
                0..9,
            ),
        ) {
            let mut newest = Newest::of(Kind::Static, i64::MIN);
            let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
            if let Ok(said) = serde_json::from_value(Value::Object(fields.collect())) {
                newest.take(said);
            }
            for event in newest.events() {
                prop_assert!(event.count >= 1 && event.message.len() <= 1024 && event.reason.len() <= 1024);
            }
        }
    }
}
