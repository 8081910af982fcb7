//! Events about findings, on the operator's Deployment.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::audit::finding::{Finding, State};
use crate::kubernetes;

/// Who reports the events.
const COMPONENT: &str = "vso-prober";

/// What events are about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct About {
    pub(super) version: &'static str,
    pub(super) kind: String,
    pub(super) name: String,
}

/// The writer of events.
pub(super) struct Notice {
    events: Api<Event>,
    namespace: String,
    about: Option<About>,
    /// Whether the last could not be written.
    troubled: bool,
}

impl Notice {
    /// One for the operator's namespace.
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            events: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            about: None,
            troubled: false,
        }
    }

    /// Says what events are about from now on.
    pub(super) fn about(&mut self, about: Option<About>) {
        self.about = about.or(self.about.take());
    }

    /// Writes an event about a finding that is confirmed. That it can't is told once.
    pub(super) async fn tell(&mut self, finding: &Finding) {
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
        let written = self.events.create(&PostParams::default(), &event).await;
        match written {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) if !std::mem::replace(&mut self.troubled, true) => {
                let what = format!("create an event in `{}`", self.namespace);
                let error = kubernetes::obstacle(&what, &error).text;
                tracing::warn!(%error, "a finding is not told by an event");
            }
            Err(_) => {}
            Ok(_) => self.troubled = false,
        }
    }
}
