//! Events about findings, on the operator's Deployment.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::audit::finding::{Finding, State};
use crate::kubernetes;

/// Who reports the events.
const COMPONENT: &str = "vso-prober";
/// So many wait to be written; what comes then is told by no event.
const WAITING: usize = 64;
/// How long the API server may take for one, and for the last ones at the end.
const LIMIT: Duration = Duration::from_secs(10);
const CLOSING: Duration = Duration::from_secs(1);

/// What events are about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct About {
    pub(super) version: &'static str,
    pub(super) kind: String,
    pub(super) name: String,
}

/// The way of events to the API server, for which nobody waits.
pub(super) struct Notice {
    queue: mpsc::Sender<Event>,
    writer: JoinSet<()>,
    namespace: String,
    about: Option<About>,
}

impl Notice {
    /// One for the operator's namespace.
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let mut writer = JoinSet::new();
        let events = Api::namespaced(client, namespace);
        writer.spawn(write(events, namespace.to_owned(), waiting));
        Self {
            queue,
            writer,
            namespace: namespace.to_owned(),
            about: None,
        }
    }

    /// Says what events are about from now on.
    pub(super) fn about(&mut self, about: Option<About>) {
        self.about = about.or(self.about.take());
    }

    /// Has an event written about a finding that is confirmed.
    pub(super) fn tell(&self, finding: &Finding) {
        let Some(about) = self
            .about
            .clone()
            .filter(|_| finding.state == State::Confirmed)
        else {
            return;
        };
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("vso-prober-finding-{}", finding.id)),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(about.version.to_owned()),
                kind: Some(about.kind),
                name: Some(about.name),
                namespace: Some(self.namespace.clone()),
                ..ObjectReference::default()
            },
            reason: Some("IdentityMisused".to_owned()),
            message: Some(format!(
                "{} ({} confidence): {}",
                finding.rule.name(),
                finding.confidence.name(),
                finding.text
            )),
            type_: Some("Warning".to_owned()),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                ..EventSource::default()
            }),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        };
        if self.queue.try_send(event).is_err() {
            tracing::warn!(finding = %finding.id, "a finding is not told by an event: too many wait for the API server");
        }
    }

    /// Waits a moment for what is to be written still.
    pub(super) async fn end(self) {
        let Self {
            queue, mut writer, ..
        } = self;
        drop(queue);
        let _ = timeout(CLOSING, writer.join_next()).await;
    }
}

/// Writes what comes. That it can't is told once.
async fn write(events: Api<Event>, namespace: String, mut waiting: mpsc::Receiver<Event>) {
    let mut troubled = false;
    while let Some(event) = waiting.recv().await {
        let params = PostParams::default();
        let error = match timeout(LIMIT, events.create(&params, &event)).await {
            Ok(Ok(_)) => None,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => None,
            Ok(Err(error)) => {
                let what = format!("create an event in `{namespace}`");
                Some(kubernetes::obstacle(&what, &error).text.to_string())
            }
            Err(_) => Some(format!(
                "tried to create an event in `{namespace}`: no answer within {LIMIT:?}"
            )),
        };
        if let Some(error) = &error
            && !troubled
        {
            tracing::warn!(error, "a finding is not told by an event");
        }
        troubled = error.is_some();
    }
}
