//! The run: everything that is claimed of it, printed, published and stored.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::cause::{Cause, Evidence, Party};
use super::correlation::Coefficient;
use super::delta::OperatorDelta;
use super::name::{ObjectRef, ProbeId, RunId};
use super::snapshot::Void;
use super::text::Text;
use super::trace::Trace;
use super::{Kind, Stage, Step, Verdict};

/// The name and the version of this form.
pub const SCHEMA: &str = "vso-prober/run/v1";

/// A run. All times are in seconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: String,
    /// The probe's name.
    pub probe: ProbeId,
    /// Its kind.
    pub kind: Kind,
    /// The run's ID.
    pub run: RunId,
    /// The canary.
    pub canary: ObjectRef,
    /// When it started.
    #[serde(serialize_with = "microseconds")]
    pub started: Timestamp,
    /// When it ended.
    #[serde(serialize_with = "microseconds")]
    pub finished: Timestamp,
    /// The verdict: the first step that did not come out well decides.
    pub result: Verdict,
    /// Where the run comes from.
    #[serde(default)]
    pub context: Context,
    /// The steps that were begun.
    pub steps: Vec<StepReport>,
    /// How often the Secret was seen to be written.
    pub secret_writes: usize,
    /// The leases of the canary.
    pub leases: Leases,
    /// What could not be removed.
    pub leftovers: Vec<String>,
}

/// Where a run comes from: what has to be alike where runs are compared. What a record of an earlier prober does not
/// say is none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Context {
    /// The version of the prober that took the run.
    pub prober_version: Option<Text>,
    /// The version of the operator, where its metrics are read and tell one.
    #[serde(default)]
    pub operator_version: Option<Text>,
    /// The prober's `instance`.
    pub instance: Option<Text>,
    /// A digest of what the configuration says, whatever its order, its layout and its comments.
    pub config_digest: Option<Text>,
    /// The `labels` of the configuration.
    #[serde(default)]
    pub labels: BTreeMap<Text, Text>,
}

/// A step. All times are in seconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StepReport {
    /// Which step.
    pub step: Step,
    /// Its verdict.
    pub result: Verdict,
    /// When it started.
    #[serde(serialize_with = "microseconds")]
    pub started: Timestamp,
    /// From just before the stimulus to the proof or, failing that, to the moment it was given up.
    pub latency_seconds: f64,
    /// From the watch's echo of the stimulus to the effect, or to the moment it was given up: the same latency, without the
    /// prober's way to the API server. None where the stimulus is nothing that is watched.
    #[serde(default)]
    pub sync_seconds: Option<f64>,
    /// From the stimulus to the latest moment that the operator's promise allows.
    pub due_seconds: Option<f64>,
    /// How long after that moment the effect came.
    pub lateness_seconds: Option<f64>,
    /// Of a rotation: from the arrival of the new credential or certificate in the Secret to the end of
    /// life of the old one; negative if it came too late.
    #[serde(default)]
    pub margin_seconds: Option<f64>,
    /// How long the Secret was seen to hold a credential that was refused; none where nobody logged in.
    #[serde(default)]
    pub dead_seconds: Option<f64>,
    /// The threshold.
    pub within_seconds: f64,
    /// How long it may take beyond its due moment.
    pub timeout_seconds: f64,
    /// Whether the effect was proven, so that the latency is one; in time or not, by whoever's fault.
    pub proven: bool,
    /// Whether it succeeded within the threshold.
    pub good: bool,
    /// Where the latency went; adds up to it.
    pub stages: BTreeMap<Stage, f64>,
    /// What the stages are told from.
    pub attribution: Attribution,
    /// The operator's own numbers over the step, where they are read.
    pub operator: Option<OperatorDelta>,
    /// Why they say nothing, where they were read and don't.
    pub void: Option<Void>,
    /// The operator's own requests to Vault in the step, where an audit log tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// The share of the latency that is accounted for, in [0, 1]: submit, wait, queue and reconcile over the
    /// whole. None where nothing is attributed.
    pub explained_ratio: Option<f64>,
    /// What the latencies of this step most strongly move with, where they do with anything.
    pub moves_with: Option<Coefficient>,
    /// How long the prober's watch took to echo its own write at least, since the write's answer (zero if it
    /// came before that): the lower end of the prober's own error bar. None where it wrote nothing that is watched.
    pub watch_delay_seconds: Option<f64>,
    /// The same at most, since the write's request: the upper end.
    #[serde(default)]
    pub watch_delay_most_seconds: Option<f64>,
    /// Why it did not come out well.
    pub cause: Option<Cause>,
    /// Whom that concerns.
    pub party: Option<Party>,
    /// The name of the rule that decided.
    #[serde(default)]
    pub rule: Option<Text>,
    /// What to do, in one sentence.
    #[serde(default)]
    pub advice: Option<Text>,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
}

/// What the stages are told from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribution {
    /// The operator's requests for the canary's own secret, in Vault's audit log.
    Traced,
    /// Every reconcile in the window was the canary's.
    Exact,
    /// Others' were in it too: the stages are means.
    Shared,
    /// Nothing: what lies between the request and the Secret is all `deliver`.
    None,
}

/// The leases of a canary.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Leases {
    /// Issued to it.
    pub issued: usize,
    /// Proven revoked or dead once the resource was gone.
    pub revoked: usize,
    /// Alive although the resource was gone.
    pub leaked: usize,
}

impl Run {
    /// The step that decided the verdict, if it was not a success.
    pub fn decisive(&self) -> Option<&StepReport> {
        self.steps
            .iter()
            .find(|step| step.result != Verdict::Success)
    }
}

/// A moment with six digits after the second, always: `2026-01-01T00:00:00.000000Z`.
fn microseconds<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{moment:.6}"))
}
