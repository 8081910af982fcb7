//! A stand-in for Vault Secrets Operator. A test double: it keeps to what was observed of the real one and can be told to misbehave. It never ships.
//!
//! Start reading in `controller`, then `static_secret`, `dynamic_secret` and `pki_secret`; what can go wrong on demand stands in `faults`.

mod auth;
mod canonical;
mod clients;
mod condition;
mod connection;
mod content;
mod controller;
mod dynamic_secret;
mod faults;
mod horizon;
mod http;
mod kind;
mod memory;
mod metrics;
pub mod options;
mod pki_secret;
mod process;
mod queue;
mod recorder;
mod secret;
mod secrets;
mod session;
mod static_secret;
mod transport;
mod vault;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::reflector;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::{RwLock, mpsc, watch};
use tokio::task::JoinSet;
use vso_prober::operator::api::{
    VaultAuth, VaultConnection, VaultDynamicSecret, VaultPKISecret, VaultStaticSecret,
};

use auth::Auths;
use clients::{Clients, Storage};
use connection::Connections;
use content::MacKey;
use controller::{Caches, Controller};
use dynamic_secret::DynamicSecrets;
use faults::Switchboard;
use kind::{Kind, Writer};
use metrics::Metrics;
use options::Options;
use pki_secret::PkiSecrets;
use recorder::Recorder;
use secrets::{Part, Secrets};
use static_secret::StaticSecrets;

/// The Secret in the operator's namespace that holds the HMACs' key.
const MAC_SECRET: &str = "vso-cc-storage-hmac-key";

/// Runs the stand-in until it is dropped or one of its parts fails.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let faults = Switchboard::default();
    let metrics = Metrics::register(&options).context("metrics")?;
    let client = transport::client(&options, metrics.requests.clone()).await;
    let client = client.context("client to Kubernetes")?;
    let mut tasks = JoinSet::new();
    let health = listen(options.health).await?;
    let scraped = listen(options.metrics).await?;
    tasks.spawn(axum::serve(scraped, http::metrics(metrics.clone())).into_future());

    let workers = options.workers;
    let connections = controller_of::<VaultConnection>(&metrics, &faults, workers);
    let auths = controller_of::<VaultAuth>(&metrics, &faults, workers);
    let statics = controller_of::<VaultStaticSecret>(&metrics, &faults, workers);
    let dynamics = controller_of::<VaultDynamicSecret>(&metrics, &faults, workers);
    let pkis = controller_of::<VaultPKISecret>(&metrics, &faults, workers);
    let (accounts, accounts_writer) = reflector::store();
    let (accounts_synced, secrets_synced) = (watch::Sender::new(false), watch::Sender::new(false));
    let caches = Caches(vec![
        connections.synced(),
        auths.synced(),
        statics.synced(),
        dynamics.synced(),
        pkis.synced(),
        accounts_synced.subscribe(),
        secrets_synced.subscribe(),
    ]);
    let listed = caches.clone();
    let healthy = http::health(faults.clone(), move || listed.synced());
    tasks.spawn(axum::serve(health, healthy).into_future());

    let mac = mac_key(&client, &options.namespace).await;
    let mac = mac.context("key of the HMACs")?;
    let (recorder, events) = Recorder::new(client.clone());
    let (ended, ends) = mpsc::unbounded_channel();
    let clients = Arc::new(Clients {
        client: client.clone(),
        auths: auths.store.clone(),
        connections: connections.store.clone(),
        accounts,
        recorder,
        series: metrics.vault.clone(),
        faults: faults.clone(),
        storage: Storage::of(&options, &client),
        namespace: options.namespace,
        ended,
        gate: RwLock::default(),
        cache: Mutex::default(),
        locks: Mutex::default(),
    });
    let writer = Writer {
        client: client.clone(),
        faults: faults.clone(),
    };
    let of_connections = Connections {
        clients: clients.clone(),
        writer: writer.clone(),
        metrics: metrics.clone(),
    };
    let of_auths = Auths {
        clients: clients.clone(),
        writer: writer.clone(),
        metrics: metrics.clone(),
    };
    let of_statics = StaticSecrets::new(clients.clone(), writer.clone(), mac.clone());
    let pod = options.pod_uid;
    let of_dynamics = DynamicSecrets::new(clients.clone(), writer.clone(), mac.clone(), pod);
    let of_pkis = PkiSecrets::new(clients.clone(), writer, mac, metrics.clone());
    let secrets = Secrets {
        statics: Part::new(&statics, of_statics),
        dynamics: Part::new(&dynamics, of_dynamics),
        pkis: Part::new(&pkis, of_pkis),
    };
    let queues = (
        connections.queue.clone(),
        auths.queue.clone(),
        secrets.clone(),
    );
    metrics.before_gather(move || {
        queues.0.measure();
        queues.1.measure();
        queues.2.measure();
        clients.measure();
    });

    let accounts = controller::watch_accounts(client.clone(), accounts_writer, accounts_synced);
    let of_secrets = secrets
        .clone()
        .run(client.clone(), secrets_synced, ends, faults);
    let run_connections = connections.run(client.clone(), Arc::new(of_connections), caches.clone());
    let run_auths = auths.run(client.clone(), Arc::new(of_auths), caches.clone());
    let run_statics = statics.run(client.clone(), secrets.statics.reconciler, caches.clone());
    let run_dynamics = dynamics.run(client.clone(), secrets.dynamics.reconciler, caches.clone());
    tasks.spawn(endless(events));
    tasks.spawn(endless(accounts));
    tasks.spawn(endless(of_secrets));
    tasks.spawn(endless(run_connections));
    tasks.spawn(endless(run_auths));
    tasks.spawn(endless(run_statics));
    tasks.spawn(endless(run_dynamics));
    tasks.spawn(endless(pkis.run(client, secrets.pkis.reconciler, caches)));
    first_end(tasks).await
}

async fn first_end(mut tasks: JoinSet<std::io::Result<()>>) -> anyhow::Result<()> {
    match tasks.join_next().await {
        Some(Ok(ended)) => ended.context("a part of the stand-in ended"),
        Some(Err(panic)) => Err(panic).context("a part of the stand-in panicked"),
        None => Ok(()),
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))
}

fn controller_of<K: Kind>(metrics: &Metrics, faults: &Switchboard, workers: u16) -> Controller<K> {
    let workers = if K::SYNCS { workers } else { 1 };
    Controller::new(metrics.controller(K::CONTROLLER), faults, workers)
}

async fn endless(part: impl Future<Output = ()>) -> std::io::Result<()> {
    part.await;
    Err(std::io::Error::other("it should run for ever"))
}

/// The key of the HMACs, from its Secret or made anew: after a restart, nothing is written without need.
async fn mac_key(client: &Client, namespace: &str) -> anyhow::Result<MacKey> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let held = |secret: Secret| {
        secret
            .data
            .unwrap_or_default()
            .remove("key")
            .map(|key| MacKey(key.0))
    };
    if let Some(secret) = api.get_opt(MAC_SECRET).await? {
        return held(secret)
            .with_context(|| format!("Secret `{namespace}/{MAC_SECRET}` has no `key`"));
    }
    let key: [u8; 16] = rand::random();
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(MAC_SECRET.into()),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some(BTreeMap::from([("key".into(), ByteString(key.to_vec()))])),
        ..Secret::default()
    };
    held(api.create(&PostParams::default(), &secret).await?)
        .context("the Secret came back without its key")
}
