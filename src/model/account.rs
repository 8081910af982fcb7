//! The account of a run: what its record says, read once, a step at a time, in words that are not the operator's.

use std::time::Duration;

use super::Mark;
use super::cause::{Cause, Evidence};
use super::certificate::Certificate;
use super::delta::OperatorDelta;
use super::proof::Proven;
use super::run::Attribution;
use super::snapshot::Void;
use super::text::Text;
use super::trace::Traced;

/// What a record says of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its steps, in the order of the record's.
    pub steps: Vec<StepAccount>,
    /// How often the Secret was written by others than the prober.
    pub secret_writes: usize,
}

/// What a record says of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepAccount {
    /// When the proof was seen, be it after the step was given up.
    pub effect: Option<Proven>,
    /// Whether the watch showed a Secret with the content of the proof before the step ended.
    pub shown: bool,
    /// Whether the proof can't be seen any more, as the lease that was to be prolonged was replaced.
    pub foiled: bool,
    /// The latest moment at which the effect is due by the operator's promise; none if it is due at once.
    pub due: Option<Mark>,
    /// The soonest moment at which what a rotation replaces had to be replaced; none where there was another reason to
    /// do so, or none is known.
    pub soonest: Option<Mark>,
    /// How long the operator may have waited by its promise or by chance, once the stimulus was through.
    pub idle: Duration,
    /// What the operator said.
    pub words: Words,
    /// Whether two operators wrote the status in turn, up to the end of the step.
    pub rivals: bool,
    /// The resource as it was asked for directly or, failing that, as it was last seen.
    pub resource: Option<Standing>,
    /// The writes of the Secret, up to the end of the step.
    pub writes: Writes,
    /// The same, up to the end of the step before.
    pub writes_before: Option<Writes>,
    /// The lease that the resource named last.
    pub lease: Option<String>,
    /// What became of the lease that was to be prolonged.
    pub renewal: Renewal,
    /// The times for which the Secret held a credential that was refused, in order.
    pub dead: Vec<Dead>,
    /// The certificates in the Secret, where it is to hold one.
    pub certificates: Certificates,
    /// How the credential of a static role stands, where that is the proof.
    pub static_role: Option<StaticRole>,
    /// When the resource was gone.
    pub released: Option<Mark>,
    /// The time for which somebody else held the Secret that was to go.
    pub held: Option<Hold>,
    /// For how long somebody was away when it counted.
    pub away: Away,
    /// Why each watch was interrupted that was.
    pub cuts: Vec<Text>,
    /// The operator's own numbers around the step; none where they were not read.
    pub window: Result<Option<Window>, Void>,
    /// The operator's requests to Vault up to the proof, where an audit log tells them.
    pub trace: Option<Traced>,
    /// How long one sync waited for Vault up to the effect, on average, where that was read.
    pub in_vault: Option<Duration>,
    /// How long the watch took to echo the prober's own write.
    pub echo: Option<Echo>,
    /// How long after that echo the effect came, or the step was given up.
    pub sync: Option<Duration>,
    /// How long a delivery takes, as the latest echo up to this step tells.
    pub delivery: Duration,
}

/// What the operator said of the resource, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    /// In its status at the end of the step, if that names a cause.
    pub status: Option<Said>,
    /// In the first status during the step that names a cause.
    pub meanwhile: Option<Said>,
    /// In its status at the end of the step, if that is bad and says nothing that is known.
    pub unknown: Option<Text>,
    /// In the latest event that warns and says nothing that is known.
    pub unclear: Option<Said>,
    /// In events that warn, the latest last.
    pub warnings: Vec<Said>,
    /// Of the VaultConnection, if it calls that invalid and says why.
    pub connection: Option<Said>,
    /// In its status, where it could not write the Secret and does not say why.
    pub unwritten: Option<Text>,
}

/// Something that the operator said, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// The cause that it names, if it names one.
    pub cause: Option<Cause>,
    /// Its own words.
    pub evidence: Evidence,
    /// How often it said so.
    pub times: i64,
}

