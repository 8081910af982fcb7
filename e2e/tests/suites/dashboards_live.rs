//! Trials of the dashboards: each query has data, from a prober and an operator that have been through everything they show.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::lab::{NAMESPACE, Prometheus, Rules, Scrape};
use e2e::scenario::{Probe, Scene, Server, Suite, eventually};
use serde_json::{Value, json};
use vso_prober::model::Step;

/// How many runs a correlation needs, and some.
const RUNS: usize = 26;
/// How long the data may take to be there.
const FILLED: Duration = Duration::from_secs(60);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("dashboards_live").trial("every_query_has_data", every_query)
}

async fn every_query(scene: &Scene) -> Result<()> {
    let metrics = scene.lab().metrics_url().await;
    let role = json!({"kubernetes": {"role": "absent"}});
    scene.vault_auth(NAMESPACE, "role-unknown", role).await?;
    let vault = scene.lab().vault();
    vault.database_role("brief", "6s", "6s").await?;
    let steps = [Step::Create, Step::Delete];
    // Each runs when it is told to.
    let probes = [
        Probe::hasty("quick", &steps),
        Probe::hasty("late", &[Step::Create, Step::Update]),
        // Issued two, of which the operator forgets one.
        Probe::database("leaking").minimal(),
        Probe::database("rotating")
            .target("path", "creds/brief")
            .target("maxTtl", "1m")
            .steps(&[Step::Create, Step::Rotate]),
        Probe::pki("certificate"),
        Probe::hasty("locked", &[Step::Create]).auth("role-unknown"),
    ];
    let prober = scene
        .prober(probes.map(|probe| probe.every("1h")))
        .edit(|config| config["operator"]["metrics"] = json!({"url": metrics}));
    let server = prober.serve(&["--web.enable-lifecycle"]).await?;
    let operator = metrics
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/metrics"))
        .context("the operator's address")?;
    let scrape = |job, address| Scrape {
        job,
        address,
        honor_labels: false,
    };
    let scrapes = [
        scrape("vso-prober", server.address()),
        scrape("vso", operator.parse()?),
    ];
    let prometheus = Prometheus::with_rules(&scrapes, &Rules::shipped()?.faster(30), None).await?;

    for probe in ["leaking", "rotating", "certificate", "locked", "late"] {
        run(&server, probe).await?;
    }
    for _ in 0..RUNS {
        run(&server, "quick").await?;
    }
    // A rate needs two samples.
    run(&server, "late").await?;
    run(&server, "locked").await?;

    // Those that have had none so far: windows are short here, and what was in one goes again.
    let waiting = RefCell::new(queries()?);
    let filled = eventually("data of every query", FILLED, async || {
        let asked = waiting.borrow().clone();
        let empty = empty(&prometheus, asked).await?;
        let all = empty.is_empty().then_some(());
        waiting.replace(empty);
        Ok(all)
    });
    if filled.await.is_err() {
        bail!("no data: {:#?}", waiting.take());
    }
    server.stop().await?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// Runs a probe now, or after the run that is under way.
async fn run(server: &Server, probe: &str) -> Result<()> {
    eventually("turn", Duration::from_secs(60), async || {
        let (status, answer) = server.post(&format!("/api/v1/probes/{probe}/run")).await?;
        ensure!(
            status.is_success() || status.as_u16() == 409,
            "{probe}: {status}: {answer}"
        );
        Ok(status.is_success().then_some(()))
    })
    .await
}

/// The queries of all panels, with the variables as Grafana would replace them.
fn queries() -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for name in ["vso-sync", "vso-controllers"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/dashboards");
        let text = std::fs::read_to_string(Path::new(folder).join(name).with_extension("json"))?;
        let board: Value = serde_json::from_str(&text)?;
        for panel in board["panels"].as_array().into_iter().flatten() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let mut query = target["expr"].as_str().context("a query")?.to_owned();
                for (variable, value) in [
                    ("__rate_interval", "2m"),
                    ("__range", "5m"),
                    ("job", ".+"),
                    ("instance", ".+"),
                    ("probe", ".+"),
                    ("step", ".+"),
                    ("controller", ".+"),
                ] {
                    query = query.replace(&format!("${variable}"), value);
                }
                ensure!(!query.contains('$'), "{query}");
                queries.push((
                    panel["title"].as_str().unwrap_or_default().to_owned(),
                    query,
                ));
            }
        }
    }
    ensure!(queries.len() > 50, "{queries:?}");
    Ok(queries)
}

/// The queries that give no number.
async fn empty(
    prometheus: &Prometheus,
    queries: Vec<(String, String)>,
) -> Result<Vec<(String, String)>> {
    let mut empty = Vec::new();
    for query in queries {
        let vector = prometheus.query(&query.1).await?;
        if vector.iter().all(|(_, value)| value.is_nan()) {
            empty.push(query);
        }
    }
    Ok(empty)
}
