//! A canary: what is written for one run, what each step does to it, and what proves each step.
//! Builds everything, sends nothing.

mod dynamic_secret;
mod folder;
mod own;
mod pki_secret;
mod plan;
mod salt;
mod static_secret;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::core::ObjectMeta;
use rand::{Rng, RngExt as _};
use serde::Serialize;

use crate::config::{
    DynamicTarget, KvPath, Manifest, Marks, PkiTarget, PostgresTarget, Probe, Target,
};
use crate::model::name::{ObjectRef, ProbeId, RunId};
use crate::model::promise::Promise;
use crate::model::proof::Proof;
use crate::model::timeline::{Content, Timeline};
use crate::model::{Kind, Mark, Step};
use crate::operator;
use crate::operator::api::{Destination, Transformation};

pub use folder::{Cluster, kv_folder, kv_home};
pub use own::{OwnObject, is_name};
use plan::promise;
pub use plan::{Action, Planned, longest_run};
pub use salt::Salt;

/// The label, on resources and Secrets, with the prober's instance.
pub const INSTANCE_LABEL: &str = "vso-prober/instance";
/// The label with the probe's name.
pub const PROBE_LABEL: &str = "vso-prober/probe";
/// The annotation with the moment from which a canary may be removed by anyone.
pub const EXPIRES: &str = "vso-prober/expires";
/// The key of a canary's data in Vault with that moment.
pub const EXPIRES_KEY: &str = "expires";
/// The key of a canary's data in Vault with its nonce.
pub const NONCE_KEY: &str = "nonce";

/// A canary.
#[derive(Clone)]
pub struct Canary {
    /// The name of its resource and of its Secret.
    pub name: String,
    /// Their namespace.
    pub namespace: String,
    /// The probe's name.
    pub probe: ProbeId,
    /// The run's ID.
    pub run: RunId,
    /// The prober's instance.
    pub instance: String,
    /// From when on it may be removed by anyone.
    pub expires: Timestamp,
    /// What is to be done, in order.
    pub plan: Vec<Planned>,
    /// The folder in Vault that its secret goes into, if it has one there.
    folder: Option<KvPath>,
    manifest: Manifest,
    marks: Marks,
    target: Target,
    salt: Salt,
    nonces: BTreeMap<Step, String>,
    /// When its certificates end, where that is asked for.
    not_after: Option<String>,
}

impl Canary {
    /// Makes the canary of a new run of `probe`. Chance decides its name and its nonces.
    pub fn new(
        probe: &Probe,
        namespace: &str,
        instance: &str,
        cluster: &Cluster,
        now: Timestamp,
        rng: &mut impl Rng,
    ) -> Self {
        let run = word(rng, own::RUN_LENGTH);
        let plan: Vec<_> = probe
            .target
            .kind()
            .steps()
            .iter()
            .filter_map(|step| {
                let within = *probe.steps.get(step)?;
                Some(Planned {
                    step: *step,
                    within,
                    timeout: probe.timeout,
                    promise: promise(probe, *step),
                    longest: plan::longest(probe, *step),
                })
            })
            .collect();
        // Twice the longest run: nobody removes a canary in use.
        let lifetime = SignedDuration::try_from(longest_run(probe).saturating_mul(2))
            .unwrap_or(SignedDuration::from_hours(24));
        let nonces = plan
            .iter()
            .map(|planned| (planned.step, word(rng, 32)))
            .collect();
        Self {
            name: own::name(&probe.name, &run),
            namespace: namespace.to_owned(),
            probe: probe.name.clone().into(),
            run: run.into(),
            instance: instance.to_owned(),
            folder: kv_home(&probe.target, instance, cluster),
            expires: now.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
            plan,
            manifest: probe.manifest,
            marks: probe.marks.clone(),
            target: probe.target.clone(),
            salt: Salt::new(rng.random()),
            nonces,
            not_after: match &probe.target {
                Target::Pki(target) => pki_secret::end(target, now),
                Target::Static(_) | Target::Dynamic(_) => None,
            },
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.target.kind()
    }

    /// Its resource, and its Secret.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(&self.namespace, &self.name)
    }

