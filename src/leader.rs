//! Leader election: of several replicas, the holder of the Lease runs the probes.

use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::health::{Health, Promise};
use crate::kubernetes;
use crate::model::record::Peer;
use crate::model::standing::Standing;
use crate::model::text::Text;
use crate::model::time::Moment as _;
use crate::shutdown::{Shutdown, Tenure};
use crate::wire;

/// How long a Lease holds without being renewed, as written in it.
const DURATION: Duration = Duration::from_secs(15);
/// After how long without a change another replica's Lease is taken, by this replica's own clock: early
/// enough that one has taken over before the Lease is past its time.
const PATIENCE: Duration = Duration::from_secs(13);
/// After how long without a renewal the leader steps down: before anyone takes its Lease.
const RENEWAL_LIMIT: Duration = Duration::from_secs(9);
const RENEW_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const REQUEST_LIMIT: Duration = Duration::from_secs(3);
/// How often the Lease is read and written in one go, where somebody changes it meanwhile.
const TRIES: u32 = 3;
/// How long contention may stand still before it is called stuck.
const STUCK: Duration = Duration::from_secs(30);
/// What it is called where it is missed.
const WHO: &str = "leader election";

/// A replica in contention for a Lease.
pub struct Leadership {
    leading: watch::Receiver<Standing>,
    tenure: Tenure,
    resigned: Shutdown,
    task: JoinHandle<()>,
}

