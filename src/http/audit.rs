//! The audit over HTTP: its findings, its sources, the operator's presence, and a page of the findings.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::page::{HEAD, escaped};
use super::{Served, error, unfit};
use crate::audit::context::Context;
use crate::audit::entry::VaultEntry;
use crate::audit::finding::{Finding, RuleName, State as Stands};
use crate::audit::presence::Line;
use crate::audit::trace::Traces;
use crate::model::time::Moment as _;
use crate::model::trace::Call;

/// For how long a drill may tell that it was found: longer than any `audit.lag` of use.
const FRESH: Duration = Duration::from_secs(600);

/// How many findings are told unless the request says otherwise.
const LIMIT: usize = 50;

/// What is told of a source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Whether it can be relied on.
    pub up: bool,
    /// Why not.
    pub reason: Option<String>,
    /// When its last line was written.
    pub last_line: Option<Timestamp>,
    /// By how much its clock is before the cluster's, in seconds.
    pub clock_offset_seconds: Option<f64>,
    /// By how much that may be wrong, in seconds.
    pub clock_error_seconds: Option<f64>,
    /// As which address Vault sees the operator.
    pub address_mode: &'static str,
    /// The rules that are off, and why.
    pub off: Vec<RuleOff>,
}

/// A rule that is off.
#[derive(Clone, Debug, Serialize)]
pub struct RuleOff {
    /// Which.
    pub rule: RuleName,
    /// Why.
    pub reason: &'static str,
}

/// What the audit has to tell.
#[derive(Clone, Debug, Default)]
pub struct AuditNews {
    /// Its findings, the first first.
    pub findings: Vec<Finding>,
    /// Its sources.
    pub sources: Vec<SourceStatus>,
    /// When the operator was there.
    pub presence: Vec<Line>,
}

/// What the audit told last, for whoever asks.
#[derive(Debug, Default)]
pub struct AuditBoard {
    /// Whether there is to be an audit.
    expected: AtomicBool,
    news: Mutex<Option<Arc<AuditNews>>>,
    traces: Mutex<Traces>,
    /// When a drill was last found.
    drilled: Mutex<Option<Timestamp>>,
}

impl AuditBoard {
    /// Says whether there is to be an audit from now on; where there is none, nothing is told of an earlier one.
    pub fn expect(&self, expected: bool) {
        self.expected.store(expected, Ordering::Relaxed);
        if !expected {
            *self.news() = None;
        }
    }

    /// Replaces what is told.
    pub fn tell(&self, news: AuditNews) {
        *self.news() = Some(Arc::new(news));
    }

    fn news(&self) -> MutexGuard<'_, Option<Arc<AuditNews>>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a line, if it is of a canary: whoever asks for it is told at once.
    pub fn heard(&self, entry: &VaultEntry, context: &Context) {
        self.traces().take(entry, context);
    }

    /// The requests for a canary's secret so far.
    pub fn calls(&self, canary: &str) -> Vec<Call> {
        self.traces().calls(canary)
    }

    /// When a drill was last found, as far as is known.
    pub fn drilled(&self) -> Option<Timestamp> {
        *self.drilling()
    }

    /// Takes in when a drill was last found.
    pub fn drill_found(&self, at: Option<Timestamp>) {
        let mut drilled = self.drilling();
        *drilled = at.max(*drilled);
    }

