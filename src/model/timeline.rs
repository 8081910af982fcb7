//! The timeline: what was seen of one canary, with its moments, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Mark;
use super::certificate::Certificate;
use super::text::Text;

/// The content of a Secret without its values: for each key a salted digest of its value.
///
/// The salt is a run's own and is never published, so that equal values can be told from different
/// ones within the run and nothing else.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Content(pub BTreeMap<String, String>);

impl Content {
    /// Whether it has each key of a `part` with the value that it has there.
    pub fn covers(&self, part: &Self) -> bool {
        let mut keys = part.0.iter();
        !part.0.is_empty() && keys.all(|(key, value)| self.0.get(key) == Some(value))
    }
}

/// A credential without a lease, as Vault itself gives it for the path of a static role.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Given {
    /// What a Secret that holds it has, among other things.
    pub content: Content,
    /// How long until Vault replaces it, where Vault says so; in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Duration>,
}

/// A credential of a static role, as the resource's status knows it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rotation {
    /// When Vault had made it, in seconds since 1970.
    pub last: i64,
    /// How long it then had left.
    pub left: Duration,
}

/// A lease that the resource's status named.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lease {
    /// Its ID in Vault; a name, not a secret.
    pub id: String,
    /// Its duration.
    pub duration: Duration,
    /// Whether it can be prolonged.
    #[serde(default)]
    pub renewable: bool,
}

/// One condition of a resource.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct State {
    /// Whether its status is `True`.
    pub ok: bool,
    /// Its message.
    pub message: Text,
    /// When it last changed, as the operator wrote it.
    pub changed: String,
}

/// A resource's state at one moment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Resource {
    /// `metadata.generation`: 1 as long as nobody wrote the spec again.
    pub generation: i64,
    /// `status.lastGeneration`: the generation last reconciled, after failures too.
    pub last_generation: i64,
    /// Whether the operator's finalizer is on it.
    pub finalizer: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The condition that says how the last sync came out.
    pub synced: Option<State>,
    /// The condition `Healthy`: its change is the heartbeat of the polls.
    pub healthy: Option<State>,
    /// The time after which the operator says in `synced` that it will be back.
    #[serde(rename = "horizon")]
    pub back_in: Option<Duration>,
    /// The lease of the credential in the Secret.
    pub lease: Option<Lease>,
    /// The credential of a static role that is in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// The serial number of the certificate in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// `status.lastRenewalTime`: when that lease was issued or last prolonged, in seconds since 1970.
    #[serde(default)]
    pub renewed: i64,
    /// What only the operator that wrote the status could: an HMAC of a key of its own, or its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The condition `LeaseRenewal`.
    #[serde(default)]
    pub renewal: Option<State>,
}

impl Resource {
    /// What a reconcile that changed something leaves otherwise than it was.
    pub fn outcome(&self) -> (Option<&State>, Option<&Lease>, i64, Option<&State>) {
        (
            self.synced.as_ref(),
            self.lease.as_ref(),
            self.renewed,
            self.renewal.as_ref(),
        )
    }

    /// What tells the credential that it names from the one before: its lease or, without one, when Vault made it.
    pub fn credential(&self) -> Option<String> {
        let made = || Some(self.rotation.as_ref()?.last.to_string());
        self.lease_id().map(str::to_owned).or_else(made)
    }

    /// The ID of the lease that it names.
    pub fn lease_id(&self) -> Option<&str> {
        self.lease.as_ref().map(|lease| lease.id.as_str())
    }
}

/// One thing seen on a watch, or about one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "a canary has some dozens of sightings, most of them of the large kinds"
)]
pub enum Seen {
    /// The Secret, with this content.
    Secret {
        /// Its UID: another one means that it was deleted in between.
        uid: String,
        /// Its content.
        content: Content,
    },
    /// The Secret, whose data is as it was: somebody who wrote none of it, this manager of fields, changed something else.
    SecretTouched(Text),
    /// The certificate in the Secret that was seen just before.
    Certificate(Certificate),
    /// What Vault gives the prober where the operator gets the Secret's credential.
    Given(Given),
    /// The Secret is being deleted, and somebody else's finalizer, which this says, holds it.
    SecretHeld(Text),
    /// The Secret is gone.
    SecretGone,
    /// The resource.
    Resource(Resource),
    /// The resource is gone.
    ResourceGone,
    /// A watch of this canary's was interrupted, which and why: what came in between was seen late, or not at all.
    WatchLost(Text),
    /// The prober itself stood still.
    Starved(Duration),
    /// The API server gave the prober no sign of life for so long, up to now.
    Silence(Duration),
    /// Vault gave the prober no sign of life for so long, up to now.
    VaultSilence(Duration),
    /// Vault was sealed for so long, up to now.
    VaultSealed(Duration),
}

impl Seen {
    /// A word for the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "the Secret",
            Self::SecretTouched(_) => "the Secret, changed by someone else",
            Self::Certificate(_) => "the certificate in the Secret",
            Self::Given(_) => "what Vault gives",
            Self::SecretHeld(_) => "the Secret, held by someone else",
            Self::SecretGone => "the Secret is gone",
            Self::Resource(_) => "the resource",
            Self::ResourceGone => "the resource is gone",
            Self::WatchLost(_) => "a watch was interrupted",
            Self::Starved(_) => "the prober stood still",
            Self::Silence(_) => "no answer from the API server",
            Self::VaultSilence(_) => "no answer from Vault",
            Self::VaultSealed(_) => "Vault is sealed",
        }
    }
}

