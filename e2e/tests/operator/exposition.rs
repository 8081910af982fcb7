//! The metrics: names, labels, buckets, and what one create does to them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::lab::Lab;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::json;
use tokio::time::{Instant, sleep};
use vso_prober::operator::api::VaultStaticSecret;

use crate::Bench;
use crate::canary::{Canary, until};

type Labels = BTreeMap<String, String>;

/// A scrape.
pub(crate) struct Scrape(Vec<(String, Labels, f64)>);

/// Scrapes the operator.
pub(crate) async fn scrape(lab: &Lab) -> Result<Scrape> {
    let text = lab.metrics().await?;
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| read(line).with_context(|| line.to_owned()))
        .collect::<Result<_>>()
        .map(Scrape)
}

fn read(line: &str) -> Result<(String, Labels, f64)> {
    let (series, value) = line.rsplit_once(' ').context("a value")?;
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = Labels::new();
    let mut rest = rest.trim_end_matches('}');
    while let Some((label, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').context("a closing quote")?;
        labels.insert(label.trim_start_matches(',').into(), value.into());
        rest = after;
    }
    Ok((name.into(), labels, value.parse()?))
}

impl Scrape {
    /// The sum of the series of that name with those labels, if there is one.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |has: &Labels| {
            labels
                .iter()
                .all(|(k, v)| has.get(*k).is_some_and(|is| is == v))
        };
        let values: Vec<f64> = self
            .0
            .iter()
            .filter(|(n, l, _)| n == name && fits(l))
            .map(|(_, _, v)| *v)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    fn label_names(&self, name: &str) -> Option<Vec<String>> {
        let (_, labels, _) = self.0.iter().find(|(n, _, _)| n == name)?;
        Some(labels.keys().cloned().collect())
    }

    fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let name = format!("{name}_bucket");
        let fits = |has: &Labels| {
            labels
                .iter()
                .all(|(k, v)| has.get(*k).is_some_and(|is| is == v))
        };
        let all = self.0.iter().filter(|(n, l, _)| *n == name && fits(l));
        all.filter_map(|(_, l, _)| l.get("le")?.parse().ok())
            .collect()
    }
}

/// The buckets of all that has to do with Vault; a reconcile's go on from there.
const SECONDS: [f64; 33] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0,
];
const LONG: [f64; 7] = [15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0];
/// A queue's, with Go's rounding.
const DECADES: [f64; 12] = [
    1e-8,
    1e-7,
    1e-6,
    9.999_999_999_999_999e-6,
    9.999_999_999_999_999e-5,
    0.001,
    0.01,
    0.1,
    1.0,
    10.0,
    100.0,
    1000.0,
];

/// Series and their labels, as recorded.
const SERIES: &[(&str, &[&str])] = &[
    ("controller_runtime_active_workers", &["controller"]),
    (
        "controller_runtime_max_concurrent_reconciles",
        &["controller"],
    ),
    ("controller_runtime_reconcile_errors_total", &["controller"]),
    (
        "controller_runtime_reconcile_time_seconds_sum",
        &["controller"],
    ),
    (
        "controller_runtime_reconcile_time_seconds_count",
        &["controller"],
    ),
    (
        "controller_runtime_reconcile_total",
        &["controller", "result"],
    ),
    (
        "controller_resource_status",
        &["controller", "name", "namespace"],
    ),
    ("workqueue_adds_total", &["controller", "name"]),
    ("workqueue_depth", &["controller", "name", "priority"]),
    (
        "workqueue_queue_duration_seconds_sum",
        &["controller", "name"],
    ),
    (
        "workqueue_work_duration_seconds_sum",
        &["controller", "name"],
    ),
    ("workqueue_retries_total", &["controller", "name"]),
    ("rest_client_requests_total", &["code", "host", "method"]),
    (
        "vso_client_operations_time_seconds_sum",
        &["operation", "vault_connection"],
    ),
    (
        "vso_client_operations_total",
        &["operation", "vault_connection"],
    ),
    (
        "vso_client_factory_operations_time_seconds_sum",
        &["component", "operation"],
    ),
    ("vso_client_factory_requests_total", &["operation"]),
    ("vso_client_cache_hits", &[]),
    ("vso_client_cache_misses", &[]),
    ("vso_client_cache_evictions", &[]),
    ("vso_client_cache_length", &[]),
    ("vso_client_cache_size", &[]),
    ("process_cpu_seconds_total", &[]),
    ("process_resident_memory_bytes", &[]),
    ("process_start_time_seconds", &[]),
    ("process_open_fds", &[]),
    ("process_virtual_memory_bytes", &[]),
    (
        "vso_build_info",
        &[
            "build_date",
            "compiler",
            "git_commit",
            "git_tree_state",
            "git_version",
            "go_version",
            "major",
            "minor",
            "platform",
        ],
    ),
    (
        "vso_runtime_config",
        &[
            "backoffInitialInterval",
            "backoffMaxElapsedTime",
            "backoffMaxInterval",
            "backoffMultiplier",
            "backoffRandomizationFactor",
            "clientCachePersistenceModel",
            "clientCacheSize",
            "globalTransformationOptions",
            "globalVaultAuthOptions",
            "maxConcurrentReconciles",
        ],
    ),
];