    /// The VaultAuth that it refers to.
    pub fn auth_ref(&self) -> ObjectRef {
        let text = match &self.target {
            Target::Static(target) => &target.auth_ref,
            Target::Dynamic(target) => &target.auth_ref,
            Target::Pki(target) => &target.auth_ref,
        };
        let (namespace, name) = operator::referred(text, &self.namespace);
        ObjectRef::new(namespace, name)
    }

    /// Where its secret is in Vault, if it has one there.
    pub fn kv_path(&self) -> Option<KvPath> {
        self.folder.as_ref().map(|folder| folder.with(&self.name))
    }

    /// What its credentials are asked for with, if it has some.
    pub const fn dynamic(&self) -> Option<&DynamicTarget> {
        match &self.target {
            Target::Dynamic(target) => Some(target),
            Target::Static(_) | Target::Pki(_) => None,
        }
    }

    /// What its certificates are asked for with, if it has some.
    pub const fn pki(&self) -> Option<&PkiTarget> {
        match &self.target {
            Target::Pki(target) => Some(target),
            Target::Static(_) | Target::Dynamic(_) => None,
        }
    }

    /// What has to be there before a step's stimulus, and is not timed.
    pub fn preparation(&self, step: Step) -> Option<Action> {
        match (step, &self.target) {
            (Step::Create, Target::Static(_)) => Some(self.write(Step::Create)),
            _ => None,
        }
    }

    /// What sets a step off; nothing if that is the operator's own schedule.
    pub fn stimulus(&self, step: Step) -> Option<Action> {
        Some(match step {
            Step::Create => match &self.target {
                Target::Static(target) => create(&static_secret::resource(self, target)),
                Target::Dynamic(target) => create(&dynamic_secret::resource(self, target)),
                Target::Pki(target) => create(&pki_secret::resource(self, target)),
            },
            Step::Update => self.write(Step::Update),
            Step::Tamper => Action::EditSecret {
                value: self.nonce(Step::Tamper).to_owned(),
            },
            Step::Recreate => Action::DeleteSecret,
            Step::Delete => Action::Delete,
            Step::Renew | Step::Rotate => return None,
        })
    }

    /// What proves a step, given what was `seen` before it.
    pub fn proof(&self, step: Step, seen: &Timeline) -> Proof {
        let secret = || seen.secret();
        let resource = || seen.resource_at(Mark::new(Duration::MAX));
        let lease = || Some(resource()?.lease_id()?.to_owned());
        match (step, &self.target) {
            (Step::Delete, _) => Proof::Gone,
            (_, Target::Dynamic(target)) if target.static_role => Proof::Given {
                old: secret().map(|(_, content)| content.clone()),
            },
            (Step::Renew, Target::Dynamic(_)) => Proof::Prolonged {
                lease: lease().unwrap_or_default(),
                renewed: resource().map_or(0, |resource| resource.renewed),
            },
            (Step::Rotate, Target::Dynamic(_)) => Proof::Replaced {
                lease: lease().unwrap_or_default(),
                old: secret()
                    .map(|(_, content)| content.clone())
                    .unwrap_or_default(),
                empty: self.salt.digest(b""),
            },
            (_, Target::Dynamic(_)) => Proof::Credential {
                empty: self.salt.digest(b""),
            },
            (_, Target::Pki(_)) => Proof::Certificate,
            (step, Target::Static(_)) => Proof::Content {
                expected: self.content_after(step),
                not_uid: secret()
                    .filter(|_| step == Step::Recreate)
                    .map(|(uid, _)| uid.to_owned()),
                after: (step == Step::Tamper).then(|| self.tampered()),
            },
        }
    }

    /// When the effect of a step is due, given what was `seen` before it: only a lease, or a static role's credential, tells
    /// when it will be renewed or replaced.
    pub fn promise(&self, planned: &Planned, seen: &Timeline) -> Promise {
        let resource = seen.resource_at(Mark::new(Duration::MAX));
        let lease = resource.and_then(|resource| resource.lease.as_ref());
        let rotation = resource.and_then(|resource| resource.rotation);
        if let (Promise::Announced { .. }, Some(rotation)) = (planned.promise, rotation) {
            let bound = operator::rotation_bound(rotation.left);
            return Promise::Announced { bound };
        }
        match (&self.target, planned.promise, lease) {
            (Target::Dynamic(target), Promise::Announced { .. }, Some(lease)) => {
                Promise::Announced {
                    bound: operator::renewal_bound(lease.duration, target.renewal_percent),
                }
            }
            (_, promise, _) => promise,
        }
    }