/// Something seen, with its moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sighting {
    /// When it was received.
    pub at: Mark,
    /// Whether it comes from a list after an interrupted watch: then it happened at some time before `at`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relisted: bool,
    /// What it was.
    pub what: Seen,
}

/// Every sighting of one canary, in order of time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Timeline(Vec<Sighting>);

impl Timeline {
    /// Adds a sighting at its place.
    pub fn push(&mut self, sighting: Sighting) {
        let place = self.0.partition_point(|other| other.at <= sighting.at);
        self.0.insert(place, sighting);
    }

    /// The sightings, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Sighting> {
        self.0.iter()
    }

    /// The sightings later than `from`, and not later than `to`.
    pub fn between(&self, from: Mark, to: Mark) -> impl DoubleEndedIterator<Item = &Sighting> {
        self.0
            .iter()
            .filter(move |sighting| from < sighting.at && sighting.at <= to)
    }

    /// The state of the resource as last seen, not later than `at`.
    pub fn resource_at(&self, at: Mark) -> Option<&Resource> {
        self.0
            .iter()
            .rev()
            .filter(|sighting| sighting.at <= at)
            .find_map(|sighting| match &sighting.what {
                Seen::Resource(resource) => Some(resource),
                _ => None,
            })
    }

    /// The certificate in the Secret as last seen, not later than `at`, and when that was first.
    pub fn certificate_at(&self, at: Mark) -> Option<(Mark, &Certificate)> {
        let mut held: Option<(Mark, &Certificate)> = None;
        for (seen, certificate) in self.certificates().filter(|(seen, _)| *seen <= at) {
            if held.is_none_or(|(_, before)| before.serial != certificate.serial) {
                held = Some((seen, certificate));
            }
        }
        held
    }

    /// Every sight of a certificate, in order.
    pub fn certificates(&self) -> impl DoubleEndedIterator<Item = (Mark, &Certificate)> {
        self.0.iter().filter_map(|sighting| match &sighting.what {
            Seen::Certificate(certificate) => Some((sighting.at, certificate)),
            _ => None,
        })
    }

    /// Whether the resource's status ever named the certificate of this serial number.
    pub fn names_serial(&self, serial: &str) -> bool {
        self.0.iter().any(|sighting| {
            matches!(&sighting.what, Seen::Resource(resource) if resource.serial.as_deref() == Some(serial))
        })
    }

    /// The Secret as last seen: its UID and its content.
    pub fn secret(&self) -> Option<(&str, &Content)> {
        self.0
            .iter()
            .rev()
            .find_map(|sighting| match &sighting.what {
                Seen::Secret { uid, content } => Some((uid.as_str(), content)),
                _ => None,
            })
    }

    /// When this content, and when another after it, came into the Secret.
    pub fn stay(&self, content: &Content) -> Option<(Mark, Option<Mark>)> {
        let mut secrets = self.0.iter().filter_map(|sighting| match &sighting.what {
            Seen::Secret { content, .. } => Some((sighting.at, content)),
            _ => None,
        });
        let (from, _) = secrets.find(|(_, found)| *found == content)?;
        let other = secrets.find(|(_, found)| *found != content);
        Some((from, other.map(|(at, _)| at)))
    }

    /// Every lease that the resource ever named, in order, each once.
    pub fn leases(&self) -> Vec<&Lease> {
        let mut leases: Vec<&Lease> = Vec::new();
        for sighting in &self.0 {
            if let Seen::Resource(Resource {
                lease: Some(lease), ..
            }) = &sighting.what
                && leases.iter().all(|known| known.id != lease.id)
            {
                leases.push(lease);
            }
        }
        leases
    }

    /// How often the Secret was seen to be written by others than the prober, whose own contents are
    /// `own`. What a list shows again, and what is written as it goes, is no write.
    pub fn secret_writes(&self, own: &[&Content]) -> usize {
        self.writes_between(own, Mark::default(), Mark::new(Duration::MAX))
    }

    /// Those later than `from`, and not later than `to`.
    pub fn writes_between(&self, own: &[&Content], from: Mark, to: Mark) -> usize {
        let mut last = None;
        let mut deleting = false;
        let mut writes = 0;
        for sighting in &self.0 {
            match &sighting.what {
                Seen::Resource(resource) => deleting |= resource.deleting,
                Seen::Secret { uid, content } => {
                    let same = last.replace((uid, content)) == Some((uid, content));
                    let again = same && (sighting.relisted || deleting);
                    let within = from < sighting.at && sighting.at <= to;
                    writes += usize::from(within && !again && !own.contains(&content));
                }
                _ => {}
            }
        }
        writes
    }
}

impl FromIterator<Sighting> for Timeline {
    fn from_iter<I: IntoIterator<Item = Sighting>>(sightings: I) -> Self {
        let mut sightings: Vec<_> = sightings.into_iter().collect();
        sightings.sort_by_key(|sighting| sighting.at);
        Self(sightings)
    }
}
