//! Tests of the operator's behaviour, for the stand-in or a real operator (`VSO_BIN` and `VSO_CRDS`).
//!
//! Where the two differ, the stand-in is wrong. One lab serves the whole file.

#[path = "operator/canary.rs"]
mod canary;
#[path = "operator/create.rs"]
mod create;
#[path = "operator/errors.rs"]
mod errors;
#[path = "operator/exposition.rs"]
mod exposition;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/lifecycle.rs"]
mod lifecycle;
#[path = "operator/references.rs"]
mod references;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use e2e::lab::Lab;
use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;
use tracing_subscriber::EnvFilter;

/// What a case gets: the lab, and how to have it alone.
#[derive(Clone)]
struct Bench {
    lab: Arc<Lab>,
    /// Held for reading by those that only mind their own canary, for writing by those that hurt others.
    turns: Arc<RwLock<()>>,
}

type Body = fn(Bench) -> LocalBoxFuture<'static, Result<()>>;

/// A named case; `alone` has the lab for itself.
struct Case {
    name: &'static str,
    alone: bool,
    body: Body,
}

/// Lists functions as cases under their own names.
macro_rules! cases {
    ($alone:literal: $($module:ident :: $name:ident),* $(,)?) => {
        vec![$($crate::Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            alone: $alone,
            body: |bench| Box::pin($module::$name(bench)),
        }),*]
    };
}

fn cases(real: bool) -> Vec<Case> {
    let mut all = cases![false:
        create::a_minimal_static_secret_is_reconciled_twice,
        create::a_canonical_static_secret_is_reconciled_once,
        create::a_minimal_dynamic_secret_gets_two_leases,
        create::a_canonical_dynamic_secret_gets_one_lease,
        create::kv1_and_destination_labels,
        lifecycle::an_update_arrives_within_the_horizon,
        lifecycle::each_poll_leaves_a_heartbeat,
        lifecycle::a_deleted_secret_is_put_back_at_once,
        lifecycle::an_edited_secret_is_put_right_at_the_next_poll,
        lifecycle::touched_owner_labels_are_never_put_right,
        lifecycle::a_deleted_version_empties_the_secret,
        lifecycle::a_changed_spec_is_synced_at_once,
        lifecycle::a_label_gives_a_dynamic_secret_a_new_credential,
        lifecycle::a_static_secret_is_deleted,
        lifecycle::a_dynamic_secret_is_deleted_and_its_lease_revoked,
        lifecycle::a_deleted_dynamic_secret_is_replaced_and_its_lease_left,
        lifecycle::a_lease_is_renewed_then_replaced,
        errors::a_bad_role,
        errors::a_missing_service_account,
        errors::a_missing_path,
        errors::a_denied_path,
        errors::a_missing_auth_is_silent_for_half_a_minute,
        errors::an_auth_that_does_not_allow_the_namespace,
        errors::an_auth_without_its_connection,
        errors::a_taken_destination,
        errors::dynamic_secrets_tell_less,
        references::a_connection_is_checked,
        references::an_auth_is_healthy_whatever_it_says,
        references::a_changed_auth_wakes_its_users,
        references::a_tokens_end_reissues_dynamic_secrets,
        exposition::names_labels_and_buckets_are_there,
    ];
    all.extend(cases![true:
        errors::a_dead_vault,
        errors::a_dead_vault_stalls_all,
        errors::a_sealed_vault,
        exposition::a_crowd_queues,
        exposition::one_create_moves_the_counters,
        lifecycle::a_restart_disturbs_nothing,
    ]);
    if !real {
        all.extend(cases![true:
            faults::hang,
            faults::slow,
            faults::ignore,
            faults::ignore_next,
            faults::content,
            faults::leak_leases,
            faults::stick_finalizer,
            faults::rewrite,
            faults::unknown_is_refused,
        ]);
    }
    all
}

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = Arguments::from_args();
    // They wait more than they work.
    arguments.test_threads = arguments.test_threads.or(Some(16));
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let bench: Arc<OnceLock<Bench>> = Arc::default();
    let real = std::env::var_os("VSO_BIN").is_some();
    let trial = |case: Case| {
        let (runtime, bench) = (runtime.clone(), bench.clone());
        Trial::test(case.name, move || {
            let bench = bench.get_or_init(|| start(&runtime)).clone();
            let turns = bench.turns.clone();
            let run = async {
                let (_all, _shared);
                if case.alone {
                    _all = turns.write().await;
                } else {
                    _shared = turns.read().await;
                }
                (case.body)(bench).await
            };
            runtime
                .block_on(run)
                .map_err(|error| format!("{error:#}").into())
        })
    };
    let conclusion = libtest_mimic::run(&arguments, cases(real).into_iter().map(trial).collect());
    if conclusion.has_failed()
        && let Some(bench) = bench.get()
    {
        let operator = runtime.block_on(bench.lab.process(e2e::lab::Part::Operator));
        let log = operator.log();
        let tail: Vec<&str> = log.lines().rev().take(30).collect();
        tracing::error!("the operator's last words:");
        for line in tail.iter().rev() {
            tracing::error!("{line}");
        }
    }
    drop(runtime.enter());
    drop(bench);
    conclusion.exit_code()
}

fn start(runtime: &Runtime) -> Bench {
    let lab = runtime
        .block_on(Lab::start())
        .unwrap_or_else(|error| panic!("{error:#}"));
    Bench {
        lab: Arc::new(lab),
        turns: Arc::default(),
    }
}
