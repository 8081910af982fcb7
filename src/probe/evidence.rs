//! The evidence read after a step that was late or not proven: events, objects, pods, Vault.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event as CoreEvent, Pod as CorePod, Secret};
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::clients::QUESTION_LIMIT;
use super::events::Newest;
use super::{Clients, global};
use crate::canary::Canary;
use crate::kubernetes::{self, hands, read};
use crate::model::Step;
use crate::model::name::ObjectRef;
use crate::model::record::{Answer, Event, Findings, Hindrance, Obstacle, Peer, Pod, Reference};
use crate::model::text::Text;
use crate::model::timeline::Resource;
use crate::observe::{self, Inspector};
use crate::operator::{self, LEADER_LEASE, api};
use crate::wire::limited;

/// How long the events may be read; what came until then is told.
const LIST_LIMIT: Duration = Duration::from_secs(4);
/// How many pods under the operator's label are looked at.
const PODS: usize = 64;

/// By how many seconds the cluster's clock may differ from the prober's.
const CLOCK_SLACK: i64 = 2;

/// Asks everything at once. `since` and `wall` are the step's start on either clock.
pub(super) async fn gather(
    clients: &Clients,
    canary: &Canary,
    inspector: Option<&Inspector>,
    step: Step,
    since: Instant,
    wall: Timestamp,
) -> Findings {
    let (secret, resource, events, references, pods, vault) = tokio::join!(
        ask(Peer::Kubernetes, "get the Secret", secret(clients, canary)),
        ask(
            Peer::Kubernetes,
            "get the resource",
            resource(clients, canary)
        ),
        ask(
            Peer::Kubernetes,
            "list the events",
            events(clients, canary, (step != Step::Create).then_some(wall))
        ),
        references(clients, canary),
        ask(Peer::Kubernetes, "list the operator's pods", pods(clients)),
        ask(Peer::Vault, "read its health", clients.vault.health()),
    );
    let mut held_by = Vec::new();
    let mut changed_by = None;
    let secret = secret.map(|found| {
        let Found { object, held, by } = found?;
        held_by.extend(held);
        changed_by = by;
        Some(object)
    });
    let resource = resource.map(|found| {
        let Found { object, held, .. } = found?;
        held_by.extend(held);
        Some(object)
    });
    let certificate = inspector
        .zip(secret.get().and_then(Option::as_ref))
        .map(|(inspector, secret)| inspector.certificate(secret, Instant::now()));
    let content = |secret: Secret| observe::secret_content(&secret, canary.salt());
    let secret = secret.map(|secret| secret.map(content));
    Findings {
        secret,
        resource,
        certificate,
        earlier: canary.contents_before(step),
        events,
        references,
        pods,
        vault,
        lease: Answer::NotAsked,
        prolonged: Answer::NotAsked,
        logins: Vec::new(),
        old_ends: None,
        changed_by,
        held_by,
        others_reconciled: clients.observer.others_reconciled(canary, since),
    }
}

/// What the operator said while a step that was proven came late: the rest is plain to see by then.
pub(super) async fn words(
    clients: &Clients,
    canary: &Canary,
    step: Step,
    wall: Timestamp,
) -> Findings {
    let said = events(clients, canary, (step != Step::Create).then_some(wall));
    let (events, vault) = tokio::join!(
        ask(Peer::Kubernetes, "list the events", said),
        ask(Peer::Vault, "read its health", clients.vault.health()),
    );
    Findings {
        events,
        vault,
        ..Findings::default()
    }
}

async fn ask<T>(
    at: Peer,
    what: &str,
    question: impl Future<Output = Result<T, Obstacle>>,
) -> Answer<T> {
    match limited(at, what, QUESTION_LIMIT, question).await {
        Ok(answer) => Answer::Is(answer),
        Err(obstacle) => Answer::Obstructed(obstacle),
    }
}

/// An object of the canary's, and who else had a hand in it.
struct Found<T> {
    object: T,
    /// The finalizers of others that hold it.
    held: Vec<Text>,
    /// Whoever else wrote its data last.
    by: Option<Text>,
}

