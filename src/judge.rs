//! The judgement, from an account to what is claimed: `judge` is the only door. No clock, no I/O.

mod case;
mod certificate;
pub mod correlation;
mod lease;
mod metrics;
mod outages;
mod proven;
mod said;
mod stages;
mod static_role;
mod unproven;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::account::{Account, StepAccount};
use crate::model::cause::{Blame, Evidence, Party, Source};
use crate::model::record::{End, LeaseState, Login, Record, StepRecord};
use crate::model::run::{Context, Leases, Run, SCHEMA, StepReport};
use crate::model::text::Text;
use crate::model::{Mark, Verdict};
use case::Case;
use proven::PROVEN;
use unproven::{LAST, UNPROVEN};

/// A rule: its name, and whom it blames if it applies.
type Rule = (&'static str, fn(&Case<'_>) -> Option<Blame>);

/// Judges a run, of whose record this is the account. The verdict of the first step that did not come out well is the
/// run's.
pub fn judge(record: &Record, account: &Account) -> Run {
    let steps = record.steps.iter().zip(&account.steps);
    let steps: Vec<_> = steps
        .map(|(step, account)| judge_step(record, step, account))
        .collect();
    let result = steps
        .iter()
        .map(|step| step.result)
        .find(|result| *result != Verdict::Success)
        .unwrap_or(if steps.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Success
        });
    let count = |wanted: fn(&LeaseState) -> bool| {
        record
            .leases
            .iter()
            .filter(|(_, state)| wanted(state))
            .count()
    };
    Run {
        schema: SCHEMA.to_owned(),
        probe: record.probe.clone(),
        kind: record.kind,
        run: record.run.clone(),
        canary: record.canary.clone(),
        started: record.started,
        finished: wall(record, record.finished),
        result,
        context: context(record),
        steps,
        secret_writes: account.secret_writes,
        leases: Leases {
            issued: record.leases.len(),
            revoked: count(|state| {
                matches!(
                    state,
                    LeaseState::Ended | LeaseState::Replaced { revoked: true }
                )
            }),
            leaked: count(|state| matches!(state, LeaseState::Leaked { .. })),
        },
        leftovers: record.leftovers.clone(),
    }
}

/// The names of all rules: those for a step that was not proven, then those for one that was, each in its order.
pub fn rules() -> [Vec<&'static str>; 2] {
    let unproven = UNPROVEN.iter().map(|(name, _)| *name).chain([LAST.0]);
    let proven = PROVEN.iter().map(|(name, _)| *name);
    [unproven.collect(), proven.collect()]
}

fn judge_step(record: &Record, step: &StepRecord, account: &StepAccount) -> StepReport {
    let proven = account.effect.filter(|_| step.end == End::Proven);
    let until = proven.map_or(step.ended, |proven| proven.at);
    let latency = until.since(step.started);
    let lateness = account.due.map(|due| until.since(due));
    let case = Case {
        step,
        account,
        leases: &record.leases,
        proven,
        measured: lateness.unwrap_or(latency),
    };
    let told = stages::tell(step, account, proven);
    let (rule, blame) = decide(&case).unzip();
    let blame = blame.map(|blame| {
        let metrics = metrics::evidence(blame.cause, record.kind, &told);
        let blame = blame.and(metrics);
        let rivals = account.rivals && blame.cause.party() == Party::Operator;
        blame.and(rivals.then(two_operators))
    });
    let result = blame
        .as_ref()
        .map_or(Verdict::Success, |blame| blame.cause.party().verdict());
    StepReport {
        step: step.step,
        result,
        started: wall(record, step.started),
        latency_seconds: latency.as_secs_f64(),
        sync_seconds: account.sync.map(|sync| sync.as_secs_f64()),
        due_seconds: account.due.map(|due| due.since(step.started).as_secs_f64()),
        lateness_seconds: lateness.map(|lateness| lateness.as_secs_f64()),
        margin_seconds: case.margin(),
        dead_seconds: dead_seconds(step, account),
        within_seconds: step.within.as_secs_f64(),
        timeout_seconds: step.timeout.as_secs_f64(),
        proven: proven.is_some(),
        good: result == Verdict::Success,
        stages: told.stages,
        attribution: told.attribution,
        operator: told.operator,
        void: told.void,
        trace: account.trace.as_ref().map(|trace| trace.told(step.started)),
        explained_ratio: told.explained_ratio,
        moves_with: None,
        watch_delay_seconds: account.echo.map(|echo| echo.least.as_secs_f64()),
        watch_delay_most_seconds: account.echo.map(|echo| echo.most.as_secs_f64()),
        cause: blame.as_ref().map(|blame| blame.cause),
        party: blame.as_ref().map(|blame| blame.cause.party()),
        rule: rule.map(Text::from),
        advice: blame.as_ref().map(|blame| blame.cause.advice().into()),
        evidence: blame.as_ref().map(Blame::evidence).unwrap_or_default(),
    }
}

/// Two operators at work on one resource undo each other's work.
fn two_operators() -> Evidence {
    let text = "two operators write the resource's status in turn: a second one runs in this cluster, and each undoes what \
                the other does";
    Evidence::new(Source::Status, text)
}

/// Where the run comes from; the operator's version is the last that its metrics told.
fn context(record: &Record) -> Context {
    let read = record.readings.iter().rev();
    let version = read
        .filter_map(|reading| reading.what.as_ref().ok())
        .find_map(|numbers| numbers.version.as_ref());
    Context {
        operator_version: version.map(Text::from),
        ..record.context.clone()
    }
}

/// The first rule that applies, and whom it blames; none if the step came out well.
fn decide(case: &Case<'_>) -> Option<(&'static str, Blame)> {
    let first = |rules: &[Rule]| {
        let mut rules = rules.iter();
        rules.find_map(|(name, rule)| Some((*name, rule(case)?)))
    };
    if case.proven.is_some() {
        return first(PROVEN);
    }
    let (name, blame) = first(UNPROVEN).unwrap_or_else(|| (LAST.0, (LAST.1)(case)));
    let blame = match case.step.end {
        End::Met(_) | End::Interrupted => blame,
        End::Proven | End::TimedOut => blame.and(case.cuts()),
    };
    Some((name, blame))
}

/// For how long in all the Secret held a credential that was refused, in seconds; none if nothing could be told of any
/// login.
fn dead_seconds(step: &StepRecord, account: &StepAccount) -> Option<f64> {
    let mut logins = step.findings.logins.iter();
    let told = logins.any(|logins| !matches!(logins.outcome, Login::Untold(_)));
    told.then(|| {
        let total: Duration = account.dead.iter().map(|dead| dead.time).sum();
        total.as_secs_f64()
    })
}

/// The wall clock at `mark`, told from the run's epoch: it can't jump within a run.
fn wall(record: &Record, mark: Mark) -> Timestamp {
    let since = SignedDuration::try_from(mark.elapsed()).unwrap_or(SignedDuration::MAX);
    record
        .started
        .saturating_add(since)
        .unwrap_or(Timestamp::MAX)
}
