//! A bare watch: two requests whose lines are stamped at receipt, and nothing else is done. No prober can be closer.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use e2e::lab::NAMESPACE;
use futures::{AsyncBufReadExt as _, StreamExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Measured;

/// The lines of a watch, each with the moment of its receipt.
type Lines = Arc<Mutex<Vec<(Instant, String)>>>;

/// The watches, under way.
pub(crate) struct BareWatch {
    resources: Lines,
    secrets: Lines,
    _readers: JoinSet<()>,
}

impl BareWatch {
    /// Opens them.
    pub(crate) async fn start(kubeconfig: &Path) -> Result<Self> {
        let config = Kubeconfig::read_from(kubeconfig)?;
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(config, &options).await?;
        // A watch may have nothing to say for long.
        config.read_timeout = None;
        let client = Client::try_from(config)?;
        let mut readers = JoinSet::new();
        let group = format!("/apis/secrets.hashicorp.com/v1beta1/namespaces/{NAMESPACE}");
        let resources = open(
            &client,
            &format!("{group}/vaultstaticsecrets"),
            &mut readers,
        )
        .await?;
        let core = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        let secrets = open(&client, &core, &mut readers).await?;
        Ok(Self {
            resources,
            secrets,
            _readers: readers,
        })
    }

    /// Closes them: by name, from the one's addition to the other's.
    pub(crate) fn stop(self) -> Measured {
        let (asked, made) = (added(&self.resources), added(&self.secrets));
        let both = asked.into_iter().filter_map(|(name, from)| {
            let seconds = made.get(&name)?.duration_since(from).as_secs_f64();
            Some((name, seconds))
        });
        both.collect()
    }
}

async fn open(client: &Client, path: &str, readers: &mut JoinSet<()>) -> Result<Lines> {
    let request = http::Request::get(format!("{path}?watch=1&timeoutSeconds=3600"));
    let stream = client
        .request_stream(request.body(Vec::new())?)
        .await
        .with_context(|| format!("tried to watch {path}"))?;
    let lines = Lines::default();
    let kept = lines.clone();
    readers.spawn(async move {
        let mut stream = pin!(stream.lines());
        while let Some(Ok(line)) = stream.next().await {
            let at = Instant::now();
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push((at, line));
        }
    });
    Ok(lines)
}

/// By name, when each was first seen.
fn added(lines: &Lines) -> BTreeMap<String, Instant> {
    let mut first = BTreeMap::new();
    for (at, line) in &*lines.lock().unwrap_or_else(PoisonError::into_inner) {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        if event["type"] == "ADDED"
            && let Some(name) = event["object"]["metadata"]["name"].as_str()
        {
            first.entry(name.to_owned()).or_insert(*at);
        }
    }
    first
}
