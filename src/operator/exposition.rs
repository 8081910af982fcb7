//! The operator's metrics: which of them are read, and what they amount to.

use std::borrow::Cow;

use crate::exposition::samples;
use crate::model::Kind;
use crate::model::snapshot::{Connection, Controller, Snapshot, add};

/// Every name that is read, so that an API can be asked for these alone.
pub const NAMES: [&str; 15] = [
    RECONCILES_COUNT,
    RECONCILES_SUM,
    ERRORS,
    ACTIVE_WORKERS,
    QUEUE_COUNT,
    QUEUE_SUM,
    DEPTH,
    VAULT_COUNT,
    VAULT_SUM,
    VAULT_ERRORS,
    CACHE_MISSES,
    REQUESTS,
    CPU,
    STARTED,
    BUILD,
];

const RECONCILES_COUNT: &str = "controller_runtime_reconcile_time_seconds_count";
const RECONCILES_SUM: &str = "controller_runtime_reconcile_time_seconds_sum";
const ERRORS: &str = "controller_runtime_reconcile_errors_total";
const ACTIVE_WORKERS: &str = "controller_runtime_active_workers";
const QUEUE_COUNT: &str = "workqueue_queue_duration_seconds_count";
const QUEUE_SUM: &str = "workqueue_queue_duration_seconds_sum";
const DEPTH: &str = "workqueue_depth";
const VAULT_COUNT: &str = "vso_client_operations_time_seconds_count";
const VAULT_SUM: &str = "vso_client_operations_time_seconds_sum";
const VAULT_ERRORS: &str = "vso_client_operations_errors_total";
const CACHE_MISSES: &str = "vso_client_cache_misses";
const REQUESTS: &str = "rest_client_requests_total";
const CPU: &str = "process_cpu_seconds_total";
const STARTED: &str = "process_start_time_seconds";
const BUILD: &str = "vso_build_info";
const RUNTIME: &str = "vso_runtime_config";

/// No name of a VaultConnection is longer: two names of Kubernetes and a slash.
const LONGEST_CONNECTION: usize = 253 * 2 + 1;
/// How many connections are told apart; nobody has more.
const CONNECTIONS: usize = 10_000;

/// Reads the exposition of one process, the pod `process` if it is known as one. `None` if it is not the
/// operator's.
pub fn read(text: &str, process: &str) -> Option<Snapshot> {
    let mut tally = Tally::default();
    for sample in samples(text) {
        tally.add(sample.name, |name| sample.label(name), sample.value);
    }
    tally.end(process)
}

/// Whether a label can be a version: nothing but what versions are written with, and not longer than anyone
/// would read.
fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".+_-".contains(&byte))
}

/// Adds up the samples of one process.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    snapshot: Snapshot,
    started: f64,
    /// Whether anything was of the operator alone: a replica that stands by has no controllers yet.
    known: bool,
}

impl Tally {
    /// Takes a sample in, if it is one that is read. What is no number, or negative, counts as nothing.
    pub fn add<'a>(
        &mut self,
        name: &str,
        label: impl Fn(&str) -> Option<Cow<'a, str>>,
        value: f64,
    ) {
        let snapshot = &mut self.snapshot;
        self.known |= matches!(name, BUILD | CACHE_MISSES | VAULT_COUNT);
        match name {
            STARTED => self.started = if value.is_finite() { value } else { 0.0 },
            CPU => add(&mut snapshot.cpu_seconds, value),
            CACHE_MISSES => add(&mut snapshot.cache_misses, value),
            REQUESTS if label("code").is_some_and(|code| code == "429") => {
                add(&mut snapshot.api_throttled, value);
            }
            BUILD => {
                snapshot.version = label("git_version")
                    .filter(|version| is_version(version))
                    .map(Cow::into_owned);
            }
            RUNTIME => {
                let model = label("clientCachePersistenceModel");
                snapshot.keeps_tokens = model.and_then(|model| keeps(&model));
            }
            VAULT_COUNT | VAULT_SUM | VAULT_ERRORS => {
                let what = label("operation").unwrap_or_default();
                if let Some(connection) = label("vault_connection")
                    && let Some(of) = self.connection(&connection)
                    && let Some(number) = operation(of, name, &what)
                {
                    add(number, value);
                }
            }
            _ => {
                if let Some(number) = number(name)
                    && let Some(kind) = label("controller").and_then(|name| kind(&name))
                {
                    self.known = true;
                    add(number(snapshot.controllers.entry(kind).or_default()), value);
                }
            }
        }
    }

    fn connection(&mut self, name: &str) -> Option<&mut Connection> {
        let known = &mut self.snapshot.connections;
        let fits = name.len() <= LONGEST_CONNECTION && known.len() < CONNECTIONS;
        if fits && !known.contains_key(name) {
            known.insert(name.to_owned(), Connection::default());
        }
        known.get_mut(name)
    }

    /// The numbers of the process; `None` if it is not the operator's.
    pub fn end(mut self, process: &str) -> Option<Snapshot> {
        let process = process.to_owned();
        self.snapshot.processes.insert(process, self.started);
        self.known.then_some(self.snapshot)
    }
}

/// Whether the operator keeps its tokens in Secrets by this model.
fn keeps(model: &str) -> Option<bool> {
    match model {
        "none" => Some(false),
        "direct-unencrypted" | "direct-encrypted" => Some(true),
        _ => None,
    }
}

/// Where a number of what was done over a connection goes. The writes and renewals that a login is made of
/// are counted beside it, and so are none of these.
fn operation<'a>(of: &'a mut Connection, name: &str, operation: &str) -> Option<&'a mut f64> {
    let sum = match operation {
        _ if name == VAULT_ERRORS => return Some(&mut of.errors),
        "login" => &mut of.logins,
        "read" => &mut of.reads,
        _ => return None,
    };
    Some(if name == VAULT_COUNT {
        &mut sum.count
    } else {
        &mut sum.seconds
    })
}

/// Where a controller's number goes.
fn number(name: &str) -> Option<fn(&mut Controller) -> &mut f64> {
    Some(match name {
        RECONCILES_COUNT => |of| &mut of.reconciles.count,
        RECONCILES_SUM => |of| &mut of.reconciles.seconds,
        ERRORS => |of| &mut of.errors,
        ACTIVE_WORKERS => |of| &mut of.active_workers,
        QUEUE_COUNT => |of| &mut of.queue.count,
        QUEUE_SUM => |of| &mut of.queue.seconds,
        DEPTH => |of| &mut of.depth,
        _ => return None,
    })
}

/// The kind that a controller serves.
fn kind(controller: &str) -> Option<Kind> {
    let serves = |kind: &Kind| kind.resource().eq_ignore_ascii_case(controller);
    Kind::ALL.into_iter().find(serves)
}
