//! A recording of the canaries from outside the prober: each version of each object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use vso_prober::canary::INSTANCE_LABEL;
use vso_prober::model::Kind;
use vso_prober::operator::api_resource;

use crate::lab::NAMESPACE;

/// How long a watch that was interrupted waits before it starts again.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Seen {
    /// The highest generation of each resource before its deletion.
    generations: BTreeMap<String, i64>,
    /// The values of every key of every Secret.
    values: BTreeMap<String, BTreeSet<String>>,
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Recording {
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Recording {
    pub(super) async fn start(client: &Client) -> Result<Self> {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let mut tasks = JoinSet::new();
        let mut ready = Vec::new();
        for kind in Kind::ALL {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), NAMESPACE, &api_resource(kind));
            let seen = seen.clone();
            ready.push(follow(&mut tasks, api, move |resource: DynamicObject| {
                // To be deleted is a change of the desired state too, though not of the spec.
                if resource.metadata.deletion_timestamp.is_some() {
                    return;
                }
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let highest = seen.generations.entry(resource.name_any()).or_default();
                *highest = (*highest).max(resource.metadata.generation.unwrap_or_default());
            }));
        }
        let api: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        let kept = seen.clone();
        ready.push(follow(&mut tasks, api, move |secret: Secret| {
            let mut seen = kept.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, value) in secret.data.unwrap_or_default() {
                let text = String::from_utf8_lossy(&value.0).into_owned();
                seen.values.entry(key).or_default().insert(text);
            }
        }));
        for mut ready in ready {
            let synced = ready.wait_for(|synced| *synced);
            timeout(Duration::from_secs(20), synced)
                .await
                .context("the recording's watches did not sync")??;
        }
        Ok(Self {
            seen,
            _tasks: tasks,
        })
    }

    /// The highest generation that a resource had before its deletion.
    pub fn generation(&self, name: &str) -> Option<i64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.generations.get(name).copied()
    }

    /// Every value that any key of any Secret had.
    pub fn all_values(&self) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values.values().flatten().cloned().collect()
    }

    /// Every value that this key of any Secret had.
    pub fn values(&self, key: &str) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values.get(key).cloned().unwrap_or_default()
    }
}

fn follow<K>(
    tasks: &mut JoinSet<()>,
    api: Api<K>,
    note: impl Fn(K) + Send + 'static,
) -> watch::Receiver<bool>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (synced, ready) = watch::channel(false);
    tasks.spawn(async move {
        let config = watcher::Config::default().labels(INSTANCE_LABEL);
        let mut events = pin!(watcher(api, config));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                    note(object);
                }
                Ok(Event::InitDone) => {
                    synced.send_replace(true);
                }
                Ok(Event::Init) => {}
                // The watcher starts again by itself, at once: one that never waits can't be ended either.
                Err(error) => {
                    tracing::debug!("the recording was interrupted: {error}");
                    sleep(AGAIN).await;
                }
            }
        }
    });
    ready
}