const STATIC: &[(&str, &str)] = &[("controller", "vaultstaticsecret")];

pub(crate) async fn names_labels_and_buckets_are_there(bench: Bench) -> Result<()> {
    let canary = Canary::dynamic(&bench, "counted").await?;
    canary.create(canary.canonical_dynamic("probe")).await?;
    canary.see_condition("SecretSynced", true, "", 15.0).await?;
    let canary = Canary::fixed(&bench, "counted").await?;
    canary.put("one").await?;
    canary.create(canary.minimal_static("30s")).await?;
    canary.see_nonce("one", 15.0).await?;
    sleep(Duration::from_secs(1)).await;
    let scrape = scrape(&bench.lab).await?;
    for (name, labels) in SERIES {
        let found = scrape
            .label_names(name)
            .with_context(|| format!("no {name}"))?;
        ensure!(found == *labels, "{name}: {found:?}");
    }
    let workers = |controller| {
        scrape.sum(
            "controller_runtime_max_concurrent_reconciles",
            &[("controller", controller)],
        )
    };
    ensure!(workers("vaultauth") == Some(1.0) && workers("vaultdynamicsecret") == Some(100.0));
    let reconcile = scrape.buckets("controller_runtime_reconcile_time_seconds", STATIC);
    let vault = [
        ("operation", "read"),
        ("vault_connection", "vso-probe/probe"),
    ];
    let with_end = |buckets: &[f64]| [buckets, &[f64::INFINITY]].concat();
    ensure!(scrape.buckets("vso_client_operations_time_seconds", &vault) == with_end(&SECONDS));
    ensure!(
        scrape.buckets(
            "vso_client_factory_operations_time_seconds",
            &[("operation", "get")]
        ) == with_end(&SECONDS)
    );
    ensure!(
        reconcile == with_end(&[&SECONDS[..], &LONG].concat()),
        "{reconcile:?}"
    );
    let queue = scrape.buckets("workqueue_queue_duration_seconds", STATIC);
    ensure!(queue == with_end(&DECADES), "{queue:?}");
    ensure!(scrape.buckets("workqueue_work_duration_seconds", STATIC) == with_end(&DECADES));
    for operation in ["login", "read", "write", "renew"] {
        let labels = [
            ("operation", operation),
            ("vault_connection", "vso-probe/probe"),
        ];
        ensure!(
            scrape.sum("vso_client_operations_total", &labels).is_some(),
            "{operation}"
        );
    }
    Ok(())
}

