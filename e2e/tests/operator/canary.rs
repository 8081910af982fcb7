//! A canary under test: its resource and its Secret, watched from before it is created.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::lab::{Lab, NAMESPACE};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use vso_prober::operator::api::{
    Condition, VaultAuth, VaultConnection, VaultDynamicSecret, VaultStaticSecret,
};

use crate::Bench;

/// Something seen on a watch.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    /// `CR` or `Secret`.
    pub(crate) what: &'static str,
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub(crate) verb: &'static str,
    /// When, here.
    pub(crate) at: Instant,
    /// When, in etcd: orders what two watches saw.
    pub(crate) revision: u64,
    /// The object.
    pub(crate) object: Value,
}

/// A canary, its watches, and its traces.
pub(crate) struct Canary {
    /// The lab.
    pub(crate) lab: Arc<Lab>,
    /// The name of everything that belongs to it.
    pub(crate) name: String,
    /// Its resources.
    pub(crate) resources: Api<DynamicObject>,
    /// Secrets.
    pub(crate) secrets: Api<Secret>,
    kind: ApiResource,
    seen: Arc<Mutex<Vec<Sighting>>>,
}

impl Canary {
    /// A static canary, not yet created.
    pub(crate) async fn fixed(bench: &Bench, word: &str) -> Result<Self> {
        Self::new(bench, ApiResource::erase::<VaultStaticSecret>(&()), word).await
    }

    /// A dynamic canary, not yet created.
    pub(crate) async fn dynamic(bench: &Bench, word: &str) -> Result<Self> {
        Self::new(bench, ApiResource::erase::<VaultDynamicSecret>(&()), word).await
    }

    /// A `VaultAuth`.
    pub(crate) async fn auth(bench: &Bench, word: &str) -> Result<Self> {
        Self::new(bench, ApiResource::erase::<VaultAuth>(&()), word).await
    }

    /// A `VaultConnection`.
    pub(crate) async fn connection(bench: &Bench, word: &str) -> Result<Self> {
        Self::new(bench, ApiResource::erase::<VaultConnection>(&()), word).await
    }

    async fn new(bench: &Bench, kind: ApiResource, word: &str) -> Result<Self> {
        let client = bench.lab.client();
        let name = format!("{word}-{:08x}", rand::random::<u32>());
        let resources: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        let seen = Arc::default();
        let secret_kind = ApiResource::erase::<Secret>(&());
        watch("CR", resources.clone(), &name, &seen).await?;
        watch(
            "Secret",
            Api::namespaced_with(client, NAMESPACE, &secret_kind),
            &name,
            &seen,
        )
        .await?;
        Ok(Self {
            lab: bench.lab.clone(),
            name,
            resources,
            secrets,
            kind,
            seen,
        })
    }

    /// The path of its secret under a KV mount.
    pub(crate) fn path(&self) -> String {
        format!("vso-prober/{}", self.name)
    }

    /// Writes its secret in KV v2.
    pub(crate) async fn put(&self, value: &str) -> Result<()> {
        let path = format!("kvv2/data/{}", self.path());
        self.lab
            .vault()
            .write(&path, json!({"data": {"nonce": value}}))
            .await
            .map(drop)
    }

    /// The spec of a static canary as most people write it.
    pub(crate) fn minimal_static(&self, refresh: &str) -> Value {
        json!({"vaultAuthRef": "probe", "mount": "kvv2", "type": "kv-v2", "path": self.path(), "refreshAfter": refresh,
            "destination": {"name": self.name, "create": true}})
    }

    /// The spec of a static canary as the operator writes it.
    pub(crate) fn canonical_static(&self, refresh: &str) -> Value {
        json!({"vaultAuthRef": "probe", "mount": "kvv2", "type": "kv-v2", "path": self.path(), "refreshAfter": refresh,
            "hmacSecretData": true, "destination": {"name": self.name, "create": true, "overwrite": false, "transformation": {}}})
    }

