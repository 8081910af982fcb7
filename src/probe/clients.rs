//! The clients and watches that every run of the program shares.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};

use crate::canary::Cluster;
use crate::config::{self, Config};
use crate::health::Health;
use crate::janitor;
use crate::kubernetes;
use crate::model::Kind;
use crate::model::name::ObjectRef;
use crate::model::record::{Obstacle, VaultHealth};
use crate::model::timeline::Seen;
use crate::observe::Observer;
use crate::scrape::Source;
use crate::vault::Vault;
use crate::wire::absence;

/// How long one question beside the stimuli may take, of the API server or of Vault: a healthy one answers within a tenth of
/// that, and a step's own timeout is mostly longer.
pub(super) const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// The clients, the watches, and what is known of the operator.
pub struct Clients {
    /// The API server.
    pub kube: kube::Client,
    /// Vault.
    pub vault: Arc<Vault>,
    /// The watches.
    pub observer: Observer,
    /// The namespace of the canaries.
    pub namespace: String,
    /// Where the operator runs.
    pub operator: config::Operator,
    /// Where the operator's metrics are read.
    pub metrics: Source,
    /// How many objects were told last to bear the canaries' label without being any.
    pub strangers: AtomicUsize,
    /// The cluster of the canaries, once it has been asked for.
    cluster: OnceCell<Cluster>,
    /// The VaultConnection behind each VaultAuth that was asked for.
    pub(super) connections: Mutex<HashMap<ObjectRef, ObjectRef>>,
}

impl Clients {
    /// Makes the clients and opens the watches that these probes need. Does not wait for them. `health` is told of
    /// a task that stops.
    ///
    /// # Errors
    /// The prober's own configuration of Kubernetes or Vault can't be used.
    pub async fn open(
        config: &Config,
        kinds: &HashSet<Kind>,
        health: &Health,
    ) -> Result<Self, Obstacle> {
        let kube = kubernetes::connect(&config.kubernetes).await?;
        Self::with(kube, config, kinds, health).await
    }

    /// As [`Self::open`], with a client for the API server that is there already.
    ///
    /// # Errors
    /// The prober's own configuration of Vault can't be used.
    pub async fn with(
        kube: kube::Client,
        config: &Config,
        kinds: &HashSet<Kind>,
        health: &Health,
    ) -> Result<Self, Obstacle> {
        let vault = Arc::new(Vault::open(&config.vault).await?);
        let namespace = config.kubernetes.namespace.clone();
        let mut observer = Observer::start(&kube, &namespace, &config.instance, kinds, health);
        let metrics = Source::new(config, &kube);
        let listener = listen(vault.clone(), &observer);
        observer.keep("the health check of Vault", listener);
        let session = vault.clone();
        observer.keep("the renewal of the token for Vault", async move {
            session.keep_alive().await;
        });
        Ok(Self {
            kube,
            vault,
            observer,
            namespace,
            operator: config.operator.clone(),
            metrics,
            strangers: AtomicUsize::default(),
            cluster: OnceCell::default(),
            connections: Mutex::default(),
        })
    }

    /// The cluster of the canaries.
    ///
    /// # Errors
    /// The API server does not tell. The next call asks again.
    pub async fn cluster(&self) -> Result<&Cluster, Obstacle> {
        let ask = || janitor::cluster(&self.kube, &self.namespace);
        self.cluster.get_or_try_init(ask).await
    }
}

/// Tells the canaries when Vault gives no sign of life, or is sealed: an outage may be over before anyone asks.
fn listen(vault: Arc<Vault>, observer: &Observer) -> impl Future<Output = ()> + use<> {
    let broadcast = observer.broadcast();
    let wanted = broadcast.clone();
    let ask = move || {
        let vault = vault.clone();
        async move {
            match vault.health().await {
                Ok(VaultHealth::Sealed) => Some(Seen::VaultSealed as absence::Kind),
                Ok(VaultHealth::Active | VaultHealth::Other(_)) => None,
                Err(_) => Some(Seen::VaultSilence as absence::Kind),
            }
        }
    };
    let tell = move |at, what| broadcast.tell(at, &what);
    absence::listen(Seen::VaultSilence, move || wanted.wanted(), ask, tell)
}