    fn drilling(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.drilled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn traces(&self) -> MutexGuard<'_, Traces> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told, or why there is nothing.
    fn told(&self) -> Result<Arc<AuditNews>, Nothing> {
        let nothing = if self.expected.load(Ordering::Relaxed) {
            Nothing::Yet
        } else {
            Nothing::AtAll
        };
        self.news().clone().ok_or(nothing)
    }
}

/// Why nothing is told.
#[derive(Clone, Copy)]
enum Nothing {
    /// The audit is about to begin.
    Yet,
    /// There is none.
    AtAll,
}

impl IntoResponse for Nothing {
    fn into_response(self) -> Response {
        match self {
            Self::Yet => error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the audit is about to begin; try again in a moment",
            ),
            Self::AtAll => error(
                StatusCode::NOT_FOUND,
                "no audit logs are judged here: there is no `audit` in the configuration, or `--only probes` leaves it out",
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<Stands>,
    rule: Option<RuleName>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Findings<'a> {
    findings: Vec<&'a Finding>,
}

#[derive(Serialize)]
struct Sources<'a> {
    sources: &'a [SourceStatus],
}

/// The findings, the latest first.
pub(super) async fn findings(
    State(served): State<Served>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    let Query(filter) = match filter {
        Ok(filter) => filter,
        Err(rejection) => return unfit(&rejection),
    };
    let news = match served.audit.told() {
        Ok(news) => news,
        Err(nothing) => return nothing.into_response(),
    };
    let wanted = |finding: &&Finding| {
        filter.state.is_none_or(|state| state == finding.state)
            && filter.rule.is_none_or(|rule| rule == finding.rule)
    };
    let findings = news.findings.iter().rev().filter(wanted);
    let findings = findings.take(filter.limit.unwrap_or(LIMIT)).collect();
    served.budget.json(&Findings { findings })
}

pub(super) async fn sources(State(served): State<Served>) -> Response {
    match served.audit.told() {
        Ok(news) => served.budget.json(&Sources {
            sources: &news.sources,
        }),
        Err(nothing) => nothing.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfCanary {
    canary: String,
}

#[derive(Serialize)]
struct Calls {
    calls: Vec<Call>,
}

/// The requests for a canary's secret.
pub(super) async fn calls(
    State(served): State<Served>,
    wanted: Result<Query<OfCanary>, QueryRejection>,
) -> Response {
    let Query(OfCanary { canary }) = match wanted {
        Ok(wanted) => wanted,
        Err(rejection) => return unfit(&rejection),
    };
    match served.audit.told() {
        Ok(_) => served.budget.json(&Calls {
            calls: served.audit.calls(&canary),
        }),
        Err(nothing) => nothing.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfDrill {
    finding: String,
}

/// A drill tells that it was found. Only of what was found just now, so that nobody can say so who misused nothing.
pub(super) async fn drilled(
    State(served): State<Served>,
    drill: Result<Query<OfDrill>, QueryRejection>,
) -> Response {
    let Query(OfDrill { finding: id }) = match drill {
        Ok(drill) => drill,
        Err(rejection) => return unfit(&rejection),
    };
    let news = match served.audit.told() {
        Ok(news) => news,
        Err(nothing) => return nothing.into_response(),
    };
    let now = Timestamp::now();
    let fresh = |finding: &&Finding| {
        finding.id == id && finding.state != Stands::Dismissed && finding.last.later(FRESH) >= now
    };
    if news.findings.iter().any(|finding| fresh(&finding)) {
        served.audit.drill_found(Some(now));
        return StatusCode::NO_CONTENT.into_response();
    }
    let minutes = FRESH.as_secs() / 60;
    error(
        StatusCode::NOT_FOUND,
        &format!(
            "no finding of the last {minutes} minutes is `{id}`; `/api/v1/audit/findings` lists all"
        ),
    )
}

/// Lines as `audit check --presence` takes them.
pub(super) async fn presence(State(served): State<Served>) -> Response {
    let news = match served.audit.told() {
        Ok(news) => news,
        Err(nothing) => return nothing.into_response(),
    };
    let mut lines = Vec::new();
    for line in &news.presence {
        if serde_json::to_writer(&mut lines, line).is_ok() {
            lines.push(b'\n');
        }
    }
    served.budget.send("application/x-ndjson", lines)
}

/// The findings for people.
pub(super) async fn page(State(served): State<Served>) -> Response {
    let news = match served.audit.told() {
        Ok(news) => news,
        Err(nothing) => return nothing.into_response(),
    };
    let mut page = HEAD.to_owned();
    page.push_str("<h2>Findings</h2><table><tr><th>first<th>last<th>state<th>rule<th>confidence<th>requests<th>what<th>fix");
    for finding in news.findings.iter().rev().take(LIMIT) {
        let class = match finding.state {
            Stands::Confirmed => "failure",
            Stands::Suspect => "unknown",
            Stands::Dismissed => "success",
        };
        let state = finding.state.name();
        let _ = write!(
            page,
            "<tr><td class=n>{}<td class=n>{}<td class={class}>{state}<td>{}<td>{}<td class=n>{}<td>{}<td>{}",
            finding.first.strftime("%F %T"),
            finding.last.strftime("%F %T"),
            finding.rule.name(),
            finding.confidence.name(),
            finding.count,
            escaped(&finding.text),
            escaped(&finding.advice),
        );
    }
    page.push_str("</table>");
    if news.findings.is_empty() {
        page.push_str("<p>none");
    }
    served
        .budget
        .send("text/html; charset=utf-8", page.into_bytes())
}