    /// The spec of a dynamic canary as most people write it.
    pub(crate) fn minimal_dynamic(&self, role: &str) -> Value {
        json!({"vaultAuthRef": "probe", "mount": "database", "path": format!("creds/{role}"), "revoke": false,
            "destination": {"name": self.name, "create": true}})
    }

    /// The spec of a dynamic canary as the operator writes it.
    pub(crate) fn canonical_dynamic(&self, role: &str) -> Value {
        json!({"vaultAuthRef": "probe", "mount": "database", "path": format!("creds/{role}"), "renewalPercent": 67,
            "destination": {"name": self.name, "create": true, "overwrite": false, "transformation": {}}})
    }

    /// Creates the resource.
    pub(crate) async fn create(&self, spec: Value) -> Result<Instant> {
        let object = DynamicObject::new(&self.name, &self.kind).data(json!({"spec": spec}));
        let at = Instant::now();
        self.resources
            .create(&PostParams::default(), &object)
            .await?;
        Ok(at)
    }

    /// Merges into the resource.
    pub(crate) async fn patch(&self, patch: Value) -> Result<()> {
        self.resources
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Deletes the resource.
    pub(crate) async fn delete(&self) -> Result<()> {
        self.resources
            .delete(&self.name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The resource as it is.
    pub(crate) async fn get(&self) -> Result<Value> {
        Ok(serde_json::to_value(self.resources.get(&self.name).await?)?)
    }

    /// Everything seen so far, as etcd ordered it.
    pub(crate) fn seen(&self) -> Vec<Sighting> {
        let mut seen = self.seen.lock().expect("no holder panics").clone();
        seen.sort_by_key(|sighting| sighting.revision);
        seen
    }

    /// Waits for a sighting.
    pub(crate) async fn see(
        &self,
        what: &str,
        within: f64,
        wanted: impl Fn(&Sighting) -> bool,
    ) -> Result<Sighting> {
        until(what, within, async || {
            Ok(self.seen().into_iter().find(&wanted))
        })
        .await
        .with_context(|| format!("seen was {:?}", self.summary()))
    }

    /// Waits until its Secret holds that nonce.
    pub(crate) async fn see_nonce(&self, value: &str, within: f64) -> Result<Sighting> {
        let wanted = encoded(value);
        let has = move |s: &Sighting| {
            s.what == "Secret" && s.verb != "DELETED" && s.object["data"]["nonce"] == wanted
        };
        self.see(&format!("the Secret with `{value}`"), within, has)
            .await
    }

    /// Waits until the condition holds or not, with a message that has the words.
    pub(crate) async fn see_condition(
        &self,
        type_: &str,
        holds: bool,
        words: &str,
        within: f64,
    ) -> Result<Condition> {
        let found = async || {
            let conditions = conditions(&self.get().await?);
            let wanted = if holds { "True" } else { "False" };
            let fits =
                |c: &Condition| c.type_ == type_ && c.status == wanted && c.message.contains(words);
            Ok(conditions.into_iter().find(fits))
        };
        let what = format!("condition {type_} {holds} with `{words}`");
        let result = until(&what, within, found).await;
        match result {
            Ok(condition) => Ok(condition),
            Err(error) => bail!("{error:#}; the resource is {}", self.get().await?),
        }
    }

    /// Its events so far: type, reason, source, count, message.
    pub(crate) async fn events(&self) -> Result<Vec<Told>> {
        let api: Api<Event> = Api::namespaced(self.lab.client(), NAMESPACE);
        let fields = format!("involvedObject.name={}", self.name);
        let mut events = api
            .list(&ListParams::default().fields(&fields))
            .await?
            .items;
        events.sort_by_key(|event| event.first_timestamp.clone());
        Ok(events.into_iter().map(Told::from).collect())
    }

    /// Waits for an event of that reason whose message has the words.
    pub(crate) async fn see_event(&self, reason: &str, words: &str, within: f64) -> Result<Told> {
        let found = async || {
            let events = self.events().await?;
            Ok(events
                .into_iter()
                .find(|told| told.reason == reason && told.message.contains(words)))
        };
        match until(&format!("event {reason} with `{words}`"), within, found).await {
            Ok(told) => Ok(told),
            Err(error) => bail!("{error:#}; events are {:?}", self.events().await?),
        }
    }

    /// What was seen, in short.
    pub(crate) fn summary(&self) -> Vec<String> {
        let line = |s: &Sighting| {
            format!(
                "{} {} gen={} at {:?}",
                s.what, s.verb, s.object["metadata"]["generation"], s.at
            )
        };
        self.seen().iter().map(line).collect()
    }

    /// The leases that Vault holds for the usernames its Secret ever had.
    pub(crate) async fn live_leases(&self, role: &str) -> Result<Vec<String>> {
        self.lab
            .vault()
            .list(&format!("sys/leases/lookup/database/creds/{role}"))
            .await
    }

    /// The Secret as it is.
    pub(crate) async fn secret(&self) -> Result<Option<Secret>> {
        Ok(self.secrets.get_opt(&self.name).await?)
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// Whether it is a warning.
    pub(crate) warning: bool,
    /// Its reason.
    pub(crate) reason: String,
    /// Who said it.
    pub(crate) source: String,
    /// How often.
    pub(crate) count: i32,
    /// Its message.
    pub(crate) message: String,
}

impl From<Event> for Told {
    fn from(event: Event) -> Self {
        Self {
            warning: event.type_.as_deref() == Some("Warning"),
            reason: event.reason.unwrap_or_default(),
            source: event
                .source
                .unwrap_or_default()
                .component
                .unwrap_or_default(),
            count: event.count.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        }
    }
}

/// The conditions of a resource.
pub(crate) fn conditions(resource: &Value) -> Vec<Condition> {
    serde_json::from_value(resource["status"]["conditions"].clone()).unwrap_or_default()
}

/// Base64, as in a Secret.
pub(crate) fn encoded(text: &str) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).expect("plain data")
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T: Debug>(
    what: &str,
    within: f64,
    ask: impl AsyncFn() -> Result<Option<T>>,
) -> Result<T> {
    let limit = Duration::from_secs_f64(within);
    let asked = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(limit, asked)
        .await
        .with_context(|| format!("{what}: not within {limit:?}"))?
}

/// A sighting that is waited for, and what to call it.
pub(crate) type Wanted<'a> = (&'a str, &'a dyn Fn(&Sighting) -> bool);

/// Asserts an order of sightings; others may stand between.
pub(crate) fn in_order(seen: &[Sighting], wanted: &[Wanted<'_>]) -> Result<Vec<Sighting>> {
    let mut rest = seen.iter();
    let mut found = Vec::new();
    for (what, fits) in wanted {
        match rest.by_ref().find(|sighting| fits(sighting)) {
            Some(sighting) => found.push(sighting.clone()),
            None => bail!("`{what}` is missing or out of order in {seen:#?}"),
        }
    }
    Ok(found)
}

async fn watch(
    what: &'static str,
    api: Api<DynamicObject>,
    name: &str,
    seen: &Arc<Mutex<Vec<Sighting>>>,
) -> Result<()> {
    let from = api.list(&ListParams::default().limit(1)).await?;
    let from = from
        .metadata
        .resource_version
        .context("a list has a resource version")?;
    ensure!(!from.is_empty(), "a list has a resource version");
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let events = api.watch(&parameters, &from).await?;
    let seen = seen.clone();
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            let (verb, object) = match event {
                WatchEvent::Added(object) => ("ADDED", object),
                WatchEvent::Modified(object) => ("MODIFIED", object),
                WatchEvent::Deleted(object) => ("DELETED", object),
                _ => continue,
            };
            let revision = object
                .resource_version()
                .and_then(|text| text.parse().ok())
                .unwrap_or_default();
            let object = serde_json::to_value(object).unwrap_or_default();
            let sighting = Sighting {
                what,
                verb,
                at: Instant::now(),
                revision,
                object,
            };
            seen.lock().expect("no holder panics").push(sighting);
        }
    });
    Ok(())
}
