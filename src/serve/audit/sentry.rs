//! The look at what audit logs are judged by: the operator's Pods and Lease, the `VaultAuth`s, who else uses their accounts, and
//! the prober's own line in Vault's log.

mod seen;

use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::audit::context::Accounts;
use crate::audit::tracker::{SeenLease, SeenPod};
use crate::config::{Config, Identities};
use crate::kubernetes::{self, read};
use crate::model::name::ObjectRef;
use crate::model::record::Obstacle;
use crate::model::snapshot::Snapshot;
use crate::operator::api::{VaultAuth, VaultAuthGlobal};
use crate::operator::{
    self, LEADER_LEASE, LoginIdentity, allows, globals_of, identities_of, merged,
};
use crate::scrape::Source;
use crate::vault::Vault;

use super::notice::About;
use seen::{UsingPod, about, held, seen};

/// How often each is looked at.
const PODS: Duration = Duration::from_secs(1);
const AUTHS: Duration = Duration::from_secs(5);
/// A Pod that has just begun is to be seen before a suspect that it made is confirmed; all Pods are too many to be listed more often.
const ACCOUNTS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(45));
const METRICS: Duration = Duration::from_secs(60);
const LINES: Duration = Duration::from_secs(10);
/// No look takes longer.
const LIMIT: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Debug)]
pub(super) enum News {
    /// The operator's Pods, all of them, its Lease, and its account.
    Pods {
        at: Timestamp,
        pods: Vec<SeenPod>,
        lease: Option<SeenLease>,
        account: Option<ObjectRef>,
        about: Option<About>,
    },
    /// They could not be looked at.
    Unseen,
    /// What the operator logs in as.
    Identities(Vec<LoginIdentity>),
    /// The accounts that Pods use which are not the operator's, as they were at this time; `None` if that can't be told.
    Accounts(Option<(Timestamp, Accounts)>),
    /// The operator's metrics, asked for and come.
    Metrics {
        asked: Timestamp,
        at: Timestamp,
        snapshot: Box<Snapshot>,
    },
    /// A request of the prober's own to Vault.
    Line {
        id: String,
        sent: Timestamp,
        received: Timestamp,
    },
}

/// What is looked at.
#[derive(Clone, Copy)]
enum Look {
    /// The operator's Pods and its Lease.
    Pods,
    /// The `VaultAuth`s.
    Auths,
    /// The ServiceAccounts of all Pods.
    Accounts,
    /// Vault, where a request of the prober's own leaves a line.
    Line,
}

impl Look {
    const fn name(self) -> &'static str {
        match self {
            Self::Pods => "the operator's Pods",
            Self::Auths => "the VaultAuths",
            Self::Accounts => "the ServiceAccounts of all Pods",
            Self::Line => "the prober's own line in Vault's audit log",
        }
    }

    /// What is to be told if nothing could be seen.
    const fn in_vain(self) -> Option<News> {
        match self {
            Self::Pods => Some(News::Unseen),
            Self::Accounts => Some(News::Accounts(None)),
            Self::Auths | Self::Line => None,
        }
    }
}

/// The look-out.
pub(super) struct Sentry {
    client: Client,
    vault: Arc<Vault>,
    metrics: Source,
    namespace: String,
    selector: String,
    /// Whether the operator's identities are those of the `VaultAuth`s.
    infers: bool,
    /// How often the Pods of others are looked at.
    accounts: Duration,
    news: mpsc::Sender<News>,
}

impl Sentry {
    /// One for the operator of a configuration, that tells `news`.
    ///
    /// # Errors
    /// There is no client for Vault.
    pub(super) async fn new(
        config: &Config,
        client: Client,
        news: mpsc::Sender<News>,
    ) -> Result<Self, Obstacle> {
        let audit = config.audit.as_ref();
        let grace = audit.map_or(ACCOUNTS.1, |audit| audit.grace);
        Ok(Self {
            accounts: (grace * 3 / 4).clamp(ACCOUNTS.0, ACCOUNTS.1),
            metrics: Source::new(config, &client),
            client,
            vault: Arc::new(Vault::open(&config.vault).await?),
            namespace: config.operator.namespace.clone(),
            selector: config.operator.pod_selector.clone(),
            infers: audit.is_some_and(|audit| audit.identities == Identities::Auto),
            news,
        })
    }

    /// Its client of Vault.
    pub(super) fn vault(&self) -> Arc<Vault> {
        self.vault.clone()
    }

    /// Looks again and again.
    pub(super) async fn keep_watch(self) {
        let auths = self.infers.then(|| self.every(Look::Auths));
        tokio::join!(
            self.every(Look::Pods),
            OptionFuture::from(auths),
            self.every(Look::Accounts),
            self.every(Look::Line),
            self.scrape(),
        );
    }

    fn period(&self, look: Look) -> Duration {
        match look {
            Look::Pods => PODS,
            Look::Auths => AUTHS,
            Look::Accounts => self.accounts,
            Look::Line => LINES,
        }
    }

