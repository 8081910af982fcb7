//! An endless watch on one kind of object, which misses nothing while the API server lets it, and says when it did.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{Api, ListParams, VersionMatch, WatchParams};
use kube::core::Request;
use kube::core::response::Status;
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::event::{self, Change, Header, Others};
use super::source::{Line, Source};
use super::watched::Watched;
use super::{Shared, State};
use crate::kubernetes::{self, read};
use crate::model::record::Hindrance;
use crate::model::time::Moment as _;
use crate::retry::Retry;

/// How long the API server lets a watch live, in seconds. The client takes less than 295.
const LIFE: u32 = 290;
/// After how many seconds the next one is opened: minutes, at random, so that not all are opened at once; and well before
/// the end of this one.
const RENEWAL: Range<u64> = 180..270;
/// A watch on which nothing comes for so long, not even the bookmark of each minute, may be deaf.
const SILENCE: Duration = Duration::from_secs(90);
/// How long a list, or the opening of a watch, may take.
const OPENING_LIMIT: Duration = Duration::from_secs(10);
/// How long a watch may be closed between its end and its next opening and miss nothing that matters; and
/// for how long after an opening what comes may have happened before.
const GAP: Duration = Duration::from_millis(50);
/// How long a watch must have lived for its end to be no failure.
const STEADY: Duration = Duration::from_secs(5);
/// How long it must have lived to be opened again at once.
const BRIEF: Duration = Duration::from_secs(1);
/// How many canaries are asked for at once.
const AT_ONCE: usize = 16;

/// Follows one kind for ever: learns where it stands, then watches it from there on.
///
/// The API server ends each watch after a while: before that, the next one is opened from where this one has come, and
/// what both bring is told once. One that breaks is opened again from where it had come: what comes at
/// once then is marked, as it happened at some time in between. Only if the API server does not know that place any more, the
/// canaries under way are asked for by name, and what comes back is marked likewise.
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
        let mut follower = Follower {
            client: &client,
            api: &api,
            selector: &selector,
            what,
            shared: &shared,
            known: &mut known,
            renewing: false,
            told: HashSet::new(),
            version: String::new(),
            relisted_until: None,
        };
        let why = match follower.follow(&state).await {
            Ok(why) => why.to_owned(),
            Err(error) => {
                let obstacle = kubernetes::obstacle(&format!("watch {what}"), &error);
                if obstacle.how == Hindrance::Denied {
                    state.send_replace(State::Refused(obstacle.clone()));
                } else if matches!(*state.borrow(), State::Starting(_)) {
                    state.send_replace(State::Starting(Some(obstacle.clone())));
                }
                obstacle.text.into()
            }
        };
        tracing::debug!(watch = what, %why, "the watch was interrupted");
        shared.lost(K::KIND, &format!("{what}: {why}").into());
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
    what: &'static str,
    shared: &'a Shared,
    /// The canaries whose object was seen and is not gone.
    known: &'a mut HashSet<String>,
    /// Whether the next watch is asked for.
    renewing: bool,
    /// The versions that were told while it was, which it brings again.
    told: HashSet<String>,
    /// How far the watch has come.
    version: String,
    /// Until when what comes may have happened before it came.
    relisted_until: Option<Instant>,
}

/// The opening of a watch that is under way.
type Opening = BoxFuture<'static, kube::Result<Option<Source>>>;

/// How the reading of a watch ended.
enum Ended {
    /// At its end, or broken.
    Closed,
    /// As soon as it was opened.
    AtOnce,
}

