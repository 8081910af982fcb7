//! The watches, one for each kind whatever the number of canaries: they stamp the instant at receipt and hand each
//! canary its own sightings.

mod certificate;
mod event;
mod follow;
mod pulse;
mod read;
mod source;
mod watched;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::{Client, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::canary::{self, Canary, Salt};
use crate::health::Health;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::text::Text;
use crate::model::timeline::{Content, Resource, Seen, Sighting};
use crate::model::{Kind, Mark};
use crate::operator::api::{VaultDynamicSecret, VaultPKISecret, VaultStaticSecret};
use crate::wire;

pub use certificate::Inspector;
use event::Others;
pub use read::secret_content;
use watched::Watched;

/// How many reconciles are remembered, to tell whether others than one canary were served.
const REMEMBERED: usize = 256;

/// How many sightings of its objects a canary is told: so much befalls none that nobody plays with.
const SIGHTINGS: usize = 4096;

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

#[derive(Default)]
struct Shared(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    canaries: HashMap<String, Subscriber>,
    /// The latest reconciles: of which kind, of which canary, when.
    reconciles: VecDeque<(Kind, String, Instant)>,
    /// Why no canary is told anything any more: whoever should tell has stopped.
    over: Option<Obstacle>,
}

struct Subscriber {
    kind: Kind,
    salt: Salt,
    epoch: Instant,
    sightings: mpsc::UnboundedSender<Sighting>,
    last: Option<Resource>,
    /// The Secret as it was told last.
    secret: Option<(String, Content)>,
    /// How many more sightings are told of its objects.
    left: usize,
    /// Looks at the certificates, where there are some.
    inspector: Option<Arc<Inspector>>,
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets every canary know that whoever should tell it has stopped.
    fn end(&self, who: &str) {
        let mut inner = self.lock();
        inner.over.get_or_insert_with(|| over(who));
        inner.canaries.clear();
    }

    /// Whether a canary of this name is under way.
    fn awaits(&self, name: &str) -> bool {
        self.lock().canaries.contains_key(name)
    }

    /// The names of the canaries under way.
    fn under_way(&self) -> HashSet<String> {
        self.lock().canaries.keys().cloned().collect()
    }

    /// Tells one canary, if it is subscribed.
    fn tell(&self, name: &str, at: Instant, relisted: bool, what: Seen) {
        if let Some(subscriber) = self.lock().canaries.get_mut(name) {
            subscriber.tell(at, relisted, what);
        }
    }

    /// Tells a canary of its Secret, of the certificate in it, and of who else has a hand in it.
    fn tell_secret(&self, secret: &Secret, at: Instant, relisted: bool, others: Others) {
        let name = secret.name_any();
        let wanted = |inner: &Inner| {
            let subscriber = inner.canaries.get(&name)?;
            Some((subscriber.salt, subscriber.inspector.clone()))
        };
        // What takes long is done outside the lock, which everybody waits for.
        let Some((salt, inspector)) = wanted(&self.lock()) else {
            return;
        };
        let (uid, content) = secret_content(secret, salt);
        let certificate = inspector.map(|inspector| inspector.certificate(secret, at));
        let mut inner = self.lock();
        let Some(subscriber) = inner.canaries.get_mut(&name) else {
            return;
        };
        let now = (uid, content);
        let same = subscriber.secret.as_ref() == Some(&now);
        if let Some(by) = others.holder {
            subscriber.tell(at, relisted, Seen::SecretHeld(by));
        }
        if let Some(by) = others.toucher.filter(|_| same && !relisted) {
            return subscriber.tell(at, relisted, Seen::SecretTouched(by));
        }
        let (uid, content) = now.clone();
        subscriber.secret = Some(now);
        subscriber.tell(at, relisted, Seen::Secret { uid, content });
        if let Some(certificate) = certificate {
            subscriber.tell(at, relisted, Seen::Certificate(certificate));
        }
    }

    /// Tells the canaries of a kind, or all, that a watch missed something.
    fn lost(&self, kind: Option<Kind>, why: &Text) {
        let at = Instant::now();
        for subscriber in self.lock().canaries.values_mut() {
            if kind.is_none_or(|kind| kind == subscriber.kind) {
                subscriber.send(at, false, Seen::WatchLost(why.clone()));
            }
        }
    }

    /// Tells one canary so.
    fn lost_one(&self, name: &str, why: Text) {
        self.tell(name, Instant::now(), false, Seen::WatchLost(why));
    }

    fn tell_all(&self, at: Instant, what: &Seen) {
        for subscriber in self.lock().canaries.values_mut() {
            subscriber.send(at, false, what.clone());
        }
    }

    /// Tells a canary of its resource, and remembers whether it was reconciled.
    fn tell_resource(&self, kind: Kind, name: &str, at: Instant, relisted: bool, now: Resource) {
        let mut inner = self.lock();
        let Inner {
            canaries,
            reconciles,
            over: _,
        } = &mut *inner;
        let Some(subscriber) = canaries.get_mut(name) else {
            return;
        };
        let reconciled = now.healthy.is_some()
            && subscriber
                .last
                .as_ref()
                .is_none_or(|last| last.healthy != now.healthy);
        if reconciled {
            reconciles.push_back((kind, name.to_owned(), at));
            if reconciles.len() > REMEMBERED {
                reconciles.pop_front();
            }
        }
        subscriber.last = Some(now.clone());
        subscriber.tell(at, relisted, Seen::Resource(now));
    }
}

impl Subscriber {
    /// Tells of an object of the canary's, unless too much has befallen them: then that is told, and no more.
    fn tell(&mut self, at: Instant, relisted: bool, what: Seen) {
        let Some(left) = self.left.checked_sub(1) else {
            return;
        };
        self.left = left;
        let lost = || Seen::WatchLost("the canary changed too often to keep track".into());
        self.send(at, relisted, if left == 0 { lost() } else { what });
    }

    fn send(&self, at: Instant, relisted: bool, what: Seen) {
        let at = Mark::new(at.saturating_duration_since(self.epoch));
        // The run may have ended just now; then nobody needs to know.
        let _ = self.sightings.send(Sighting { at, relisted, what });
    }
}

/// What it is to a run that someone has stopped who was to tell it what is seen.
fn over(who: &str) -> Obstacle {
    Obstacle::new(
        Peer::Prober,
        Hindrance::Failed,
        format!("{who} of the prober has stopped: a bug; please report it"),
    )
}