    /// Where to log in with its credential, if that is asked for.
    pub const fn login(&self) -> Option<&PostgresTarget> {
        match &self.target {
            Target::Dynamic(target) => target.verify.as_ref(),
            Target::Static(_) | Target::Pki(_) => None,
        }
    }

    /// The contents that the Secret has for as long as the operator has not acted on this step.
    pub fn contents_before(&self, step: Step) -> Vec<Content> {
        if self.kv_path().is_none() {
            return Vec::new();
        }
        let steps = self.plan.iter().map(|planned| planned.step);
        let mut contents: Vec<_> = steps
            .take_while(|earlier| *earlier != step)
            .map(|earlier| self.content_after(earlier))
            .collect();
        if step == Step::Tamper {
            contents.push(self.tampered());
        }
        contents
    }

    /// The salt of its digests.
    pub const fn salt(&self) -> Salt {
        self.salt
    }

    /// The content that the prober itself puts into the Secret for the step `tamper`.
    fn tampered(&self) -> Content {
        let mut data = self.data(self.written_by(Step::Tamper));
        data.insert(NONCE_KEY.to_owned(), self.nonce(Step::Tamper).to_owned());
        self.content_of(&data)
    }

    fn content_after(&self, step: Step) -> Content {
        self.content_of(&self.data(self.written_by(step)))
    }

    fn content_of(&self, data: &BTreeMap<String, String>) -> Content {
        self.salt
            .content(data.iter().map(|(key, value)| (key, value.as_bytes())))
    }

    /// The latest step, up to this one, that wrote to Vault.
    fn written_by(&self, step: Step) -> Step {
        let updated = self.plan.iter().any(|planned| planned.step == Step::Update);
        if updated && step >= Step::Update {
            Step::Update
        } else {
            Step::Create
        }
    }

    fn write(&self, step: Step) -> Action {
        let at = self
            .kv_path()
            .expect("only a static canary is written to Vault");
        Action::WriteKv {
            at,
            // Each step that writes does it once, the creation first.
            version: u32::from(step != Step::Create),
            data: self.data(step),
        }
    }

    fn data(&self, step: Step) -> BTreeMap<String, String> {
        BTreeMap::from([
            (NONCE_KEY.to_owned(), self.nonce(step).to_owned()),
            (EXPIRES_KEY.to_owned(), self.expires.to_string()),
        ])
    }

    fn nonce(&self, step: Step) -> &str {
        self.nonces.get(&step).map_or("", String::as_str)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let own = [
            (INSTANCE_LABEL.to_owned(), self.instance.clone()),
            (PROBE_LABEL.to_owned(), self.probe.to_string()),
        ];
        self.marks.labels.clone().into_iter().chain(own).collect()
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let own = (EXPIRES.to_owned(), self.expires.to_string());
        let others = self.marks.annotations.clone().into_iter();
        others.chain([own]).collect()
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            annotations: Some(self.annotations()),
            ..ObjectMeta::default()
        }
    }

    fn destination(&self) -> Destination {
        Destination {
            name: self.name.clone(),
            create: true,
            overwrite: false,
            labels: Some(self.labels()),
            annotations: Some(self.annotations()),
            type_: None,
            // The operator writes an empty one where there is none, and so bumps the generation.
            transformation: match self.manifest {
                Manifest::Canonical => Some(Transformation::default()),
                Manifest::Minimal => None,
            },
        }
    }
}

/// The creation of a resource, whatever its kind.
fn create(resource: &impl Serialize) -> Action {
    let value = serde_json::to_value(resource).expect("a resource is plain data");
    let object = serde_json::from_value(value).expect("a resource is an object of Kubernetes");
    Action::Create(Box::new(object))
}

/// The label selector of an instance's resources and Secrets.
pub fn selector(instance: &str) -> String {
    format!("{INSTANCE_LABEL}={instance}")
}

/// A word of letters and digits that fits any name.
fn word(rng: &mut impl Rng, length: usize) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..length)
        .map(|_| char::from(ALPHABET[rng.random_range(..ALPHABET.len())]))
        .collect()
}
