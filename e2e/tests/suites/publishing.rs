//! Trials of publishing to a real Prometheus and a real Pushgateway: the queries that people write give figures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{Histograms, Prometheus, Pushgateway, Scrape, check_metrics};
use e2e::scenario::{Probe, Prober, Scene, Server, Suite, eventually};
use serde_json::{Value, json};
use vso_prober::config::{Probe as Checked, Receiver, check};
use vso_prober::model::Step;
use vso_prober::model::run::Run;
use vso_prober::model::standing::Standing;
use vso_prober::publish::{Fact, Publisher};
use vso_prober::push::Remote;
use vso_prober::shutdown::Shutdown;

/// How long what was sent or scraped may take to be found.
const SOON: Duration = Duration::from_secs(15);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("publishing")
        .fault("through_a_pushgateway", through_a_pushgateway)
        .fault("by_remote_write", by_remote_write)
        .trial("the_registry_by_remote_write", registry_by_remote_write)
        .fault("a_failed_push_is_told", failed_push)
        .fault("scraped", scraped)
        .trial("runs_outlive_a_restart", runs_outlive_a_restart)
}

/// A probe that is created and no more, and is given up after four seconds.
fn probe() -> Probe {
    Probe::hasty("pushed", &[Step::Create])
}

/// Lets the operator pass over the next canary.
async fn ignore_next(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"ignoreNext": 1})).await
}

fn near(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-6
}

/// Waits for the only value of a query.
async fn soon(prometheus: &Prometheus, query: &str, wanted: impl Fn(f64) -> bool) -> Result<f64> {
    eventually(query, SOON, async || {
        Ok(prometheus
            .value(query)
            .await?
            .filter(|value| wanted(*value)))
    })
    .await
}

/// Insists on a value.
async fn is(prometheus: &Prometheus, query: &str, wanted: impl Fn(f64) -> bool) -> Result<f64> {
    let value = prometheus.value(query).await?;
    let value = value.with_context(|| format!("`{query}` gives nothing"))?;
    ensure!(wanted(value), "`{query}` gives {value}");
    Ok(value)
}

async fn through_a_pushgateway(scene: &Scene) -> Result<()> {
    let gateway = Pushgateway::start().await?;
    let prometheus = Prometheus::start(&[gateway.scrape()], Histograms::Classic).await?;
    let url = gateway.url();
    let push = json!({"pushgateway": {"url": url}});
    let prober = scene.prober([probe()]).edit(|config| config["push"] = push);

    let good = prober.probe(&["--push"]).await?.exits(0)?.only_run()?;
    let at = "{job=\"vso-prober\",instance=\"default\",probe=\"pushed\",kind=\"static\",step=\"create\"}";
    soon(&prometheus, &format!("vso_probe_success{at}"), |value| {
        near(value, 1.0)
    })
    .await?;
    let latency = format!("vso_probe_last_latency_seconds{at}");
    is(&prometheus, &latency, |value| {
        near(value, good.steps[0].latency_seconds)
    })
    .await?;
    let last_success = format!("vso_probe_last_success_timestamp_seconds{at}");
    let succeeded = is(&prometheus, &last_success, |value| value > 1e9).await?;
    is(&prometheus, &format!("time() - {last_success}"), |age| {
        (0.0..60.0).contains(&age)
    })
    .await?;

    ignore_next(scene).await?;
    let failed = prober.probe(&["--push"]).await?.exits(1)?.only_run()?;
    soon(&prometheus, &format!("vso_probe_success{at}"), |value| {
        near(value, 0.0)
    })
    .await?;
    // It failed now, and succeeded when it did.
    is(&prometheus, &last_success, |value| near(value, succeeded)).await?;
    is(&prometheus, &latency, |value| value >= 4.0).await?;
    let last_run = format!("vso_probe_last_run_timestamp_seconds{at}");
    is(&prometheus, &last_run, |value| value > succeeded).await?;
    let info = format!(
        "vso_probe_last_failure_info{{run=\"{}\",cause=\"operator_stalled\",party=\"operator\"}}",
        failed.run
    );
    is(&prometheus, &info, |value| near(value, 1.0)).await?;
    is(
        &prometheus,
        "avg(avg_over_time(vso_probe_success[5m]))",
        |ratio| (0.0..1.0).contains(&ratio),
    )
    .await?;

    let said = check_metrics(&own(&gateway.metrics().await?)).await?;
    ensure!(said.is_empty(), "promtool says: {said}");
    Ok(())
}