pub(crate) async fn one_create_moves_the_counters(bench: Bench) -> Result<()> {
    let canary = Canary::fixed(&bench, "moves").await?;
    canary.put("one").await?;
    sleep(Duration::from_secs(1)).await;
    let before = scrape(&bench.lab).await?;
    canary.create(canary.canonical_static("60s")).await?;
    canary.see_nonce("one", 15.0).await?;
    sleep(Duration::from_millis(700)).await;
    let after = scrape(&bench.lab).await?;
    let delta = |name: &str, labels: &[(&str, &str)]| {
        after.sum(name, labels).unwrap_or(0.0) - before.sum(name, labels).unwrap_or(0.0)
    };
    let vault = |operation| {
        [
            ("operation", operation),
            ("vault_connection", "vso-probe/probe"),
        ]
    };
    // Other canaries of this file may poll meanwhile, so these are least numbers.
    ensure!(delta("controller_runtime_reconcile_time_seconds_count", STATIC) >= 1.0);
    ensure!(
        delta(
            "controller_runtime_reconcile_total",
            &[
                ("controller", "vaultstaticsecret"),
                ("result", "requeue_after")
            ]
        ) >= 1.0
    );
    ensure!(delta("workqueue_queue_duration_seconds_count", STATIC) >= 1.0);
    ensure!(delta("workqueue_adds_total", STATIC) >= 1.0);
    ensure!(delta("vso_client_operations_total", &vault("read")) >= 1.0);
    ensure!(
        delta(
            "rest_client_requests_total",
            &[("method", "PUT"), ("code", "200")]
        ) >= 2.0
    );
    ensure!(
        delta(
            "rest_client_requests_total",
            &[("method", "POST"), ("code", "201")]
        ) >= 2.0,
        "the Secret and the event"
    );
    ensure!(delta("vso_client_cache_hits", &[]) >= 1.0);
    ensure!(delta("controller_runtime_reconcile_errors_total", STATIC) < 1.0);
    let (reconciles, seconds) = (
        delta("controller_runtime_reconcile_time_seconds_count", STATIC),
        delta("controller_runtime_reconcile_time_seconds_sum", STATIC),
    );
    ensure!(
        seconds > 0.001 && seconds / reconciles < 5.0,
        "{seconds} in {reconciles}"
    );
    let queued = delta("workqueue_queue_duration_seconds_sum", STATIC);
    ensure!((0.0..0.5).contains(&queued), "{queued}");
    Ok(())
}

pub(crate) async fn a_crowd_queues(bench: Bench) -> Result<()> {
    const CROWD: usize = 200;
    let model = Canary::fixed(&bench, "crowd").await?;
    model.put("one").await?;
    let before = scrape(&bench.lab).await?;
    let began = Instant::now();
    let mut spec = model.canonical_static("300s");
    spec["destination"]["labels"] = json!({"crowd": model.name});
    let kind = ApiResource::erase::<VaultStaticSecret>(&());
    let create = |number: usize| {
        let name = format!("{}-{number}", model.name);
        let mut spec = spec.clone();
        spec["destination"]["name"] = json!(name);
        let object = DynamicObject::new(&name, &kind).data(json!({"spec": spec}));
        let api = model.resources.clone();
        async move { api.create(&PostParams::default(), &object).await }
    };
    futures::future::try_join_all((0..CROWD).map(create)).await?;
    let mine = ListParams::default().labels(&format!("crowd={}", model.name));
    let all = async || {
        let there = model.secrets.list_metadata(&mine).await?.items.len();
        Ok((there == CROWD).then_some(()))
    };
    until("everyone's Secret", 60.0, all).await?;
    let took = began.elapsed();
    sleep(Duration::from_secs(2)).await;
    let after = scrape(&bench.lab).await?;
    let delta = |name: &str| {
        after.sum(name, STATIC).unwrap_or(0.0) - before.sum(name, STATIC).unwrap_or(0.0)
    };
    let reconciles = delta("controller_runtime_reconcile_time_seconds_count");
    let queued = delta("workqueue_queue_duration_seconds_sum");
    let worked = delta("controller_runtime_reconcile_time_seconds_sum");
    tracing::info!(?took, reconciles, queued, worked, "a crowd");
    let prefix = format!("{}-", model.name);
    for number in 0..CROWD {
        model
            .resources
            .delete(&format!("{prefix}{number}"), &DeleteParams::default())
            .await?;
    }
    ensure!(
        reconciles >= 200.0 && queued > 0.01,
        "{reconciles} reconciles, {queued} s queued"
    );
    ensure!(
        worked / reconciles < took.as_secs_f64(),
        "{worked} s in {reconciles}"
    );
    Ok(())
}
