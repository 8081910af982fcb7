//! The words of the program: kinds, steps, stages, results, marks, and what a run claims.

pub mod account;
pub mod cause;
pub mod certificate;
pub mod clock;
pub mod correlation;
pub mod delta;
pub mod name;
pub mod promise;
pub mod proof;
pub mod record;
pub mod reply;
pub mod run;
pub mod saved;
pub mod signal;
pub mod snapshot;
pub mod standing;
pub mod text;
pub mod time;
pub mod timeline;
pub mod trace;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kind of a probe: which of the operator's resources its canaries are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `VaultStaticSecret`.
    Static,
    /// `VaultDynamicSecret`.
    Dynamic,
    /// `VaultPKISecret`.
    Pki,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Static, Self::Dynamic, Self::Pki];

    /// The steps of this kind, in the order in which a run takes them.
    pub const fn steps(self) -> &'static [Step] {
        match self {
            Self::Static => &[
                Step::Create,
                Step::Update,
                Step::Tamper,
                Step::Recreate,
                Step::Delete,
            ],
            Self::Dynamic => &[Step::Create, Step::Renew, Step::Rotate, Step::Delete],
            Self::Pki => &[Step::Create, Step::Rotate, Step::Delete],
        }
    }

    /// The one spelling, used as key, label and JSON value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::Pki => "pki",
        }
    }

    /// The kind of the operator's resource.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Static => "VaultStaticSecret",
            Self::Dynamic => "VaultDynamicSecret",
            Self::Pki => "VaultPKISecret",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One stimulus and one proven effect.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The resource is created → the Secret is there, with the right content.
    Create,
    /// A new value in Vault → the Secret has it.
    Update,
    /// The Secret is edited → it is put right.
    Tamper,
    /// The Secret is deleted → it is put back.
    Recreate,
    /// The lease nears its end → it is prolonged.
    Renew,
    /// The credential nears its end → a new one is in place.
    Rotate,
    /// The resource is deleted → the Secret is gone, its leases revoked.
    Delete,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::Update,
        Self::Tamper,
        Self::Recreate,
        Self::Renew,
        Self::Rotate,
        Self::Delete,
    ];

    /// The one spelling, used as key, label and JSON value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Tamper => "tamper",
            Self::Recreate => "recreate",
            Self::Renew => "renew",
            Self::Rotate => "rotate",
            Self::Delete => "delete",
        }
    }

    /// Whether its stimulus is an object of Kubernetes', which the prober's watch echoes.
    pub const fn echoes(self) -> bool {
        match self {
            Self::Create | Self::Tamper | Self::Recreate | Self::Delete => true,
            Self::Update | Self::Renew | Self::Rotate => false,
        }
    }

    /// Whether the operator learns of the stimulus only at its next poll, so that lateness and not
    /// latency is what it can be judged by.
    pub const fn poll_driven(self) -> bool {
        match self {
            Self::Update | Self::Tamper | Self::Renew | Self::Rotate => true,
            Self::Create | Self::Recreate | Self::Delete => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where the latency of a step went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The prober's own request.
    Submit,
    /// Until the moment that the operator had announced, or that it leaves to chance.
    Wait,
    /// In the operator's queue.
    Queue,
    /// In the operator's reconcile.
    Reconcile,
    /// The rest: from the write to the prober's watch.
    Deliver,
    /// The rest of a step that was given up: nobody delivered anything.
    Unexplained,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 6] = [
        Self::Submit,
        Self::Wait,
        Self::Queue,
        Self::Reconcile,
        Self::Deliver,
        Self::Unexplained,
    ];

    /// The one spelling, used as label and JSON key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Wait => "wait",
            Self::Queue => "queue",
            Self::Reconcile => "reconcile",
            Self::Deliver => "deliver",
            Self::Unexplained => "unexplained",
        }
    }
}

/// Whether a run, or a step, came out well.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As promised.
    Success,
    /// Someone other than the prober is at fault.
    Failure,
    /// The prober could not tell.
    Unknown,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Unknown];

    /// The one spelling, used as label and JSON value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A moment of a run: the time since its epoch on the monotonic clock.
///
/// An instant becomes a mark at receipt, so that what judges needs no clock, and a
/// record can be saved and judged again.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Mark(Duration);

impl Mark {
    /// The mark `since` after the run's epoch.
    pub const fn new(since: Duration) -> Self {
        Self(since)
    }

    /// The time from `earlier` to this mark; zero if it lies before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The mark `by` earlier, but not before the epoch.
    #[must_use]
    pub fn less(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }

    /// The mark `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// The time since the epoch.
    pub const fn elapsed(self) -> Duration {
        self.0
    }
}