/// The lines of a text of metrics that tell of the prober.
fn own(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| line.contains("vso_")).collect();
    lines.join("\n") + "\n"
}

async fn by_remote_write(scene: &Scene) -> Result<()> {
    let prometheus = Prometheus::start(&[], Histograms::Classic).await?;
    let push = json!({"remoteWrite": {"url": prometheus.remote_write_url()}});
    let prober = scene.prober([probe()]).edit(|config| config["push"] = push);
    prober.probe(&["--push", "--count", "3"]).await?.exits(0)?;
    ignore_next(scene).await?;
    prober.probe(&["--push"]).await?.exits(1)?;

    let at = "{job=\"vso-prober\",instance=\"default\",probe=\"pushed\",kind=\"static\",step=\"create\"}[10m]";
    // One sample a run: the number of runs, and the share of them that came out well.
    let runs = format!("count_over_time(vso_probe_success{at})");
    is(&prometheus, &runs, |runs| near(runs, 4.0)).await?;
    let ratio = format!("avg_over_time(vso_probe_success{at})");
    is(&prometheus, &ratio, |ratio| near(ratio, 0.75)).await?;
    let worst = format!("max_over_time(vso_probe_last_latency_seconds{at})");
    is(&prometheus, &worst, |worst| worst >= 4.0).await?;
    let age = format!("time() - last_over_time(vso_probe_last_success_timestamp_seconds{at})");
    is(&prometheus, &age, |age| age > 4.0).await?;
    Ok(())
}

/// Checked probes of these names.
fn checked(names: &[&str]) -> Result<Vec<Checked>> {
    let probes: Vec<_> = names
        .iter()
        .map(|name| Value::from(Probe::hasty(name, &[Step::Create])))
        .collect();
    let text = json!({"vault": {"address": "http://127.0.0.1:9", "auth": {"token": {"env": "NONE"}}}, "probes": probes});
    let config = check::load(&text.to_string(), "c.yaml", |_| None);
    Ok(config
        .map_err(|problems| anyhow::anyhow!("{problems}"))?
        .probes)
}

async fn registry_by_remote_write(_: &Scene) -> Result<()> {
    let prometheus = Prometheus::start(&[], Histograms::Classic).await?;
    let publisher = Arc::new(Publisher::default());
    let configured = |names: &[&str]| -> Result<()> {
        publisher.publish(Fact::Configured {
            probes: checked(names)?,
            operator_metrics: false,
        });
        Ok(())
    };
    configured(&["slow", "short-lived"])?;
    publisher.publish(Fact::Standing(Standing::Leads));
    let endpoint = Receiver {
        url: prometheus.remote_write_url(),
        ..Receiver::default()
    };
    let over = Shutdown::default();
    let remote = Remote::new(&endpoint, "default")?.every(Duration::from_secs(1));
    let task = tokio::spawn(remote.run(publisher.clone(), over.clone()));

    // Nothing happens, and yet there are samples: a slow probe does not go stale.
    let count = "count_over_time(vso_probe_interval_seconds{probe=\"slow\"}[1m])";
    soon(&prometheus, count, |samples| samples >= 3.0).await?;
    let probes = "count(vso_probe_latency_seconds_count{job=\"vso-prober\",instance=\"default\"})";
    is(&prometheus, probes, |probes| near(probes, 2.0)).await?;
    // Gone at once, not after five minutes.
    configured(&["slow"])?;
    soon(&prometheus, probes, |probes| near(probes, 1.0)).await?;
    over.ask();
    task.await?;
    eventually("end of the series", SOON, async || {
        let left = prometheus.query("{__name__=~\"vso_.*\"}").await?;
        Ok(left.is_empty().then_some(()))
    })
    .await
}

