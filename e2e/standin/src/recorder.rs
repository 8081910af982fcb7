//! Events, counted, combined and rationed as the Kubernetes client library does it for the operator.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::sync::mpsc;

/// Ten alike are combined, if no ten minutes lie between them.
const ALIKE: usize = 10;
const ALIKE_WITHIN: Duration = Duration::from_secs(600);
/// An object has 25 events, then one in five minutes.
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);

/// Something to be told of an object.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// Who says it.
    pub(crate) source: &'static str,
    /// Of what.
    pub(crate) about: ObjectReference,
    /// Whether it is bad.
    pub(crate) warning: bool,
    /// In a word.
    pub(crate) reason: &'static str,
    /// In a sentence.
    pub(crate) message: String,
}

/// Takes notes; they are written behind the caller's back, in order.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(mpsc::UnboundedSender<Note>);

impl Recorder {
    /// A recorder, and the task that writes.
    pub(crate) fn new(client: Client) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), write(client, receiver))
    }

    /// Tells that all is well.
    pub(crate) fn normal<K: Resource<DynamicType = ()>>(
        &self,
        source: &'static str,
        about: &K,
        reason: &'static str,
        message: String,
    ) {
        self.note(Note {
            source,
            about: about.object_ref(&()),
            warning: false,
            reason,
            message,
        });
    }

    /// Tells that something is wrong.
    pub(crate) fn warning<K: Resource<DynamicType = ()>>(
        &self,
        source: &'static str,
        about: &K,
        reason: &'static str,
        message: String,
    ) {
        self.note(Note {
            source,
            about: about.object_ref(&()),
            warning: true,
            reason,
            message,
        });
    }

    fn note(&self, note: Note) {
        // Fails only while the program ends.
        let _ = self.0.send(note);
    }
}

async fn write(client: Client, mut notes: mpsc::UnboundedReceiver<Note>) {
    let mut correlator = Correlator::default();
    while let Some(note) = notes.recv().await {
        let namespace = note.about.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let Some(verdict) = correlator.observe(&note, Instant::now()) else {
            continue;
        };
        let result = if verdict.count == 1 {
            api.create(&PostParams::default(), &event(&note, &verdict))
                .await
                .map(drop)
        } else {
            let patch = json!({"count": verdict.count, "message": verdict.message, "lastTimestamp": Time(Timestamp::now())});
            api.patch(&verdict.name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map(drop)
        };
        if let Err(error) = result {
            tracing::warn!(reason = note.reason, %error, "event not written");
        }
    }
}

fn event(note: &Note, verdict: &Verdict) -> Event {
    let now = Some(Time(Timestamp::now()));
    Event {
        metadata: ObjectMeta {
            name: Some(verdict.name.clone()),
            namespace: note.about.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: note.about.clone(),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(note.reason.into()),
        message: Some(verdict.message.clone()),
        source: Some(EventSource {
            component: Some(note.source.into()),
            host: None,
        }),
        reporting_component: Some(note.source.into()),
        first_timestamp: now.clone(),
        last_timestamp: now,
        count: Some(1),
        ..Event::default()
    }
}

/// What is to be written: a new event if the count is 1, else that count on the one there is.
#[derive(Clone, Debug, PartialEq)]
struct Verdict {
    name: String,
    message: String,
    count: i32,
}

#[derive(Default)]
struct Correlator {
    written: HashMap<String, (String, i32)>,
    alike: HashMap<String, (HashSet<String>, Instant)>,
    budget: HashMap<String, (f64, Instant)>,
}

impl Correlator {
    /// `None` if the object has used up its budget.
    fn observe(&mut self, note: &Note, now: Instant) -> Option<Verdict> {
        let about = &note.about;
        let object = format!(
            "{}/{:?}/{:?}/{:?}/{:?}",
            note.source, about.kind, about.namespace, about.name, about.uid
        );
        let kind = format!("{object}/{}/{}", note.warning, note.reason);
        let (messages, last) = self
            .alike
            .entry(kind.clone())
            .or_insert_with(|| (HashSet::new(), now));
        if now.duration_since(*last) > ALIKE_WITHIN {
            messages.clear();
        }
        *last = now;
        messages.insert(note.message.clone());
        let (key, message) = if messages.len() < ALIKE {
            (format!("{kind}/{}", note.message), note.message.clone())
        } else {
            messages.remove(&note.message);
            (
                kind,
                format!("(combined from similar events): {}", note.message),
            )
        };
        let (name, count) = self.written.entry(key).or_insert_with(|| {
            let stamp = Timestamp::now().as_nanosecond();
            (
                format!("{}.{stamp:x}", about.name.as_deref().unwrap_or_default()),
                0,
            )
        });
        *count += 1;
        let verdict = Verdict {
            name: name.clone(),
            message,
            count: *count,
        };
        let (tokens, filled) = self.budget.entry(object).or_insert((BURST, now));
        *tokens =
            (*tokens + now.duration_since(*filled).as_secs_f64() / REFILL.as_secs_f64()).min(BURST);
        *filled = now;
        if *tokens < 1.0 {
            return None;
        }
        *tokens -= 1.0;
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(message: &str) -> Note {
        let about = ObjectReference {
            name: Some("s1".into()),
            ..ObjectReference::default()
        };
        Note {
            source: "VaultStaticSecret",
            about,
            warning: false,
            reason: "SecretSynced",
            message: message.into(),
        }
    }

    #[test]
    fn the_same_is_counted() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        let first = correlator
            .observe(&note("Secret synced"), now)
            .expect("within budget");
        let second = correlator
            .observe(&note("Secret synced"), now)
            .expect("within budget");
        assert_eq!((first.count, second.count), (1, 2));
        assert_eq!(first.name, second.name);
        assert!(first.name.starts_with("s1."));
    }

    #[test]
    fn ten_alike_are_combined() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        let mut messages = (0..12).map(|n| {
            correlator
                .observe(&note(&format!("lease {n}")), now)
                .expect("within budget")
        });
        let plain: Vec<Verdict> = messages.by_ref().take(9).collect();
        assert!(
            plain
                .iter()
                .all(|v| v.count == 1 && v.message.starts_with("lease"))
        );
        let combined: Vec<Verdict> = messages.collect();
        assert!(combined.iter().all(|v| {
            v.message
                .starts_with("(combined from similar events): lease")
        }));
        assert_eq!(
            combined.iter().map(|v| v.count).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn an_object_has_a_budget() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        let written = (0..40)
            .filter(|_| correlator.observe(&note("x"), now).is_some())
            .count();
        assert_eq!(written, 25);
        assert!(
            correlator
                .observe(&note("x"), now + Duration::from_secs(299))
                .is_none()
        );
        assert!(
            correlator
                .observe(&note("x"), now + Duration::from_secs(301))
                .is_some()
        );
    }
}
