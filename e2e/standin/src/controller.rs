//! A controller: a watch that fills the queue, and workers that empty it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::faults::Switchboard;
use super::kind::Kind;
use super::metrics::Ending;
use super::queue::Queue;

/// What a kind does when it is its turn.
pub(crate) trait Reconcile<K: Kind>: Send + Sync + 'static {
    /// Brings one resource in order; returns when to come again. Only Kubernetes' errors are errors.
    fn reconcile(&self, object: K) -> BoxFuture<'_, Result<Option<Duration>, kube::Error>>;

    /// The resource's labels or annotations have changed.
    fn relabelled(&self, _object: &ObjectRef<K>) {}
}

/// All that is known from watches. Nothing is reconciled before each of them has listed: what is there would be
/// taken for missing.
#[derive(Clone)]
pub(crate) struct Caches(pub(crate) Vec<watch::Receiver<bool>>);

impl Caches {
    /// Whether each watch has listed.
    pub(crate) fn synced(&self) -> bool {
        self.0.iter().all(|synced| *synced.borrow())
    }

    /// Returns once each has.
    async fn filled(mut self) {
        for synced in &mut self.0 {
            // A sender that is gone takes the stand-in with it.
            let _ = synced.wait_for(|synced| *synced).await;
        }
    }
}

/// One kind's watch and queue, before it runs.
pub(crate) struct Controller<K: Kind> {
    /// What the watch holds.
    pub(crate) store: Store<K>,
    /// Where reconciles are asked for.
    pub(crate) queue: Queue<K>,
    writer: Writer<K>,
    faults: Switchboard,
    synced: watch::Sender<bool>,
    workers: u16,
}

impl<K: Kind> Controller<K> {
    /// A controller whose metrics are `series`, with so many workers.
    pub(crate) fn new(
        series: super::metrics::Controller,
        faults: &Switchboard,
        workers: u16,
    ) -> Self {
        let (store, writer) = reflector::store();
        let queue = Queue::new(series, faults.clone());
        Self {
            store,
            queue,
            writer,
            faults: faults.clone(),
            synced: watch::Sender::new(false),
            workers,
        }
    }

    /// Turns true once the watch has listed everything.
    pub(crate) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(
        self,
        client: Client,
        reconciler: Arc<dyn Reconcile<K>>,
        caches: Caches,
    ) {
        let Self {
            store,
            queue,
            writer,
            faults,
            synced,
            workers,
        } = self;
        let pump = pump(client, writer, queue.clone(), reconciler.clone(), synced);
        let worker = Worker {
            store,
            queue,
            reconciler,
            faults,
        };
        let crew = async {
            caches.filled().await;
            worker.crew(workers).await;
        };
        tokio::join!(pump, crew);
    }
}

/// One of those that empty a queue.
struct Worker<K: Kind> {
    store: Store<K>,
    queue: Queue<K>,
    reconciler: Arc<dyn Reconcile<K>>,
    faults: Switchboard,
}

impl<K: Kind> Worker<K> {
    /// So many at once, for ever.
    async fn crew(self, workers: u16) {
        let worker = Arc::new(self);
        // Tasks of their own, so that a crowd shares the machine's cores.
        let mut work = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = work.join_next() => {
                    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                }
                object = worker.queue.next(), if work.len() < usize::from(workers) => {
                    let worker = worker.clone();
                    work.spawn(async move {
                        worker.turn(&object).await;
                        worker.queue.done(&object);
                    });
                }
            }
        }
    }

    async fn turn(&self, key: &ObjectRef<K>) {
        let Some(measure) = self.queue.begin(key) else {
            return;
        };
        self.faults.unhung().await;
        let result = match self.store.get(key) {
            Some(object) => self.reconciler.reconcile(K::clone(&object)).await,
            // What is gone is reconciled, too, by the real operator: it finds nothing.
            None => Ok(None),
        };
        let (ending, delay) = match result {
            Ok(None) => (Ending::Success, None),
            Ok(Some(delay)) => (Ending::RequeueAfter, Some(delay)),
            Err(error) => {
                tracing::warn!(object = %key, %error, "reconcile failed");
                (Ending::Error, Some(self.queue.failed(key)))
            }
        };
        measure.end(ending);
        if ending != Ending::Error {
            self.queue.succeeded(key);
        }
        if let Some(delay) = delay {
            self.queue.again(key, delay);
        }
    }
}

/// Fills the queue from the watch, past what the operator does not care for (its own writes of a status).
async fn pump<K: Kind>(
    client: Client,
    writer: Writer<K>,
    queue: Queue<K>,
    reconciler: Arc<dyn Reconcile<K>>,
    synced: watch::Sender<bool>,
) {
    let events = watcher(Api::<K>::all(client), watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(reflector(writer, events));
    let mut sieve = Sieve::default();
    // While the watch lists, the store does not yet hold what it hands out.
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => listed.push(object),
            Ok(Event::InitDone) => {
                for object in listed.drain(..) {
                    sieve.take(&object, &queue, &*reconciler);
                }
                synced.send_replace(true);
            }
            Ok(Event::Apply(object)) => sieve.take(&object, &queue, &*reconciler),
            Ok(Event::Delete(object)) => {
                let key = ObjectRef::from_obj(&object);
                sieve.0.remove(&key);
                queue.add(key.clone());
                queue.gone(&key);
            }
            Err(error) => tracing::warn!(kind = K::KIND, %error, "watch failed"),
        }
    }
}

type Words = BTreeMap<String, String>;

/// What was seen last of each resource: its generation, labels and annotations.
struct Sieve<K: Kind>(HashMap<ObjectRef<K>, (Option<i64>, Words, Words)>);

impl<K: Kind> Default for Sieve<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Kind> Sieve<K> {
    fn take(&mut self, object: &K, queue: &Queue<K>, reconciler: &dyn Reconcile<K>) {
        let key = ObjectRef::from_obj(object);
        let now = (
            object.meta().generation,
            object.labels().clone(),
            object.annotations().clone(),
        );
        let before = self.0.insert(key.clone(), now.clone());
        let Some(before) = before else {
            queue.first_seen(&key);
            return queue.add(key);
        };
        if before.0 != now.0 {
            queue.add(key);
        } else if K::SYNCS && before != now {
            reconciler.relabelled(&key);
            queue.add(key);
        }
    }
}

/// Holds what is known of `ServiceAccount`s.
pub(crate) async fn watch_accounts(
    client: Client,
    writer: Writer<PartialObjectMeta<ServiceAccount>>,
    synced: watch::Sender<bool>,
) {
    let api: Api<PartialObjectMeta<ServiceAccount>> = Api::all(client);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(reflector(writer, events));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitDone) => _ = synced.send_replace(true),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "watch of ServiceAccounts failed"),
        }
    }
}