async fn failed_push(scene: &Scene) -> Result<()> {
    let push = |prober: Prober, push: Value| prober.edit(|config| config["push"] = push);
    let dead = json!({"pushgateway": {"url": "http://127.0.0.1:9"}});
    let prober = push(scene.prober([probe()]), dead);
    prober.probe(&["--push"]).await?.exits(4)?.says(&[
        "tried to push",
        "http://127.0.0.1:9",
        "Connection refused",
    ])?;
    // Without the flag nothing is pushed, and nothing fails.
    prober.probe(&[]).await?.exits(0)?;
    ignore_next(scene).await?;
    prober
        .probe(&["--push"])
        .await?
        .exits(1)?
        .says(&["tried to push"])?;
    let nowhere = scene.prober([probe()]).probe(&["--push"]).await?;
    nowhere
        .exits(2)?
        .says(&["push.pushgateway", "push.remoteWrite"])
}

async fn scraped(scene: &Scene) -> Result<()> {
    // It runs when it is told to.
    let mut entry = Value::from(Probe::hasty("scraped", &[Step::Create, Step::Update]));
    entry["every"] = "1h".into();
    entry["steps"] = json!({"create": "3s", "update": "3s"});
    let prober = scene
        .prober([])
        .edit(|config| config["probes"] = json!([entry]));
    let server = prober.serve(&["--web.enable-lifecycle"]).await?;
    let scrape = [Scrape {
        job: "prober",
        address: server.address(),
        honor_labels: false,
    }];
    let classic = Prometheus::start(&scrape, Histograms::Classic).await?;
    let native = Prometheus::start(&scrape, Histograms::Native).await?;

    let (_, text) = server.get("/metrics").await?;
    let said = check_metrics(&text).await?;
    ensure!(said.is_empty(), "promtool says: {said}");
    every_name_arrives(&classic, &text).await?;

    let create = "{probe=\"scraped\",kind=\"static\",step=\"create\"";
    // The series are there before the first run, so that a first failure is an increase.
    let failures = format!("sum(vso_probe_failures_total{create}}})");
    soon(&classic, &failures, |failures| near(failures, 0.0)).await?;
    soon(&native, &failures, |failures| near(failures, 0.0)).await?;

    let (total, good) = every_second_times_out(scene, &server).await?;
    let ratio = format!(
        "sum(rate(vso_probe_slo_good_total{create}}}[5m])) / sum(rate(vso_probe_slo_total{create}}}[5m]))"
    );
    let share = |ratio: f64| (ratio - good / total).abs() < 0.1;
    soon(&classic, &ratio, share).await?;
    soon(&native, &ratio, share).await?;
    let age = format!("time() - vso_probe_last_success_timestamp_seconds{create}}}");
    is(&classic, &age, |age| (4.0..60.0).contains(&age)).await?;
    let increase =
        format!("sum(increase(vso_probe_failures_total{create},party=\"operator\"}}[5m]))");
    soon(&classic, &increase, |increase| increase > 2.5).await?;

    // What timed out lies above every finite bucket, the last of which ends below the timeout.
    let bucket = |edge: &str| format!("vso_probe_latency_seconds_bucket{create},le=\"{edge}\"}}");
    let (all, finite) = (bucket("+Inf"), bucket("3.5"));
    eventually("agreement on the buckets", SOON, async || {
        let (total, good) = counts(&server.runs().await?);
        let all = classic.value(&all).await?;
        let finite = classic.value(&finite).await?;
        Ok((all == Some(total) && finite == Some(good)).then_some(()))
    })
    .await?;
    let p99 = format!(
        "histogram_quantile(0.99, sum by (le) (rate(vso_probe_latency_seconds_bucket{create}}}[5m])))"
    );
    is(&classic, &p99, |p99| near(p99, 3.5)).await?;
    // A native histogram has no last edge: it tells the time itself.
    let p99 =
        format!("histogram_quantile(0.99, sum(rate(vso_probe_latency_seconds{create}}}[5m])))");
    soon(&native, &p99, |p99| (4.0..5.0).contains(&p99)).await?;
    let count = format!("histogram_count(vso_probe_latency_seconds{create}}})");
    is(&native, &count, |count| count >= total - 0.5).await?;
    exemplars_arrive(
        &classic,
        "vso_probe_latency_seconds_bucket",
        &server.runs().await?,
    )
    .await?;
    exemplars_arrive(&native, "vso_probe_latency_seconds", &server.runs().await?).await?;
    for prometheus in [&classic, &native] {
        ensure!(!prometheus.log().contains("vso_"), "{}", prometheus.log());
    }
    let (_, text) = server.get("/metrics").await?;
    let said = check_metrics(&text).await?;
    ensure!(said.is_empty(), "promtool says: {said}");
    server.stop().await.map(drop)
}

