//! The plan of a run: its steps, what each sends, and how long it is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::core::DynamicObject;

use crate::config::{KvPath, Probe, Target};
use crate::model::Step;
use crate::model::promise::Promise;
use crate::model::record::Peer;

/// How long it may take to clean up after a run.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(30);

/// A step with all that it takes.
#[derive(Clone)]
pub struct Planned {
    /// Which step.
    pub step: Step,
    /// The threshold that makes it good.
    pub within: Duration,
    /// How long it may take beyond its due moment.
    pub timeout: Duration,
    /// When it is due.
    pub promise: Promise,
    /// How long it is waited for, whatever is announced meanwhile.
    pub longest: Duration,
}

/// Something to send.
#[derive(Clone)]
pub enum Action {
    /// Write this nonce, with the canary's expiry, to Vault.
    WriteKv {
        /// Where.
        at: KvPath,
        /// The version that is there, of an engine with versions; 0 if none is.
        version: u32,
        /// The data.
        data: BTreeMap<String, String>,
    },
    /// Create the resource.
    Create(Box<DynamicObject>),
    /// Put this value in place of the Secret's nonce.
    EditSecret {
        /// The value.
        value: String,
    },
    /// Delete the Secret.
    DeleteSecret,
    /// Delete the resource.
    Delete,
}

impl Action {
    /// Whom it is sent to, and what it is called.
    pub const fn request(&self) -> (Peer, &'static str) {
        match self {
            Self::WriteKv { .. } => (Peer::Vault, "write the canary's secret"),
            Self::Create(_) => (Peer::Kubernetes, "create the resource"),
            Self::EditSecret { .. } => (Peer::Kubernetes, "edit the Secret"),
            Self::DeleteSecret => (Peer::Kubernetes, "delete the Secret"),
            Self::Delete => (Peer::Kubernetes, "delete the resource"),
        }
    }
}

/// When the effect of a step is due.
pub(super) fn promise(probe: &Probe, step: Step) -> Promise {
    match &probe.target {
        Target::Static(target) if step.poll_driven() => target
            .refresh_after
            .as_ref()
            .map_or(Promise::AtOnce, |refresh| Promise::NextPoll(refresh.period)),
        Target::Dynamic(target) if step.poll_driven() => Promise::Announced {
            bound: target.max_ttl,
        },
        Target::Pki(target) if step == Step::Rotate => Promise::BeforeEnd(
            target
                .expiry_offset
                .as_ref()
                .map_or(Duration::ZERO, |offset| offset.period),
        ),
        Target::Static(_) | Target::Dynamic(_) | Target::Pki(_) => Promise::AtOnce,
    }
}

/// How long a run of this probe takes at the most, cleaning up included.
pub fn longest_run(probe: &Probe) -> Duration {
    let steps = probe.steps.keys().map(|step| longest(probe, *step));
    steps.fold(CLEAN_UP_LIMIT, Duration::saturating_add)
}

/// How long a step is waited for, whatever is announced meanwhile.
pub(super) fn longest(probe: &Probe, step: Step) -> Duration {
    let ahead = probe.target.longest_wait(step);
    probe.timeout.saturating_add(ahead)
}
