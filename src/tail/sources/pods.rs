//! A source that is the logs of Pods: the container of each Pod that a selector names is read by a task of its own.

mod container;
mod cut;
mod kept;
#[cfg(test)]
mod tests;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::super::outlet::Outlet;
use super::super::{SourceName, Status};
use crate::config;
use crate::kubernetes::{self, read};
use crate::model::text::Text;
use crate::retry::Retry;
use crate::shutdown::Shutdown;
use container::Container;
use kept::Kept;
use way::Way;

/// How often the Pods are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The logs of Pods.
pub(super) struct PodLogs {
    pub(super) source: SourceName,
    pub(super) namespace: String,
    pub(super) selector: String,
    pub(super) container: Option<String>,
    pub(super) kubernetes: config::Kubernetes,
    /// The folder of positions.
    pub(super) state: PathBuf,
    pub(super) outlet: Outlet,
    pub(super) status: Arc<watch::Sender<Status>>,
}

/// What is wrong with the reading, of all Pods or of one.
#[derive(Clone)]
struct Troubles {
    source: SourceName,
    status: Arc<watch::Sender<Status>>,
    of: Arc<Mutex<BTreeMap<String, Text>>>,
}

impl Troubles {
    /// Says what is wrong with a Pod, or with all (`""`); `None` if nothing is.
    fn say(&self, of: &str, why: Option<Text>) {
        let mut all = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => all.insert(of.to_owned(), why),
            None => all.remove(of),
        };
        let down = all.values().next().cloned();
        self.status.send_if_modified(|status| {
            if status.down == down {
                return false;
            }
            if let Some(why) = &down {
                tracing::warn!(source = %self.source, %why, "an audit source is down");
            }
            status.down = down;
            true
        });
    }
}

impl PodLogs {
    /// Reads until the shutdown.
    pub(super) async fn run(self, shutdown: Shutdown) {
        let troubles = Troubles {
            source: self.source.clone(),
            status: self.status.clone(),
            of: Arc::default(),
        };
        tokio::select! {
            () = self.follow(&troubles) => {}
            () = shutdown.wait() => {}
        }
    }

    async fn follow(&self, troubles: &Troubles) {
        let mut retry = Retry::default();
        let (client, kept) = loop {
            match self.open().await {
                Ok(opened) => break opened,
                Err(why) => troubles.say("", Some(why)),
            }
            retry.wait().await;
        };
        let way = Way {
            source: self.source.clone(),
            kept,
            outlet: self.outlet.clone(),
            status: self.status.clone(),
        };
        self.look(&client, &way, troubles).await;
    }

    /// Looks for Pods, and has each read that is there.
    async fn look(&self, client: &Client, way: &Way, troubles: &Troubles) {
        let mut tasks = JoinSet::new();
        let mut followed = BTreeSet::new();
        // Those that were there before the start, until a look shows which of them still are.
        let mut before = way.kept.uids();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Some(ended) = tasks.join_next() => {
                    match ended {
                        Ok(uid) => followed.remove::<String>(&uid),
                        Err(error) => match error.try_into_panic() {
                            Ok(panic) => std::panic::resume_unwind(panic),
                            Err(_) => false,
                        },
                    };
                    continue;
                }
            }
            let pods = match self.pods(client).await {
                Ok(pods) => pods,
                Err(why) => {
                    troubles.say("", Some(why));
                    continue;
                }
            };
            let mut trouble = pods.is_empty().then(|| self.nobody());
            let there: BTreeSet<_> = pods.iter().filter_map(ResourceExt::uid).collect();
            let gone = std::mem::take(&mut before).into_iter();
            for uid in gone.filter(|uid| !there.contains(uid)) {
                if let Err(why) = way.end(&uid, false).await {
                    before.push(uid);
                    trouble = Some(why);
                }
            }
            for pod in pods {
                let uid = pod.uid().filter(|uid| !followed.contains(uid));
                let Some(uid) = uid else {
                    continue;
                };
                match Container::of(&pod, self.container.as_deref()) {
                    Ok(name) => {
                        let container = Container {
                            pods: Api::namespaced(client.clone(), &self.namespace),
                            pod: pod.name_any(),
                            uid: uid.clone(),
                            name,
                            way: way.clone(),
                            troubles: troubles.clone(),
                        };
                        followed.insert(uid.clone());
                        tasks.spawn(async move {
                            container.follow().await;
                            uid
                        });
                    }
                    Err(why) => trouble = Some(why),
                }
            }
            troubles.say("", trouble);
        }
    }

    async fn open(&self) -> Result<(Client, Arc<Kept>), Text> {
        let client = kubernetes::connect(&self.kubernetes).await;
        let client = client.map_err(|obstacle| obstacle.text)?;
        let (state, source) = (self.state.clone(), self.source.clone());
        let kept = spawn_blocking(move || Kept::open(&state, &source)).await;
        let kept = kept.map_err(io::Error::other).and_then(|kept| kept);
        let kept = kept.map_err(|error| {
            let folder = self.state.display();
            Text::from(format!("tried to keep positions in {folder}: {error}"))
        })?;
        Ok((client, Arc::new(kept)))
    }

    async fn pods(&self, client: &Client) -> Result<Vec<Pod>, Text> {
        let api: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        let params = ListParams::default().labels(&self.selector);
        let listed = read::some(client, &api, &params, false, |_: &Pod| true).await;
        listed.map_err(|error| {
            let what = format!("list pods in `{}`", self.namespace);
            kubernetes::obstacle(&what, &error).text
        })
    }

    fn nobody(&self) -> Text {
        format!(
            "no Pod in `{}` has the labels `{}`",
            self.namespace, self.selector
        )
        .into()
    }
}