async fn runs_outlive_a_restart(scene: &Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut entry = Value::from(probe());
    entry["every"] = "1h".into();
    let prober = scene.prober([]).edit(|config| {
        config["probes"] = json!([entry]);
        config["history"] = json!({"path": folder.path().join("runs")});
    });
    let server = prober.serve(&["--web.enable-lifecycle"]).await?;
    let run = server.run_now("pushed").await?;
    server.stop().await?;

    let server = prober.serve(&[]).await?;
    let runs = server.runs().await?;
    ensure!(runs.contains(&run), "{runs:#?}");
    let last = "vso_probe_last_success_timestamp_seconds{probe=\"pushed\",kind=\"static\",step=\"create\"}";
    let last = server.metric(last).await?;
    ensure!(last.is_some_and(|last| last > 1e9), "{last:?}");
    server.stop().await.map(drop)
}

/// Has the probe run until it has both succeeded and timed out thrice. It also runs by itself, once in the first minute.
/// Returns how many runs there were, and how many of them succeeded.
async fn every_second_times_out(scene: &Scene, server: &Server) -> Result<(f64, f64)> {
    loop {
        let (total, good) = counts(&server.runs().await?);
        if good >= 3.0 && total - good >= 3.0 {
            scene.lab().faults(&json!({})).await?;
            return Ok((total, good));
        }
        if total - good < good {
            ignore_next(scene).await?;
        }
        let (status, answer) = server.post("/api/v1/probes/scraped/run").await?;
        ensure!(
            status.is_success() || status.as_u16() == 409,
            "{status}: {answer}"
        );
    }
}

/// How many runs there were, and how many of them were created in time.
fn counts(runs: &[Run]) -> (f64, f64) {
    let count = |wanted: &dyn Fn(&&Run) -> bool| {
        u32::try_from(runs.iter().filter(wanted).count()).map_or(f64::MAX, f64::from)
    };
    let good = |run: &&Run| run.steps.first().is_some_and(|step| step.good);
    (count(&|_| true), count(&good))
}

/// Insists that every family that `text` tells of arrives, even those that have no series yet.
async fn every_name_arrives(prometheus: &Prometheus, text: &str) -> Result<()> {
    let told: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    ensure!(told.len() > 25, "{told:?}");
    eventually("arrival of every name", SOON, async || {
        let metadata = prometheus.ask("targets/metadata", &[]).await?;
        let families = metadata.as_array().into_iter().flatten();
        // OpenMetrics names a family without the suffix that its type gives to its series.
        let arrived: BTreeSet<_> = families
            .filter_map(|family| {
                let suffix = match family["type"].as_str()? {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                Some(format!("{}{suffix}", family["metric"].as_str()?))
            })
            .collect();
        let missing = told.iter().filter(|name| !arrived.contains(**name));
        Ok((missing.count() == 0).then_some(()))
    })
    .await
}

/// Insists that exemplars arrive, and that they are runs that `serve` tells of.
async fn exemplars_arrive(prometheus: &Prometheus, name: &str, runs: &[Run]) -> Result<()> {
    let now = jiff::Timestamp::now();
    let (start, end) = (
        now - Duration::from_secs(600),
        now + Duration::from_secs(60),
    );
    let query = [
        ("query", name),
        ("start", &start.to_string()),
        ("end", &end.to_string()),
    ];
    let found = prometheus.ask("query_exemplars", &query).await?;
    let exemplars: BTreeMap<_, _> = found
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|series| series["exemplars"].as_array().into_iter().flatten())
        .filter_map(|exemplar| Some((exemplar["labels"]["run"].as_str()?, exemplar)))
        .collect();
    ensure!(!exemplars.is_empty(), "there are no exemplars: {found}");
    for run in exemplars.keys() {
        ensure!(runs.iter().any(|known| known.run == *run), "no run `{run}`");
    }
    Ok(())
}
