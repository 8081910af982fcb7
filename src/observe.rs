//! The watches, one for each kind whatever the number of canaries: they stamp the instant at receipt and hand each
//! canary its own sightings.

mod certificate;
mod event;
mod follow;
mod pulse;
mod read;
mod shared;
mod source;
mod watched;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::canary::{self, Canary};
use crate::health::Health;
use crate::model::Kind;
use crate::model::record::{Obstacle, Peer};
use crate::model::timeline::{Seen, Sighting};
use crate::operator::api::{VaultDynamicSecret, VaultPKISecret, VaultStaticSecret};
use crate::wire;

pub use certificate::Inspector;
pub use read::secret_content;
use shared::{SIGHTINGS, Shared, Subscriber, over};
use watched::Watched;

/// The watches. Dropping it ends them.
pub struct Observer {
    shared: Arc<Shared>,
    states: Vec<watch::Receiver<State>>,
    tasks: JoinSet<()>,
    health: Health,
}

/// What one canary is told. Dropping it ends the telling.
pub struct Subscription {
    sightings: mpsc::UnboundedReceiver<Sighting>,
    shared: Arc<Shared>,
    name: String,
}

/// Tells every canary under way of what concerns them all.
#[derive(Clone)]
pub struct Broadcast(Arc<Shared>);

impl Broadcast {
    /// Whether any canary is under way.
    pub fn wanted(&self) -> bool {
        !self.0.lock().canaries.is_empty()
    }

    /// Tells them.
    pub fn tell(&self, at: Instant, what: &Seen) {
        self.0.tell_all(at, what);
    }
}

#[derive(Clone)]
enum State {
    /// Not open yet, and what came back instead the last time, if something did.
    Starting(Option<Obstacle>),
    Synced,
    Refused(Obstacle),
}

impl Observer {
    /// Opens a watch for Secrets, and for each of `kinds`, in this namespace and of this instance.
    ///
    /// What watches must not end: `health` is told if it does, and so is every canary.
    pub fn start(
        client: &Client,
        namespace: &str,
        instance: &str,
        kinds: &HashSet<Kind>,
        health: &Health,
    ) -> Self {
        let mut observer = Self {
            shared: Arc::default(),
            states: Vec::new(),
            tasks: JoinSet::new(),
            health: health.clone(),
        };
        let selector = canary::selector(instance);
        let (client, broadcast) = (client.clone(), observer.broadcast());
        observer.watch::<Secret>(&client, namespace, &selector, None);
        for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
            let watch = match kind {
                Kind::Static => Self::watch::<VaultStaticSecret>,
                Kind::Dynamic => Self::watch::<VaultDynamicSecret>,
                Kind::Pki => Self::watch::<VaultPKISecret>,
            };
            watch(&mut observer, &client, namespace, &selector, Some(kind));
        }
        let own = pulse::own(observer.shared.clone());
        observer.keep("the prober's own pulse", own);
        observer.keep(
            "the API server's pulse",
            pulse::of_server(client, broadcast),
        );
        observer
    }

    /// Has work done for as long as this lives. If it ends before, no canary is told anything any more: what is not
    /// seen then is nobody's fault.
    pub fn keep(&mut self, who: &str, work: impl Future<Output = ()> + Send + 'static) {
        let (shared, who) = (self.shared.clone(), who.to_owned());
        let kept = self.health.clone().keep(who.clone(), || false, work);
        self.tasks.spawn(async move {
            kept.await;
            shared.end(&who);
        });
    }

    /// Opens a watch.
    fn watch<K>(&mut self, client: &Client, namespace: &str, selector: &str, kind: Option<Kind>)
    where
        K: Watched + kube::Resource<Scope = NamespaceResourceScope>,
    {
        let (sender, state) = watch::channel(State::Starting(None));
        self.states.push(state);
        let what = kind.map_or("Secrets", Kind::resource);
        let api = Api::<K>::namespaced(client.clone(), namespace);
        let shared = self.shared.clone();
        let client = client.clone();
        let followed = follow::follow(client, api, selector.to_owned(), what, shared, sender);
        self.keep(&format!("the watch on {what}"), followed);
    }

    /// Waits until every watch is open and synced.
    ///
    /// # Errors
    /// The API server refuses one of them, or not all are open within `limit`, or one has stopped.
    pub async fn synced(&self, limit: Duration) -> Result<(), Obstacle> {
        let all = async {
            for state in &self.states {
                let mut state = state.clone();
                let reached = state
                    .wait_for(|state| !matches!(state, State::Starting(_)))
                    .await;
                if let Ok(State::Refused(obstacle)) = reached.as_deref() {
                    return Err(obstacle.clone());
                }
            }
            self.shared.lock().over.clone().map_or(Ok(()), Err)
        };
        tokio::time::timeout(limit, all)
            .await
            .unwrap_or_else(|_| Err(self.unopened(limit)))
    }

    /// Why not all watches were open within `limit`.
    fn unopened(&self, limit: Duration) -> Obstacle {
        let met = self.states.iter().find_map(|state| match &*state.borrow() {
            State::Starting(met) => met.clone(),
            State::Synced | State::Refused(_) => None,
        });
        let Some(met) = met else {
            return wire::silence(Peer::Kubernetes, "open the watches", limit);
        };
        let text = format!("{}; tried again for {:.1} s", met.text, limit.as_secs_f64());
        Obstacle {
            text: text.into(),
            ..met
        }
    }

    /// Tells of everything seen of this canary from now on, timed from `epoch`.
    pub fn subscribe(&self, canary: &Canary, epoch: Instant) -> Subscription {
        let (sender, sightings) = mpsc::unbounded_channel();
        let subscriber = Subscriber {
            kind: canary.kind(),
            salt: canary.salt(),
            epoch,
            sightings: sender,
            last: None,
            secret: None,
            left: SIGHTINGS,
            inspector: None,
        };
        let mut inner = self.shared.lock();
        if inner.over.is_none() {
            inner.canaries.insert(canary.name.clone(), subscriber);
        }
        drop(inner);
        Subscription {
            sightings,
            shared: self.shared.clone(),
            name: canary.name.clone(),
        }
    }

    /// What tells every canary of what concerns them all.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast(self.shared.clone())
    }

    /// Whether another canary of this kind was reconciled after `since`.
    pub fn others_reconciled(&self, canary: &Canary, since: Instant) -> bool {
        self.shared
            .lock()
            .reconciles
            .iter()
            .any(|(kind, name, at)| *kind == canary.kind() && *name != canary.name && *at > since)
    }
}

impl Subscription {
    /// Has the certificates in the canary's Secret looked at from now on.
    pub fn inspect(&self, inspector: Arc<Inspector>) {
        if let Some(subscriber) = self.shared.lock().canaries.get_mut(&self.name) {
            subscriber.inspector = Some(inspector);
        }
    }

    /// The next sighting.
    ///
    /// # Errors
    /// Whoever should tell has stopped: there will be no other.
    pub async fn next(&mut self) -> Result<Sighting, Obstacle> {
        match self.sightings.recv().await {
            Some(sighting) => Ok(sighting),
            None => Err(match self.shared.lock().over.clone() {
                Some(obstacle) => obstacle,
                None => over("the events about this canary"),
            }),
        }
    }

    /// The next sighting that is there already.
    pub fn ready(&mut self) -> Option<Sighting> {
        self.sightings.try_recv().ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.lock().canaries.remove(&self.name);
    }
}