    /// Tells what each look brings. Of a trouble the log is told once, until it is over.
    async fn every(&self, look: Look) {
        let mut ticks = interval(self.period(look));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut troubled = false;
        loop {
            ticks.tick().await;
            let looked = match timeout(LIMIT, self.look(look)).await {
                Ok(looked) => looked.map_err(|obstacle| obstacle.text.to_string()),
                Err(_) => Err(format!("no answer within {LIMIT:?}")),
            };
            let news = match looked {
                Ok(news) => {
                    troubled = false;
                    Some(news)
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        let what = look.name();
                        tracing::warn!(what, error, "can't look at what audit logs are judged by");
                    }
                    look.in_vain()
                }
            };
            if let Some(news) = news
                && self.news.send(news).await.is_err()
            {
                return;
            }
        }
    }

    async fn look(&self, look: Look) -> Result<News, Obstacle> {
        match look {
            Look::Pods => self.pods().await,
            Look::Auths => self.identities().await,
            Look::Accounts => self.accounts().await,
            Look::Line => self.line().await,
        }
    }

    /// Tells what the operator's metrics say, where they are read from the operator itself. Of a trouble the log is told there.
    async fn scrape(&self) {
        let Source::Direct(scraper) = &self.metrics else {
            return;
        };
        let mut ticks = interval(METRICS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let asked = Timestamp::now();
            let look = scraper.look().await;
            let at = Timestamp::now();
            if let Ok(snapshot) = &look.what {
                let news = News::Metrics {
                    asked,
                    at,
                    snapshot: Box::new(snapshot.clone()),
                };
                if self.news.send(news).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn pods(&self) -> Result<News, Obstacle> {
        let namespace = &self.namespace;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().labels(&self.selector);
        // What happens while the answer is under way is not in it.
        let at = Timestamp::now();
        let listed = read::some(&self.client, &api, &params, false, |_: &Pod| true).await;
        let listed = listed.map_err(|error| {
            kubernetes::obstacle(&format!("list pods in `{namespace}`"), &error)
        })?;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        let lease: Option<Lease> = read::one(&self.client, &leases, LEADER_LEASE)
            .await
            .unwrap_or_default();
        let own = operator::Pods::tell(listed, lease.as_ref().and_then(operator::holder)).own;
        let account = own.iter().find_map(|pod| {
            let name = pod.spec.as_ref()?.service_account_name.clone()?;
            Some(ObjectRef::new(namespace.clone(), name))
        });
        Ok(News::Pods {
            at,
            pods: own.iter().filter_map(|pod| seen(pod, at)).collect(),
            lease: lease.as_ref().and_then(held),
            account,
            about: own.first().map(about),
        })
    }

    async fn identities(&self) -> Result<News, Obstacle> {
        let whole = ListParams::default();
        let auths: Api<VaultAuth> = Api::all(self.client.clone());
        let globals: Api<VaultAuthGlobal> = Api::all(self.client.clone());
        let failed = |what: &str| {
            let what = format!("list {what}");
            move |error: kube::Error| kubernetes::obstacle(&what, &error)
        };
        let auths = read::some(&self.client, &auths, &whole, false, |_: &VaultAuth| true).await;
        let auths = auths.map_err(failed("vaultauths"))?;
        let globals = if auths
            .iter()
            .any(|auth| auth.spec.vault_auth_global_ref.is_some())
        {
            let globals = read::some(
                &self.client,
                &globals,
                &whole,
                false,
                |_: &VaultAuthGlobal| true,
            )
            .await;
            globals.map_err(failed("vaultauthglobals"))?
        } else {
            Vec::new()
        };
        let all = auths
            .iter()
            .flat_map(|auth| self.identities_of(auth, &globals));
        Ok(News::Identities(all.collect()))
    }

    fn identities_of(&self, auth: &VaultAuth, globals: &[VaultAuthGlobal]) -> Vec<LoginIdentity> {
        let (namespace, name) = (auth.namespace().unwrap_or_default(), auth.name_any());
        let operators = &self.namespace;
        let spec = match globals_of(&auth.spec, &namespace, operators) {
            None => auth.spec.clone(),
            Some(places) => {
                let named = |global: &&VaultAuthGlobal| {
                    let (place, name) = (global.namespace().unwrap_or_default(), global.name_any());
                    let allowed = global.spec.allowed_namespaces.as_deref();
                    places.contains(&(place.clone(), name.clone()))
                        && allows(allowed, (&place, &name), &namespace, operators)
                };
                let global = globals.iter().find(named);
                let Some(spec) = global.and_then(|global| merged(&auth.spec, &global.spec).ok())
                else {
                    return Vec::new();
                };
                spec
            }
        };
        identities_of(&spec, (&namespace, &name), operators)
    }

    async fn accounts(&self) -> Result<News, Obstacle> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        // What happens while the answer is under way is not in it.
        let at = Timestamp::now();
        let mut accounts = Accounts::new();
        let operators = &self.namespace;
        let take = |pod: UsingPod| {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            if let Some(name) = &pod.spec.service_account_name
                && namespace != operators
            {
                let account = format!("{namespace}/{name}");
                let addresses = accounts.entry(account).or_default();
                let created = pod.metadata.creation_timestamp.unwrap_or(at);
                for address in pod.addresses() {
                    let from = addresses.entry(address).or_insert(created);
                    *from = created.min(*from);
                }
            }
        };
        let listed = read::each(&self.client, &pods, &ListParams::default(), false, take).await;
        listed.map_err(|error| kubernetes::obstacle("list pods of all namespaces", &error))?;
        Ok(News::Accounts(Some((at, accounts))))
    }

    async fn line(&self) -> Result<News, Obstacle> {
        let sent = Timestamp::now();
        let id = self.vault.leave_line().await?;
        let received = Timestamp::now();
        let id = id.unwrap_or_default();
        Ok(News::Line { id, sent, received })
    }
}
