//! The login with the Secret's credential: once, or repeatedly for as long as a step takes.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{self, Instant, MissedTickBehavior};

use super::Clients;
use super::clients::QUESTION_LIMIT;
use crate::canary::{Canary, Salt};
use crate::kubernetes;
use crate::model::Mark;
use crate::model::record::{Hindrance, Login, Logins, Obstacle, Peer};
use crate::model::timeline::Content;
use crate::observe;
use crate::postgres::{Credential, Server};
use crate::wire;

/// How often it is tried for as long as a step takes.
const EVERY: Duration = Duration::from_millis(100);
/// Where to log in with what a canary's Secret holds.
#[derive(Clone)]
pub(super) struct LoginTarget {
    server: Result<Server, Obstacle>,
    secrets: Api<Secret>,
    name: String,
    salt: Salt,
    epoch: Instant,
}

impl LoginTarget {
    /// `None` if nobody asked for a login.
    pub(super) fn new(clients: &Clients, canary: &Canary, epoch: Instant) -> Option<Self> {
        Some(Self {
            server: Server::new(canary.login()?),
            secrets: Api::namespaced(clients.kube.clone(), &canary.namespace),
            name: canary.name.clone(),
            salt: canary.salt(),
            epoch,
        })
    }

    /// Logs in once.
    pub(super) async fn try_login(&self) -> Option<Logins> {
        let held = self.held().await.transpose()?;
        Some(self.attempt(held.as_ref()).await)
    }

    /// Logs in again and again, until that is ended.
    pub(super) fn watch(&self) -> Watch {
        let (changed, told) = watch::channel(());
        let mut task = JoinSet::new();
        task.spawn(self.clone().keep_trying(told));
        Watch { changed, task }
    }

    async fn keep_trying(self, mut told: watch::Receiver<()>) -> Vec<Logins> {
        let mut ticks = time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut logins = Vec::new();
        let mut held = self.held().await;
        loop {
            ticks.tick().await;
            match told.has_changed() {
                Ok(true) => {
                    told.mark_unchanged();
                    held = self.held().await;
                }
                Ok(false) => {}
                Err(_) => return logins,
            }
            if let Some(held) = held.as_ref().map(Option::as_ref).transpose() {
                note(&mut logins, self.attempt(held).await);
            }
        }
    }

    async fn attempt(&self, held: Result<&(Content, Credential), &Obstacle>) -> Logins {
        let outcome = match (held, &self.server) {
            (Ok((_, credential)), Ok(server)) => server.login(credential).await,
            (Err(obstacle), _) | (_, Err(obstacle)) => Login::Untold(obstacle.clone()),
        };
        let at = Mark::new(Instant::now().saturating_duration_since(self.epoch));
        Logins {
            content: held.map(|(content, _)| content.clone()).unwrap_or_default(),
            first: at,
            last: at,
            count: 1,
            outcome,
        }
    }

    /// What the Secret holds now, if it is there.
    async fn held(&self) -> Result<Option<(Content, Credential)>, Obstacle> {
        let what = format!("get Secret `{}`", self.name);
        let secret = wire::limited(Peer::Kubernetes, &what, QUESTION_LIMIT, async {
            let found = self.secrets.get_opt(&self.name).await;
            found.map_err(|error| kubernetes::obstacle(&what, &error))
        });
        let Some(secret) = secret.await? else {
            return Ok(None);
        };
        let (_, content) = observe::secret_content(&secret, self.salt);
        let mut data = secret.data.unwrap_or_default();
        let mut take = |key: &str| {
            let ByteString(value) = data.remove(key)?;
            String::from_utf8(value).ok().map(Into::into)
        };
        let credential = take("username").zip(take("password"));
        let Some((user, password)) = credential else {
            return Err(Obstacle::new(
                Peer::Postgres,
                Hindrance::Unfit,
                format!(
                    "tried to log in to PostgreSQL: Secret `{}` has no `username` and `password`",
                    self.name
                ),
            ));
        };
        Ok(Some((content, Credential { user, password })))
    }
}

/// Logins under way.
pub(super) struct Watch {
    changed: watch::Sender<()>,
    task: JoinSet<Vec<Logins>>,
}

impl Watch {
    /// Tells that the Secret holds something else now.
    pub(super) fn changed(&self) {
        self.changed.send_replace(());
    }

    /// Ends them, and tells how they came out.
    pub(super) async fn end(self) -> Vec<Logins> {
        let Self { changed, mut task } = self;
        drop(changed);
        match task.join_next().await {
            Some(Ok(logins)) => logins,
            Some(Err(_)) | None => Vec::new(),
        }
    }
}

/// Adds a login to those before it.
fn note(logins: &mut Vec<Logins>, login: Logins) {
    match logins.last_mut() {
        Some(last) if last.outcome == login.outcome && last.content == login.content => {
            last.last = login.last;
            last.count = last.count.saturating_add(login.count);
        }
        _ => logins.push(login),
    }
}