impl<K: Watched> Follower<'_, K> {
    /// Watches until the place is lost. Returns how that came.
    async fn follow(&mut self, state: &watch::Sender<State>) -> kube::Result<&'static str> {
        let Some(version) = opened(self.version()).await? else {
            return Ok("no answer to a list");
        };
        self.version = version;
        let listed = Instant::now();
        let Some(mut source) = self.opening().await? else {
            return Ok("no answer to a watch");
        };
        if opened(self.look()).await?.is_none() {
            return Ok("no answer to a list");
        }
        // What came meanwhile was not stamped when it came.
        if listed.elapsed() > GAP {
            self.relisted_until = Some(Instant::now().later(GAP));
        }
        let mut retry = Retry::default();
        loop {
            state.send_replace(State::Synced);
            if matches!(self.read(&mut source).await?, Ended::AtOnce) {
                return Ok("it ended as soon as it was opened");
            }
            source = self.resumed(&mut retry).await?;
        }
    }

    /// Reads a watch, and the next that takes its place in time, until one is closed that has no successor yet.
    async fn read(&mut self, source: &mut Source) -> kube::Result<Ended> {
        let mut begun = Instant::now();
        let due = || Duration::from_secs(rand::rng().random_range(RENEWAL));
        let mut renewal = begun.later(due());
        let mut heard = begun;
        let mut next: Option<Opening> = None;
        loop {
            let renew_at = renewal.min(heard.later(SILENCE));
            tokio::select! {
                biased;
                line = source.next() => {
                    let Some(line) = line else {
                        let brief = begun.elapsed() < BRIEF;
                        return Ok(if brief { Ended::AtOnce } else { Ended::Closed });
                    };
                    heard = line.at;
                    self.tell(&line)?;
                }
                opened = wait(&mut next) => {
                    next = None;
                    self.renewing = false;
                    match opened {
                        Ok(Some(opened)) => {
                            let now = Instant::now();
                            // The old one may have been deaf: what it did not bring may be older.
                            if now.saturating_duration_since(heard) >= SILENCE {
                                self.relisted_until = Some(now.later(GAP));
                            }
                            *source = opened;
                            begun = now;
                            heard = now;
                            renewal = now.later(due());
                        }
                        Err(error) if expired(&error) => return Err(error),
                        // The old one goes on, and the next is tried for again.
                        Ok(None) | Err(_) => {
                            renewal = Instant::now().later(BRIEF);
                            heard = renewal;
                        }
                    }
                }
                () = time::sleep_until(renew_at), if next.is_none() => {
                    self.told.clear();
                    self.renewing = true;
                    next = Some(self.opening());
                }
            }
        }
    }

    /// Opens a watch again that broke, as often as it takes, unless its place is lost.
    async fn resumed(&mut self, retry: &mut Retry) -> kube::Result<Source> {
        let ended = Instant::now();
        self.told.clear();
        self.renewing = false;
        let mut lost = false;
        loop {
            let again = self.opening().await;
            let gap = ended.elapsed();
            let source = match again {
                Ok(source) => source,
                Err(error) if expired(&error) || denied(&error) => return Err(error),
                Err(_) => None,
            };
            if (source.is_none() || gap > GAP) && !lost {
                lost = true;
                let why = format!("{}: the connection broke", self.what);
                self.shared.lost(K::KIND, &why.into());
            }
            if let Some(source) = source {
                if gap > GAP {
                    self.relisted_until = Some(Instant::now().later(GAP));
                }
                retry.reset();
                return Ok(source);
            }
            retry.wait().await;
        }
    }

    /// The version of the whole as it is now.
    async fn version(&self) -> kube::Result<String> {
        let params = ListParams::default().labels(self.selector);
        read::version(self.client, self.api, &params).await
    }

    /// Opens a watch of what comes after this version; none if that takes too long.
    fn opening(&self) -> Opening {
        let params = WatchParams::default().labels(self.selector).timeout(LIFE);
        let request = Request::new(self.api.resource_url()).watch(&params, &self.version);
        let client = self.client.clone();
        opened(async move {
            let request = request.map_err(kube::Error::BuildRequest)?;
            let reader = client.request_stream(request).await?;
            Ok(Source::start(Box::pin(reader)))
        })
        .boxed()
    }

    /// Tells every canary under way how it stood at this version.
    async fn look(&mut self) -> kube::Result<()> {
        let names = self.shared.under_way();
        self.known.retain(|name| names.contains(name));
        let this = &*self;
        let mut looks = stream::iter(names)
            .map(|name| async move {
                let found = this.one(&name).await?;
                Ok::<_, kube::Error>((name, found))
            })
            .buffered(AT_ONCE);
        let mut found = Vec::new();
        while let Some((name, object)) = looks.try_next().await? {
            let at = Instant::now();
            if let Some(object) = object {
                object.tell(self.shared, at, true, Others::default());
                found.push((name, true));
            } else if self.known.contains(&name) {
                self.shared.tell(&name, at, true, K::gone());
                found.push((name, false));
            }
        }
        drop(looks);
        for (name, there) in found {
            if there {
                self.known.insert(name);
            } else {
                self.known.remove(&name);
            }
        }
        Ok(())
    }

    /// An object as it stood at this version.
    async fn one(&self, name: &str) -> kube::Result<Option<K>> {
        let params = ListParams::default()
            .labels(self.selector)
            .fields(&format!("metadata.name={name}"))
            .at(&self.version)
            .matching(VersionMatch::Exact);
        let mut found = None;
        let take = |object| found = Some(object);
        read::each(self.client, self.api, &params, false, take).await?;
        Ok(found)
    }

    /// Tells whom a line is about, if that is a canary under way, and notes how far the watch has come.
    fn tell(&mut self, line: &Line) -> kube::Result<()> {
        let (at, bytes) = (line.at, line.bytes.as_slice());
        let relisted = self.relisted_until.is_some_and(|until| at < until);
        let Some(header) = Header::read(bytes) else {
            tracing::debug!(
                bytes = bytes.len(),
                "skipping an event of a watch that could not be read"
            );
            return Ok(());
        };
        let name = header.name();
        if header.change == Change::Error {
            let status = event::object::<Status>(bytes);
            let status = status.map(|(status, _)| status).unwrap_or_default();
            return Err(kube::Error::Api(Box::new(status)));
        }
        if let Some(version) = header.version() {
            version.clone_into(&mut self.version);
            if self.renewing {
                self.told.insert(version.to_owned());
            } else if self.told.contains(version) && header.change != Change::Bookmark {
                return Ok(());
            }
        }
        match header.change {
            Change::Added | Change::Modified if self.shared.awaits(name) => {
                self.known.insert(name.to_owned());
                if let Some((object, others)) = event::object::<K>(bytes) {
                    object.tell(self.shared, at, relisted, others);
                } else {
                    let lost = format!("{}: an event could not be read", self.what);
                    self.shared.lost_one(name, lost.into());
                }
            }
            Change::Deleted => {
                self.shared.tell(name, at, relisted, K::gone());
                self.known.remove(name);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Waits for the opening of a watch, for ever if none is under way.
async fn wait(opening: &mut Option<Opening>) -> kube::Result<Option<Source>> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

/// Whether the API server does not know the place any more where the watch had come to.
fn expired(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}

fn denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404))
}

/// What was opened, unless it took too long.
async fn opened<T>(opening: impl Future<Output = kube::Result<T>>) -> kube::Result<Option<T>> {
    time::timeout(OPENING_LIMIT, opening)
        .await
        .map_or(Ok(None), |opened| opened.map(Some))
}