/// A resource, as far as it says how the operator stands to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Whether it says how the last sync came out.
    pub told: bool,
    /// Whether a reconcile of it was completed after the stimulus was through.
    pub reconciled: bool,
    /// Whether it is being deleted and the operator's finalizer is on it still.
    pub held: bool,
    /// The serial number of the certificate that it names.
    pub serial: Option<String>,
}

/// How often the Secret was written, and how often it may have been.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Writes {
    /// How often it was seen to be written by others than the prober.
    pub seen: usize,
    /// How many of these the schedule, the resource's generations, and deletions explain at most.
    pub explained: usize,
    /// Up to when.
    pub until: Mark,
}

/// What became of the lease that was to be prolonged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Renewal {
    /// Whether the lease was said to be renewable.
    pub renewable: bool,
    /// Why the operator did not renew it, and its own words, if it said so.
    pub refusal: Option<(Refusal, Text)>,
}

/// Why a lease was not renewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Vault granted less than was asked for.
    CutShort,
    /// There was no such lease any more.
    Gone,
    /// This cause was named.
    For(Cause),
    /// The words say nothing that is known.
    Unclear,
}

/// A time for which somebody else held a Secret that was being deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Since when.
    pub since: Mark,
    /// Until when; as long as the step lasted, if it did not go.
    pub until: Mark,
    /// Whose finalizer it was.
    pub by: Text,
}

/// A time for which the Secret held a credential that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Dead {
    /// When the first login was refused.
    pub from: Mark,
    /// Until it was replaced or, failing that, was refused last.
    pub time: Duration,
    /// How often it was refused.
    pub count: u32,
    /// The SQLSTATE.
    pub code: Text,
}

/// The certificates in the Secret; all empty where it is to hold none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificates {
    /// That in the Secret as asked for directly or, failing that, as last seen.
    pub now: Option<Certificate>,
    /// Whether the watch ever showed that one.
    pub shown: bool,
    /// Whether the watch ever showed any.
    pub any: bool,
    /// That in the Secret when the step began, and since when.
    pub before: Option<(Mark, Certificate)>,
    /// How many others followed it during the step.
    pub followed: usize,
}

/// How the credential of a static role stands at the end of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StaticRole {
    /// What the Secret holds, as asked for directly, where it is there.
    pub held: Option<Held>,
    /// Whether Vault gives another than the Secret held before the step.
    pub rotated: bool,
    /// How long until Vault replaces what it gives, where it says so.
    pub left: Option<Duration>,
}

/// What a Secret holds for which Vault gives the credential of a static role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// What Vault gave, and not what was there before the step.
    Right,
    /// What Vault gave before the step.
    Earlier,
    /// What Vault at no time gave the prober.
    Foreign,
}

/// How long a watch took to echo a write of the prober's own, which was at some moment between the request and its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Echo {
    /// Since the answer; zero if the echo came before it.
    pub least: Duration,
    /// Since the request.
    pub most: Duration,
}

/// For how long of the times that count in a step somebody was away.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Away {
    /// The prober itself, which stood still.
    pub prober: Duration,
    /// The API server, which gave no sign of life.
    pub kubernetes: Duration,
    /// Vault, which was sealed.
    pub sealed: Duration,
    /// Vault, which gave no sign of life.
    pub silent: Duration,
    /// Whether Vault was away at any time of the step, until it was left.
    pub vault: bool,
}

/// The operator's own numbers between two readings that enclose a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The numbers.
    pub delta: OperatorDelta,
    /// Whose reconciles are in it.
    pub attribution: Attribution,
    /// The share of its reconciles that belongs to the step, in [0, 1].
    pub share: f64,
    /// How often it took the resource from its queue up to the reconcile that brought the proof.
    pub tries: f64,
    /// How long the reconcile that brought the proof went on after it.
    pub after_proof: Duration,
    /// Whether the requests to Vault in it are of the canary's own connection.
    pub own_connection: bool,
}
