//! A stand-in for Vault Secrets Operator. A test double: it keeps to what was observed of the real one and can be told to misbehave. It never ships.
//!
//! Start reading in [`controller`], then [`static_secret`] and [`dynamic_secret`]; what can go wrong on demand stands in [`faults`].

pub mod auth;
pub mod canonical;
pub mod clients;
pub mod condition;
pub mod connection;
pub mod content;
pub mod controller;
pub mod dynamic_secret;
pub mod faults;
pub mod horizon;
pub mod http;
pub mod kind;
pub mod metrics;
pub mod options;
pub mod process;
pub mod queue;
pub mod recorder;
pub mod secret;
pub mod secrets;
pub mod session;
pub mod static_secret;
pub mod transport;
pub mod vault;

use std::collections::{BTreeMap, HashMap};
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
    VaultAuth, VaultConnection, VaultDynamicSecret, VaultStaticSecret,
};

use auth::Auths;
use clients::Clients;
use connection::Connections;
use content::MacKey;
use controller::Controller;
use dynamic_secret::DynamicSecrets;
use faults::Switchboard;
use kind::{Kind, Writer};
use metrics::Metrics;
use options::Options;
use recorder::Recorder;
use secrets::Secrets;
use static_secret::StaticSecrets;

/// The Secret in the operator's namespace that holds the HMACs' key.
const MAC_SECRET: &str = "vso-cc-storage-hmac-key";

/// Runs the stand-in until it is dropped or one of its parts fails.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let faults = Switchboard::default();
    let metrics = Metrics::register().context("metrics")?;
    let client = transport::client(&options, metrics.requests.clone())
        .await
        .context("client to Kubernetes")?;
    let health = TcpListener::bind(options.health)
        .await
        .with_context(|| format!("listen on {}", options.health))?;
    let scraped = TcpListener::bind(options.metrics)
        .await
        .with_context(|| format!("listen on {}", options.metrics))?;

    let auths = controller_of::<VaultAuth>(&metrics, &faults);
    let connections = controller_of::<VaultConnection>(&metrics, &faults);
    let statics = controller_of::<VaultStaticSecret>(&metrics, &faults);
    let dynamics = controller_of::<VaultDynamicSecret>(&metrics, &faults);
    let secrets_synced = watch::Sender::new(false);
    let accounts_synced = watch::Sender::new(false);
    let (accounts, accounts_writer) = reflector::store();
    let synced = [
        auths.synced(),
        connections.synced(),
        statics.synced(),
        dynamics.synced(),
        secrets_synced.subscribe(),
        accounts_synced.subscribe(),
    ];
    let ready = move || synced.iter().all(|synced| *synced.borrow());

    let mut tasks = JoinSet::new();
    tasks.spawn(axum::serve(health, http::health(faults.clone(), ready)).into_future());
    tasks.spawn(axum::serve(scraped, http::metrics(metrics.clone())).into_future());

    let mac = mac_key(&client, &options.namespace)
        .await
        .context("key of the HMACs")?;
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
        namespace: options.namespace.clone(),
        ended,
        gate: RwLock::new(()),
        cache: Mutex::new(HashMap::new()),
        locks: Mutex::new(HashMap::new()),
    });
    let writer = Writer {
        client: client.clone(),
        faults: faults.clone(),
    };
    let static_secrets = Arc::new(StaticSecrets {
        clients: clients.clone(),
        writer: writer.clone(),
        mac,
        memory: Mutex::default(),
    });
    let dynamic_secrets = Arc::new(DynamicSecrets {
        clients: clients.clone(),
        writer: writer.clone(),
        pod_uid: options.pod_uid.clone(),
        memory: Mutex::default(),
    });
    let secrets = Secrets {
        statics: (
            statics.store.clone(),
            statics.queue.clone(),
            static_secrets.clone(),
        ),
        dynamics: (
            dynamics.store.clone(),
            dynamics.queue.clone(),
            dynamic_secrets.clone(),
        ),
    };
    metrics.before_gather({
        let (secrets, clients, length) = (
            secrets.clone(),
            clients.clone(),
            metrics.vault.length.clone(),
        );
        let (auths, connections) = (auths.queue.clone(), connections.queue.clone());
        move || {
            length.set(f64::from(
                u32::try_from(clients.count()).unwrap_or(u32::MAX),
            ));
            (
                auths.measure(),
                connections.measure(),
                secrets.statics.1.measure(),
                secrets.dynamics.1.measure(),
            );
        }
    });

    tasks.spawn(endless(events));
    tasks.spawn(endless(secrets.clone().wake_users(ends)));
    tasks.spawn(endless(secrets.clone().reconsider(faults.clone())));
    tasks.spawn(endless(secrets.rewrite(faults)));
    tasks.spawn(endless(controller::wake_owners(
        client.clone(),
        statics.queue.clone(),
        dynamics.queue.clone(),
        secrets_synced,
    )));
    tasks.spawn(endless(controller::watch_accounts(
        client.clone(),
        accounts_writer,
        accounts_synced,
    )));
    let (of_connections, of_auths) = (
        Connections {
            clients: clients.clone(),
            writer: writer.clone(),
            metrics: metrics.clone(),
        },
        Auths {
            clients,
            writer,
            metrics,
        },
    );
    tasks.spawn(endless(
        connections.run(client.clone(), Arc::new(of_connections)),
    ));
    tasks.spawn(endless(auths.run(client.clone(), Arc::new(of_auths))));
    tasks.spawn(endless(statics.run(client.clone(), static_secrets)));
    tasks.spawn(endless(dynamics.run(client, dynamic_secrets)));
    match tasks.join_next().await {
        Some(ended) => ended
            .context("a part of the stand-in panicked")?
            .context("a part of the stand-in ended"),
        None => Ok(()),
    }
}

fn controller_of<K: Kind>(metrics: &Metrics, faults: &Switchboard) -> Controller<K> {
    Controller::new(metrics.controller(K::CONTROLLER), faults)
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
