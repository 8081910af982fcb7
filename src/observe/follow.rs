//! An endless watch on one kind of object, which says when something may have been missed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::io::AsyncBufRead;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{Api, ListParams, VersionMatch, WatchParams};
use kube::core::Request;
use kube::core::response::Status;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::event::{self, Change, Header, Lines};
use super::watched::Watched;
use super::{Shared, State};
use crate::kubernetes::{self, read};
use crate::model::record::Hindrance;
use crate::model::time::Moment as _;
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
/// How long it must have lived to be opened again at once.
const BRIEF: Duration = Duration::from_secs(1);
/// How many canaries are asked for at once.
const AT_ONCE: usize = 16;

/// Follows one kind for ever: learns where it stands, then watches it from there on.
///
/// A watch that ends (the API server ends each after a while) is opened again from where it ended.
/// If that takes longer than can be told from an event's ordinary way, the canaries under way are asked for by
/// name, and what comes back is marked: it happened at some time in between.
///
/// Of what else bears the canaries' label only the names are looked at, and nothing is kept: there may be
/// very much of it.
pub(super) async fn follow<K: Watched>(
    client: Client,
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
            client: &client,
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
    client: &'a Client,
    api: &'a Api<K>,
    selector: &'a str,
    shared: &'a Shared,
}

impl<K: Watched> Follower<'_, K> {
    /// Watches until something is missed. Returns how that came.
    async fn follow(
        &self,
        known: &mut HashSet<String>,
        state: &watch::Sender<State>,
    ) -> kube::Result<String> {
        let Some(mut version) = opened(self.version()).await? else {
            return Ok("no answer to a list".to_owned());
        };
        let mut begun = Instant::now();
        let Some(mut lines) = opened(self.open(&version)).await? else {
            return Ok("no answer to a watch".to_owned());
        };
        let listed = begun;
        if opened(self.look(&version, known)).await?.is_none() {
            return Ok("no answer to a list".to_owned());
        }
        // What came meanwhile was not stamped when it came.
        let late = listed.elapsed() > GAP;
        let caught_up = late.then(|| Instant::now().later(GAP));
        loop {
            state.send_replace(State::Synced);
            let silence =
                Duration::from_secs(u64::from(WATCH_SECONDS)).saturating_add(OPENING_LIMIT);
            loop {
                let Ok(line) = time::timeout(silence, lines.next()).await else {
                    return Ok("it fell silent".to_owned());
                };
                let at = Instant::now();
                let Some(line) = line else { break };
                let relisted = caught_up.is_some_and(|caught_up| at < caught_up);
                if let Some(reached) = self.tell(&line, at, relisted, known)? {
                    version = reached;
                }
            }
            let ended = Instant::now();
            if ended.saturating_duration_since(begun) < BRIEF {
                return Ok("it ended as soon as it was opened".to_owned());
            }
            begun = ended;
            let Some(again) = opened(self.open(&version)).await? else {
                return Ok("no answer to a watch".to_owned());
            };
            lines = again;
            let gap = ended.elapsed();
            if gap > GAP {
                return Ok(format!("reopening it took {:.3} s", gap.as_secs_f64()));
            }
        }
    }

    /// The version of the whole as it is now.
    async fn version(&self) -> kube::Result<String> {
        let params = ListParams::default().labels(self.selector);
        read::version(self.client, self.api, &params).await
    }

    /// Opens a watch of what comes after this version.
    async fn open(&self, version: &str) -> kube::Result<Lines<impl AsyncBufRead + Unpin + use<K>>> {
        let params = WatchParams::default()
            .labels(self.selector)
            .timeout(WATCH_SECONDS);
        let request = Request::new(self.api.resource_url()).watch(&params, version);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let reader = self.client.request_stream(request).await?;
        Ok(Lines::new(Box::pin(reader)))
    }

    /// Tells every canary under way how it stood at this version.
    async fn look(&self, version: &str, known: &mut HashSet<String>) -> kube::Result<()> {
        let names = self.shared.under_way();
        known.retain(|name| names.contains(name));
        let mut looks = stream::iter(names)
            .map(|name| async {
                let found = self.one(&name, version).await?;
                Ok::<_, kube::Error>((name, found))
            })
            .buffered(AT_ONCE);
        while let Some((name, found)) = looks.try_next().await? {
            let at = Instant::now();
            if let Some(object) = found {
                object.tell(self.shared, at, true);
                known.insert(name);
            } else if known.remove(&name) {
                self.shared.tell(&name, at, true, K::gone());
            }
        }
        Ok(())
    }

    /// An object as it stood at this version.
    async fn one(&self, name: &str, version: &str) -> kube::Result<Option<K>> {
        let params = ListParams::default()
            .labels(self.selector)
            .fields(&format!("metadata.name={name}"))
            .at(version)
            .matching(VersionMatch::Exact);
        let mut found = None;
        let take = |object| found = Some(object);
        read::each(self.client, self.api, &params, false, take).await?;
        Ok(found)
    }

    /// Tells whom a line is about, if that is a canary under way. Returns how far the watch has come.
    fn tell(
        &self,
        line: &[u8],
        at: Instant,
        relisted: bool,
        known: &mut HashSet<String>,
    ) -> kube::Result<Option<String>> {
        let Some(header) = Header::read(line) else {
            tracing::debug!(
                bytes = line.len(),
                "skipping an event of a watch that could not be read"
            );
            return Ok(None);
        };
        let name = header.name();
        match header.change {
            Change::Added | Change::Modified if self.shared.awaits(name) => {
                known.insert(name.to_owned());
                if let Some(object) = event::object::<K>(line) {
                    object.tell(self.shared, at, relisted);
                } else {
                    let lost = Seen::WatchLost("an event could not be read".into());
                    self.shared.tell(name, at, relisted, lost);
                }
            }
            Change::Deleted => {
                self.shared.tell(name, at, relisted, K::gone());
                known.remove(name);
            }
            Change::Error => {
                let status = event::object::<Status>(line).unwrap_or_default();
                return Err(kube::Error::Api(Box::new(status)));
            }
            Change::Added | Change::Modified | Change::Bookmark | Change::Other => {}
        }
        Ok(header.version().map(str::to_owned))
    }
}

/// What was opened, unless it took too long.
async fn opened<T>(opening: impl Future<Output = kube::Result<T>>) -> kube::Result<Option<T>> {
    time::timeout(OPENING_LIMIT, opening)
        .await
        .map_or(Ok(None), |opened| opened.map(Some))
}
