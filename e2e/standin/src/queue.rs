//! The queue before a controller: what is due since when, what is passed over, and how often it failed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use super::faults::{Faults, Switchboard};
use super::kind::Kind;
use super::metrics::{Controller, Reconciling};

/// Where reconciles are asked for: first come, first served, and no resource twice at once. kube-runtime's own
/// queue knows no order, and can't be looked into.
pub(crate) struct Queue<K: Kind> {
    changed: Arc<Notify>,
    state: Arc<Mutex<State<K>>>,
    series: Controller,
    faults: Switchboard,
}

struct State<K: Kind> {
    due: HashMap<ObjectRef<K>, Due>,
    /// Being reconciled.
    busy: HashSet<ObjectRef<K>>,
    failures: HashMap<ObjectRef<K>, i32>,
    /// Chosen by `ignoreNext`.
    ignored: HashSet<ObjectRef<K>>,
    /// Asked for while they were passed over.
    missed: HashSet<ObjectRef<K>>,
}

#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    counted: bool,
}

impl<K: Kind> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self {
            changed: self.changed.clone(),
            state: self.state.clone(),
            series: self.series.clone(),
            faults: self.faults.clone(),
        }
    }
}

impl<K: Kind> Queue<K> {
    /// An empty queue.
    pub(crate) fn new(series: Controller, faults: Switchboard) -> Self {
        let state = State {
            due: HashMap::new(),
            busy: HashSet::new(),
            failures: HashMap::new(),
            ignored: HashSet::new(),
            missed: HashSet::new(),
        };
        Self {
            changed: Arc::default(),
            state: Arc::new(Mutex::new(state)),
            series,
            faults,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().expect("no holder panics")
    }

    /// A resource is seen for the first time: `ignoreNext` may choose it.
    pub(crate) fn first_seen(&self, object: &ObjectRef<K>) {
        if K::SYNCS && self.faults.take_ignored() {
            self.state().ignored.insert(object.clone());
        }
    }

    /// A resource is gone.
    pub(crate) fn gone(&self, object: &ObjectRef<K>) {
        let mut state = self.state();
        state.ignored.remove(object);
        state.missed.remove(object);
    }

    /// Asks for a reconcile now.
    pub(crate) fn add(&self, object: ObjectRef<K>) {
        if self.passes_over(&object) {
            return;
        }
        let now = Instant::now();
        let mut state = self.state();
        let due = state.due.entry(object).or_insert(Due {
            at: now,
            counted: false,
        });
        if due.at > now {
            *due = Due {
                at: now,
                counted: false,
            };
        }
        if !due.counted {
            due.counted = true;
            self.series.adds.inc();
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Asks for a reconcile after a while.
    pub(crate) fn add_after(&self, object: ObjectRef<K>, delay: Duration) {
        let queue = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            queue.add(object);
        });
    }

    /// Waits for what has been due for longest; it is busy until [`Queue::done`] is told.
    pub(crate) async fn next(&self) -> ObjectRef<K> {
        loop {
            let first = {
                let mut state = self.state();
                let State { due, busy, .. } = &mut *state;
                let idle = due.iter().filter(|(object, _)| !busy.contains(*object));
                let first = idle.min_by_key(|(_, due)| due.at);
                let first = first.map(|(object, due)| (object.clone(), due.at));
                if let Some((object, at)) = &first
                    && *at <= Instant::now()
                {
                    busy.insert(object.clone());
                    return object.clone();
                }
                first
            };
            match first {
                None => self.changed.notified().await,
                Some((_, at)) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at.into()) => {}
                    }
                }
            }
        }
    }

    /// A reconcile has ended.
    pub(crate) fn done(&self, object: &ObjectRef<K>) {
        self.state().busy.remove(object);
        self.changed.notify_one();
    }

    /// A reconcile begins; `None` if the resource is passed over.
    pub(crate) fn begin(&self, object: &ObjectRef<K>) -> Option<Reconciling> {
        let due = self.state().due.remove(object);
        if self.passes_over(object) {
            return None;
        }
        let now = Instant::now();
        let due = due.unwrap_or(Due {
            at: now,
            counted: false,
        });
        if !due.counted {
            self.series.adds.inc();
        }
        Some(self.series.begin(now.saturating_duration_since(due.at)))
    }

    /// A reconcile ended and comes again after `delay`, if nothing asks for it before.
    pub(crate) fn again(&self, object: &ObjectRef<K>, delay: Duration) {
        let at = Instant::now() + delay;
        self.series.retries.inc();
        let mut state = self.state();
        let due = state
            .due
            .entry(object.clone())
            .or_insert(Due { at, counted: false });
        due.at = due.at.min(at);
        drop(state);
        self.changed.notify_one();
    }

    /// A reconcile succeeded.
    pub(crate) fn succeeded(&self, object: &ObjectRef<K>) {
        self.state().failures.remove(object);
    }

    /// A reconcile failed; returns the delay before the next: 5 ms × 2ⁿ up to 1,000 s.
    pub(crate) fn failed(&self, object: &ObjectRef<K>) -> Duration {
        let mut state = self.state();
        let failures = state.failures.entry(object.clone()).or_insert(0);
        let delay =
            Duration::from_secs_f64(0.005 * 2_f64.powi(*failures)).min(Duration::from_secs(1000));
        *failures = (*failures + 1).min(30);
        delay
    }

    /// Sets `workqueue_depth`: what is due and not begun.
    pub(crate) fn measure(&self) {
        let now = Instant::now();
        let depth = self
            .state()
            .due
            .values()
            .filter(|due| due.at <= now)
            .count();
        self.series
            .depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// Faults have changed: asks again for what is passed over no more. With an `ignoreNext` among them what was
    /// chosen stays so: it may be by this very one, whose news came late.
    pub(crate) fn reconsider(&self, faults: &Faults) {
        let missed = {
            let mut state = self.state();
            if faults.ignore_next == 0 {
                state.ignored.clear();
            }
            std::mem::take(&mut state.missed)
        };
        for object in missed {
            self.add(object);
        }
    }

    fn passes_over(&self, object: &ObjectRef<K>) -> bool {
        let mut state = self.state();
        let over =
            K::SYNCS && (state.ignored.contains(object) || self.faults.now().ignores(&object.name));
        if over {
            state.missed.insert(object.clone());
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::metrics::Metrics;
    use crate::options::Options;
    use vso_prober::operator::api::VaultStaticSecret;

    fn queue() -> (Queue<VaultStaticSecret>, Switchboard) {
        let faults = Switchboard::default();
        let options = Options::parse([], |_| None).expect("no flags");
        let metrics = Metrics::register(&options).expect("fresh registry");
        let queue = Queue::new(metrics.controller("vaultstaticsecret"), faults.clone());
        (queue, faults)
    }

    #[tokio::test]
    async fn first_come_first_served_and_none_twice_at_once() {
        let (queue, _) = queue();
        let next = || queue.next().now_or_never();
        let [first, second] = ["s9", "s1"].map(|name| ObjectRef::new(name).within("n"));
        queue.again(&second, Duration::from_secs(60));
        assert_eq!(next(), None);
        queue.add(first.clone());
        queue.add(second.clone());
        assert_eq!(next(), Some(first.clone()));
        drop(queue.begin(&first));
        queue.add(first.clone());
        assert_eq!(next(), Some(second));
        assert_eq!(next(), None);
        queue.done(&first);
        assert_eq!(next(), Some(first));
    }

    #[test]
    fn what_is_due_is_counted_once() {
        let (queue, _) = queue();
        let object = ObjectRef::new("s1").within("n");
        queue.again(&object, Duration::from_secs(60));
        queue.measure();
        assert_eq!((queue.series.depth.get(), queue.series.adds.get()), (0, 0));
        queue.add(object.clone());
        queue.add(object.clone());
        queue.measure();
        assert_eq!((queue.series.depth.get(), queue.series.adds.get()), (1, 1));
        assert!(queue.begin(&object).is_some());
        queue.measure();
        assert_eq!(queue.series.depth.get(), 0);
    }

    #[test]
    fn the_passed_over_come_back_when_faults_end() {
        let (queue, faults) = queue();
        let object = ObjectRef::new("s1").within("n");
        faults.set(Faults {
            ignore_next: 1,
            ..Faults::default()
        });
        queue.first_seen(&object);
        queue.add(object.clone());
        assert!(queue.begin(&object).is_none());
        assert_eq!(queue.next().now_or_never(), None);
        faults.set(Faults::default());
        queue.reconsider(&Faults::default());
        assert_eq!(queue.next().now_or_never(), Some(object));
    }

    #[test]
    fn failures_back_off() {
        let (queue, _) = queue();
        let object = ObjectRef::new("s1").within("n");
        let delays: Vec<Duration> = (0..3).map(|_| queue.failed(&object)).collect();
        assert_eq!(delays, [5, 10, 20].map(Duration::from_millis));
        queue.succeeded(&object);
        assert_eq!(queue.failed(&object), Duration::from_millis(5));
    }
}
