//! Follows one kind of object for ever, and says when something may have been missed.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::ResourceExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::{Shared, State, Watched};
use crate::kubernetes;
use crate::model::record::Hindrance;
use crate::model::timeline::Seen;
use crate::retry::Retry;

/// How long the API server lets a watch live, and so how long one can be deaf without a word.
const WATCH_SECONDS: u32 = 60;
/// How long a list, or the opening of a watch, may take.
const OPENING_LIMIT: Duration = Duration::from_secs(10);
/// How long a watch may be closed between its end and its next opening and miss nothing that matters.
const GAP: Duration = Duration::from_millis(50);
/// How long a watch must have lived for its end to be no failure.
const STEADY: Duration = Duration::from_secs(5);

/// Follows one kind for ever: lists it, then watches it from there on.
///
/// A watch that ends (the API server ends each after a while) is opened again from where it ended.
/// If that takes longer than can be told from an event's ordinary way, everything is listed anew,
/// and what the list shows is marked: it happened at some time in between.
pub(super) async fn follow<K: Watched>(
    api: Api<K>,
    selector: String,
    what: &'static str,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
) {
    let mut retry = Retry::default();
    let mut known = HashSet::new();
    loop {
        let opened = Instant::now();
        let follower = Follower {
            api: &api,
            selector: &selector,
            shared: &shared,
        };
        let why = match follower.follow(&mut known, &state).await {
            Ok(why) => why.into(),
            Err(error) => {
                let obstacle = kubernetes::obstacle(&format!("watch {what}"), &error);
                if obstacle.how == Hindrance::Denied {
                    state.send_replace(State::Refused(obstacle.clone()));
                }
                obstacle.text
            }
        };
        tracing::debug!(watch = what, %why, "the watch was interrupted");
        shared.tell_all(Instant::now(), &Seen::WatchLost(why));
        if opened.elapsed() > STEADY {
            retry.reset();
        }
        retry.wait().await;
    }
}

struct Follower<'a, K> {
    api: &'a Api<K>,
    selector: &'a str,
    shared: &'a Shared,
}

impl<K: Watched> Follower<'_, K> {
    /// Lists, then watches until something is missed. Returns how that came.
    async fn follow(
        &self,
        known: &mut HashSet<String>,
        state: &watch::Sender<State>,
    ) -> kube::Result<String> {
        let params = ListParams::default().labels(self.selector);
        let Ok(list) = time::timeout(OPENING_LIMIT, self.api.list(&params)).await else {
            return Ok("no answer to a list".to_owned());
        };
        let list = list?;
        let at = Instant::now();
        let listed: HashSet<_> = list.items.iter().map(ResourceExt::name_any).collect();
        list.items
            .iter()
            .for_each(|object| object.tell(self.shared, at, true));
        for name in known.difference(&listed) {
            self.shared.tell(name, at, true, K::gone());
        }
        *known = listed;

        let params = WatchParams::default()
            .labels(self.selector)
            .timeout(WATCH_SECONDS);
        let mut version = list.metadata.resource_version.unwrap_or_default();
        let mut ended: Option<Instant> = None;
        loop {
            let opening = time::timeout(OPENING_LIMIT, self.api.watch(&params, &version)).await;
            let Ok(stream) = opening else {
                return Ok("no answer to a watch".to_owned());
            };
            let mut stream = pin!(stream?);
            if let Some(gap) = ended.map(|ended| ended.elapsed()).filter(|gap| *gap > GAP) {
                return Ok(format!(
                    "it took {:.3} s to open it again",
                    gap.as_secs_f64()
                ));
            }
            state.send_replace(State::Synced);
            let silence =
                Duration::from_secs(u64::from(WATCH_SECONDS)).saturating_add(OPENING_LIMIT);
            loop {
                let Ok(event) = time::timeout(silence, stream.next()).await else {
                    return Ok("it fell silent".to_owned());
                };
                let at = Instant::now();
                match event {
                    Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                        object.tell(self.shared, at, false);
                        version = object.resource_version().unwrap_or_default();
                        known.insert(object.name_any());
                    }
                    Some(Ok(WatchEvent::Deleted(object))) => {
                        self.shared.tell(&object.name_any(), at, false, K::gone());
                        version = object.resource_version().unwrap_or_default();
                        known.remove(&object.name_any());
                    }
                    Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                        version = bookmark.metadata.resource_version;
                    }
                    Some(Ok(WatchEvent::Error(status))) => return Err(kube::Error::Api(status)),
                    Some(Err(error)) => return Err(error),
                    None => break,
                }
            }
            ended = Some(Instant::now());
        }
    }
}
