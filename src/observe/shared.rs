//! The canaries under way: who is told what of the sightings.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::certificate::Inspector;
use super::event::Others;
use super::read::secret_content;
use crate::canary::Salt;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::text::Text;
use crate::model::timeline::{Content, Resource, Seen, Sighting};
use crate::model::{Kind, Mark};

/// How many reconciles are remembered, to tell whether others than one canary were served.
const REMEMBERED: usize = 256;

/// How many sightings of its objects a canary is told: so much befalls none that nobody plays with.
pub(super) const SIGHTINGS: usize = 4096;

/// What the watches share.
#[derive(Default)]
pub(super) struct Shared(Mutex<Inner>);

/// Who is to be told, and what all are told of.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) canaries: HashMap<String, Subscriber>,
    /// The latest reconciles: of which kind, of which canary, when.
    pub(super) reconciles: VecDeque<(Kind, String, Instant)>,
    /// Why no canary is told anything any more: whoever should tell has stopped.
    pub(super) over: Option<Obstacle>,
}

/// One canary that is under way.
pub(super) struct Subscriber {
    pub(super) kind: Kind,
    pub(super) salt: Salt,
    pub(super) epoch: Instant,
    pub(super) sightings: mpsc::UnboundedSender<Sighting>,
    pub(super) last: Option<Resource>,
    /// The Secret as it was told last.
    pub(super) secret: Option<(String, Content)>,
    /// How many more sightings are told of its objects.
    pub(super) left: usize,
    /// Looks at the certificates, where there are some.
    pub(super) inspector: Option<Arc<Inspector>>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets every canary know that whoever should tell it has stopped.
    pub(super) fn end(&self, who: &str) {
        let mut inner = self.lock();
        inner.over.get_or_insert_with(|| over(who));
        inner.canaries.clear();
    }

    /// Whether a canary of this name is under way.
    pub(super) fn awaits(&self, name: &str) -> bool {
        self.lock().canaries.contains_key(name)
    }

    /// The names of the canaries under way.
    pub(super) fn under_way(&self) -> HashSet<String> {
        self.lock().canaries.keys().cloned().collect()
    }

    /// Tells one canary, if it is subscribed.
    pub(super) fn tell(&self, name: &str, at: Instant, relisted: bool, what: Seen) {
        if let Some(subscriber) = self.lock().canaries.get_mut(name) {
            subscriber.tell(at, relisted, what);
        }
    }

    /// Tells a canary of its Secret, of the certificate in it, and of who else has a hand in it.
    pub(super) fn tell_secret(&self, secret: &Secret, at: Instant, relisted: bool, others: Others) {
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
    pub(super) fn lost(&self, kind: Option<Kind>, why: &Text) {
        let at = Instant::now();
        for subscriber in self.lock().canaries.values_mut() {
            if kind.is_none_or(|kind| kind == subscriber.kind) {
                subscriber.send(at, false, Seen::WatchLost(why.clone()));
            }
        }
    }

    /// Tells one canary so.
    pub(super) fn lost_one(&self, name: &str, why: Text) {
        self.tell(name, Instant::now(), false, Seen::WatchLost(why));
    }

    pub(super) fn tell_all(&self, at: Instant, what: &Seen) {
        for subscriber in self.lock().canaries.values_mut() {
            subscriber.send(at, false, what.clone());
        }
    }

    /// Tells a canary of its resource, and remembers whether it was reconciled.
    pub(super) fn tell_resource(
        &self,
        kind: Kind,
        name: &str,
        at: Instant,
        relisted: bool,
        now: Resource,
    ) {
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
    pub(super) fn tell(&mut self, at: Instant, relisted: bool, what: Seen) {
        let Some(left) = self.left.checked_sub(1) else {
            return;
        };
        self.left = left;
        let lost = || Seen::WatchLost("the canary changed too often to keep track".into());
        self.send(at, relisted, if left == 0 { lost() } else { what });
    }

    pub(super) fn send(&self, at: Instant, relisted: bool, what: Seen) {
        let at = Mark::new(at.saturating_duration_since(self.epoch));
        // The run may have ended just now; then nobody needs to know.
        let _ = self.sightings.send(Sighting { at, relisted, what });
    }
}

/// What it is to a run that someone has stopped who was to tell it what is seen.
pub(super) fn over(who: &str) -> Obstacle {
    Obstacle::new(
        Peer::Prober,
        Hindrance::Failed,
        format!("{who} of the prober has stopped: a bug; please report it"),
    )
}