impl<T> Found<T> {
    /// Reads an object, called `what`; `own` finalizers are the operator's.
    fn read(
        what: &str,
        found: Value,
        own: impl Fn(&str) -> bool,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Option<Self> {
        let held = hands::holders(&found, own).into_iter();
        let held = held.map(|finalizer| format!("`{finalizer}` holds the {what}").into());
        Some(Self {
            held: held.collect(),
            by: hands::writer(&found),
            object: read(found)?,
        })
    }
}

async fn secret(clients: &Clients, canary: &Canary) -> Result<Option<Found<Secret>>, Obstacle> {
    let api = Api::<Secret>::namespaced(clients.kube.clone(), &canary.namespace);
    let what = format!("get Secret `{}`", canary.object());
    let Some(found) = whole(clients, &api, canary, &what).await? else {
        return Ok(None);
    };
    let read = Found::read("Secret", found, |_| false, |found| read::lean(found).ok());
    read.map(Some).ok_or_else(|| odd(&what, "is not a Secret"))
}

/// The canary's object of this name, as it is.
async fn whole(
    clients: &Clients,
    api: &Api<impl kube::Resource>,
    canary: &Canary,
    what: &str,
) -> Result<Option<Value>, Obstacle> {
    let found = read::whole(&clients.kube, api, &canary.name).await;
    found.map_err(|error| kubernetes::obstacle(what, &error))
}

/// That a response is not what was asked for.
fn odd(what: &str, why: &str) -> Obstacle {
    let text = format!("tried to {what}: the response {why}");
    Obstacle::new(Peer::Kubernetes, Hindrance::Failed, text)
}

async fn resource(clients: &Clients, canary: &Canary) -> Result<Option<Found<Resource>>, Obstacle> {
    let kind = canary.kind();
    let api = Api::<DynamicObject>::namespaced_with(
        clients.kube.clone(),
        &canary.namespace,
        &operator::api_resource(kind),
    );
    let what = format!("get {} `{}`", kind.resource(), canary.object());
    let Some(found) = whole(clients, &api, canary, &what).await? else {
        return Ok(None);
    };
    let read = Found::read("resource", found, operator::is_finalizer, |found| {
        let object = read::lean::<DynamicObject>(found).ok()?;
        operator::resource(kind, object).ok()
    });
    read.map(Some)
        .ok_or_else(|| odd(&what, "does not match its CRD"))
}

/// The events about the canary's resource, since the step began if that was not its creation; the
/// latest last.
pub(super) async fn events(
    clients: &Clients,
    canary: &Canary,
    since: Option<Timestamp>,
) -> Result<Vec<Event>, Obstacle> {
    let api = Api::<CoreEvent>::namespaced(clients.kube.clone(), &canary.namespace);
    let about = format!(
        "involvedObject.kind={},involvedObject.name={}",
        canary.kind().resource(),
        canary.name
    );
    // A canary has few; where there are many, they are somebody's who may have made them large.
    let params = ListParams::default().fields(&about).limit(16);
    // Events carry whole seconds, of another clock. Before its creation the canary had none.
    let since = since.map_or(i64::MIN, |since| since.as_second() - CLOCK_SLACK);
    let mut newest = Newest::of(canary.kind(), since);
    let list = read::each(&clients.kube, &api, &params, false, |said| {
        newest.take(said);
    });
    if let Ok(list) = timeout(LIST_LIMIT, list).await {
        list.map_err(|error| kubernetes::obstacle("list events", &error))?;
    } else {
        tracing::warn!(
            canary = canary.name,
            "there are too many events about the canary; not all were read"
        );
    }
    Ok(newest.events())
}

/// The VaultAuth that the canary refers to, and the VaultConnection behind it.
async fn references(clients: &Clients, canary: &Canary) -> Vec<Reference> {
    let ObjectRef { namespace, name } = canary.auth_ref();
    let auths = Api::<api::VaultAuth>::namespaced(clients.kube.clone(), &namespace);
    let full_name = format!("VaultAuth `{namespace}/{name}`");
    let auth = ask(Peer::Kubernetes, "get the VaultAuth", async {
        let what = format!("get {full_name}");
        read::one::<Value>(&clients.kube, &auths, &name)
            .await
            .map_err(|error| kubernetes::obstacle(&what, &error))
    })
    .await;
    let mut references = vec![Reference {
        name: full_name.into(),
        exists: exists(&auth),
        valid: None,
        said: None,
    }];

    let spec = auth
        .get()
        .and_then(|found| api::VaultAuthSpec::deserialize(found.as_ref()?.get("spec")?).ok());
    let spec = match spec {
        Some(spec) => {
            let (spec, globals) = global::whole(clients, spec, &namespace).await;
            references.extend(globals);
            spec
        }
        None => None,
    };
    let operators = &clients.operator.namespace;
    let connection = spec
        .as_ref()
        .and_then(|spec| operator::connection_of(spec, &namespace, operators));
    if let Some((namespace, name)) = connection {
        let api = Api::<api::VaultConnection>::namespaced(clients.kube.clone(), namespace);
        let full_name = format!("VaultConnection `{namespace}/{name}`");
        let connection = ask(Peer::Kubernetes, "get the VaultConnection", async {
            let what = format!("get {full_name}");
            read::one::<Value>(&clients.kube, &api, name)
                .await
                .map_err(|error| kubernetes::obstacle(&what, &error))
        })
        .await;
        let found = connection.get().and_then(Option::as_ref);
        let valid = found.and_then(|found| found.pointer("/status/valid")?.as_bool());
        let said = found.filter(|_| valid == Some(false));
        let said = said.and_then(said_of_connection);
        references.push(Reference {
            name: full_name.into(),
            exists: exists(&connection),
            valid,
            said,
        });
    }
    references
}

/// Why the operator calls a VaultConnection invalid, by its first condition that is not met.
fn said_of_connection(connection: &Value) -> Option<Text> {
    let conditions = connection.pointer("/status/conditions")?.as_array()?;
    let unmet = conditions
        .iter()
        .find(|condition| condition["status"] == "False")?;
    Some(unmet["message"].as_str()?.into())
}

fn exists<T>(answer: &Answer<Option<T>>) -> Answer<bool> {
    match answer {
        Answer::NotAsked => Answer::NotAsked,
        Answer::Is(object) => Answer::Is(object.is_some()),
        Answer::Obstructed(obstacle) => Answer::Obstructed(obstacle.clone()),
    }
}

async fn pods(clients: &Clients) -> Result<Vec<Pod>, Obstacle> {
    let api = Api::<CorePod>::namespaced(clients.kube.clone(), &clients.operator.namespace);
    let params = ListParams::default().labels(&clients.operator.pod_selector);
    let what = format!("list pods in `{}`", clients.operator.namespace);
    let mut pods = Vec::new();
    let take = |found: CorePod| {
        if pods.len() < PODS {
            pods.push(found);
        }
    };
    read::each(&clients.kube, &api, &params, false, take)
        .await
        .map_err(|error| kubernetes::obstacle(&what, &error))?;
    // Who may not look at the Lease tells the operator's pods by what they run alone.
    let leases = Api::<Lease>::namespaced(clients.kube.clone(), &clients.operator.namespace);
    let lease = leases.get_opt(LEADER_LEASE).await.ok().flatten();
    let pods = operator::Pods::tell(pods, lease.as_ref().and_then(operator::holder));
    Ok(pods.own.into_iter().map(pod).collect())
}

fn pod(pod: CorePod) -> Pod {
    let status = pod.status.unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let waiting = status
        .container_statuses
        .iter()
        .flatten()
        .find_map(|container| {
            let state = container.state.as_ref()?;
            let waiting = state
                .waiting
                .as_ref()
                .and_then(|waiting| waiting.reason.clone());
            waiting.or_else(|| {
                state
                    .terminated
                    .as_ref()
                    .and_then(|ended| ended.reason.clone())
            })
        });
    let phase = status.phase.unwrap_or_else(|| "Unknown".to_owned());
    let ready_text = if ready { "ready" } else { "not ready" };
    let why = waiting.map(|why| format!(": {why}")).unwrap_or_default();
    Pod {
        name: pod.metadata.name.unwrap_or_default().into(),
        state: format!("{phase}, {ready_text}{why}").into(),
        ready,
    }
}