impl Leadership {
    /// Contends for the Lease `name` for as long as it lives. Whatever happens to the Lease or to the API
    /// server, it contends again, and tells `health` at every try.
    pub fn contend(
        client: &Client,
        namespace: &str,
        name: &str,
        identity: &str,
        health: &Health,
    ) -> Self {
        let promise = health.promise(WHO, STUCK);
        let (sender, leading) = watch::channel(Standing::default());
        let resigned = Shutdown::default();
        let candidate = Candidate {
            leases: Api::namespaced(client.clone(), namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            seen: None,
        };
        let tenure = Tenure::default();
        let contended = candidate.contend(sender, tenure.clone(), promise, resigned.clone());
        let may_end = {
            let resigned = resigned.clone();
            move || resigned.asked()
        };
        let task = tokio::spawn(health.clone().keep(WHO.to_owned(), may_end, contended));
        Self {
            leading,
            tenure,
            resigned,
            task,
        }
    }

    /// How long this replica may do what only the leader does.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// Whether this replica leads or who does, now and at every change.
    pub fn leading(&self) -> watch::Receiver<Standing> {
        self.leading.clone()
    }

    /// Gives the Lease back, so that another replica can lead at once.
    pub async fn resign(self) {
        self.resigned.ask();
        // It ends within the limit of one request, or has ended by a panic.
        let _ = self.task.await;
    }
}

struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// The Lease as another holds it, and since when it has not changed.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    async fn contend(
        mut self,
        leading: watch::Sender<Standing>,
        tenure: Tenure,
        promise: Promise,
        resigned: Shutdown,
    ) {
        let mut renewed: Option<Instant> = None;
        let mut trouble = None;
        let (lease, identity) = (self.name.clone(), self.identity.clone());
        let tell = |until: Option<Instant>, leader: Option<Text>| {
            tenure.set(until);
            let now = match until {
                Some(_) => Standing::Leads,
                None => Standing::Follows { leader },
            };
            let leads = now.leads();
            let mut led = leads;
            leading.send_if_modified(|standing| {
                led = standing.leads();
                *standing != now && {
                    *standing = now;
                    true
                }
            });
            if led != leads {
                let what = if leads {
                    "leading"
                } else {
                    "no longer leading"
                };
                tracing::info!(lease, identity, "{what}");
            }
        };
        while !resigned.asked() {
            let asked = Instant::now();
            let ends = renewed.map(|at| at.later(RENEWAL_LIMIT));
            let outcome = {
                let mut attempt = pin!(self.attempt());
                tokio::select! {
                    biased;
                    outcome = &mut attempt => outcome,
                    // However long the answer takes.
                    () = sleep_until(ends.unwrap_or(asked)), if ends.is_some() => {
                        tell(None, None);
                        attempt.await
                    }
                }
            };
            match outcome {
                Ok(true) => (renewed, trouble) = (Some(asked), None),
                Ok(false) => (renewed, trouble) = (None, None),
                Err(text) => {
                    if trouble.as_ref() != Some(&text) {
                        tracing::warn!(reason = text, "leader election failed");
                    }
                    trouble = Some(text);
                }
            }
            let now = Instant::now();
            let until = renewed.map(|at| at.later(RENEWAL_LIMIT));
            let until = until.filter(|until| now < *until);
            tell(until, self.holder());
            promise.renew(now.later(STUCK));
            let pause = if until.is_some() {
                RENEW_EVERY
            } else {
                LOOK_EVERY
            };
            tokio::select! {
                () = resigned.wait() => {}
                () = sleep_until(asked.later(pause)) => {}
            }
        }
        tell(None, None);
        if renewed.is_some()
            && let Err(text) = self.release().await
        {
            tracing::warn!(reason = text, "could not release the Lease; it expires");
        }
    }

    /// Who else was seen to hold the Lease last.
    fn holder(&self) -> Option<Text> {
        let (spec, _) = self.seen.as_ref()?;
        spec.holder_identity.as_deref().map(Text::new)
    }

    /// Takes or renews the Lease if that is possible. Returns whether this replica holds it now. If somebody changed the
    /// Lease meanwhile, who holds it is looked at again: it may still be this replica.
    async fn attempt(&mut self) -> Result<bool, String> {
        for _ in 0..TRIES {
            let lease = self.limited("get", self.leases.get_opt(&self.name)).await?;
            let found = lease.map(|lease| (lease.spec.clone().unwrap_or_default(), lease));
            let next = self.consider(found, Instant::now());
            if let Some(holds) = next.write(self).await? {
                return Ok(holds);
            }
        }
        Err(format!("Lease `{}` changes at every try", self.name))
    }

    /// What is to be done about the Lease as it was found.
    fn consider(&mut self, found: Option<(LeaseSpec, Lease)>, now: Instant) -> Move {
        let fresh = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        };
        let Some((spec, lease)) = found else {
            return Move::Create(LeaseSpec {
                acquire_time: fresh.renew_time.clone(),
                lease_transitions: Some(0),
                ..fresh
            });
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let mine = holder == self.identity;
        if !mine && !holder.is_empty() {
            // By this replica's clock alone: others' may be wrong.
            let since = match &self.seen {
                Some((seen, since)) if *seen == spec => *since,
                _ => now,
            };
            self.seen = Some((spec.clone(), since));
            if now < since.later(PATIENCE) {
                return Move::Wait;
            }
        }
        let spec = if mine {
            LeaseSpec {
                acquire_time: spec.acquire_time,
                lease_transitions: spec.lease_transitions,
                ..fresh
            }
        } else {
            LeaseSpec {
                acquire_time: fresh.renew_time.clone(),
                lease_transitions: Some(
                    spec.lease_transitions.unwrap_or_default().saturating_add(1),
                ),
                ..fresh
            }
        };
        Move::Replace(Box::new(Lease {
            spec: Some(spec),
            ..lease
        }))
    }

    /// Empties the Lease if this replica still holds it.
    async fn release(&self) -> Result<(), String> {
        let lease = self.limited("get", self.leases.get_opt(&self.name)).await?;
        let Some(mut lease) = lease else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        Move::Replace(Box::new(lease)).write(self).await.map(drop)
    }

    async fn limited<T>(
        &self,
        verb: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, String> {
        let what = format!("{verb} Lease `{}`", self.name);
        let told = async {
            let answer = request.await;
            answer.map_err(|error| kubernetes::obstacle(&what, &error))
        };
        wire::limited(Peer::Kubernetes, &what, REQUEST_LIMIT, told)
            .await
            .map_err(|obstacle| obstacle.text.into())
    }
}

/// What is to be done about the Lease.
#[derive(Debug)]
enum Move {
    Wait,
    Create(LeaseSpec),
    Replace(Box<Lease>),
}

impl Move {
    /// Does it. Returns whether the Lease is held now; none if somebody changed it meanwhile.
    async fn write(self, candidate: &Candidate) -> Result<Option<bool>, String> {
        let params = PostParams::default();
        let Candidate { leases, name, .. } = candidate;
        match self {
            Self::Wait => Ok(Some(false)),
            Self::Create(spec) => {
                let metadata = ObjectMeta {
                    name: Some(name.clone()),
                    ..ObjectMeta::default()
                };
                let spec = Some(spec);
                let lease = Lease { metadata, spec };
                let created = async { won(leases.create(&params, &lease).await) };
                candidate.limited("create", created).await
            }
            Self::Replace(lease) => {
                let replaced = async { won(leases.replace(name, &params, &lease).await) };
                candidate.limited("update", replaced).await
            }
        }
    }
}

/// That a write went through; none where another was faster.
fn won(written: kube::Result<Lease>) -> kube::Result<Option<bool>> {
    match written {
        Ok(_) => Ok(Some(true)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}
