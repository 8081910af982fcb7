//! Trials of correlation: with a slow Vault, a crowded queue, and nothing wrong.

use std::env;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::figures::quantile;
use e2e::lab::NAMESPACE;
use e2e::scenario::{Crowd, Probe, Prober, Relay, Scene, Suite, eventually, step};
use kube::api::Api;
use serde_json::{Value, json};
use vso_prober::judge::correlation::Windows;
use vso_prober::model::correlation::Coefficient;
use vso_prober::model::run::{Run, StepReport};
use vso_prober::model::signal::Signal;
use vso_prober::model::{Stage, Step, Verdict};
use vso_prober::operator::api::VaultAuth;

/// How many runs each trial takes; the variable `CORRELATION_RUNS` says otherwise.
const RUNS: usize = 40;
/// How many runs one process takes where nothing comes between.
const BATCH: usize = 20;
/// For how many seconds a request to a slow Vault is held back.
const SLOW: Range<f64> = 0.0..0.8;
/// How many workers the operator has. A tenth of its default: a tenth of the crowd makes the same queue, and leaves the
/// machine to the operator.
const WORKERS: u16 = 10;
/// How many resources of others come at once: more than the operator has workers.
const BURST: RangeInclusive<usize> = 11..=30;
/// How many seconds a request to the Vault of these others takes on average, drawn for each burst; long enough
/// that a queue forms on a fast machine too. Were it the same for all bursts, how long the queue is would say
/// the same as how long it takes.
const OTHERS: Range<f64> = 0.5..1.3;

/// For how many seconds each request of the prober's own to the API server is held back, drawn for each run; the second
/// where `CORRELATION_RUNS` says how many there are, so that nobody waits for it.
const FAR: Range<f64> = 0.005..0.2;
const FURTHER: Range<f64> = 0.005..0.9;
/// How many resources of others Vault refuses to be read for, again and again, on the same VaultConnection.
const REFUSED: usize = 60;

/// No trial takes this long, however many runs are asked for.
const LIMIT: Duration = Duration::from_secs(1800);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("moves_with")
        .workers(WORKERS)
        .limit(LIMIT)
        .trial("a_slow_vault_is_told_by_its_reads", slow_vault)
        .trial("a_crowd_is_told_by_the_queue", crowd)
        .trial("where_nothing_is_the_matter_no_queue_is_strong", quiet)
        .trial("the_probers_own_way_moves_with_nothing", own_way)
}

/// A probe that is run again and again.
struct Series {
    prober: Prober,
    wanted: usize,
    runs: Vec<Run>,
}

impl Series {
    /// The probe `name` by the VaultAuth `auth`, with this threshold.
    async fn begin(scene: &Scene, name: &str, auth: &str, within: &str) -> Result<Self> {
        let probe = Probe::kv2(name)
            .auth(auth)
            .target("refreshAfter", "1h")
            .steps(&[Step::Create, Step::Delete])
            .limits(within, "60s");
        let url = scene.lab().metrics_url().await;
        let prober = scene
            .prober([probe])
            .edit(|config| config["operator"]["metrics"] = json!({"url": url}));
        // The first of all makes the operator log in.
        prober.probe(&[]).await?.exits(0)?;
        let wanted = match env::var("CORRELATION_RUNS") {
            Ok(runs) => runs.parse().context("CORRELATION_RUNS is no number")?,
            Err(_) => RUNS,
        };
        Ok(Self {
            prober,
            wanted,
            runs: Vec::new(),
        })
    }

    fn is_over(&self) -> bool {
        self.runs.len() >= self.wanted
    }

    /// Runs it so often, or as often as is wanted still. A run without a verdict, as on a machine where the API server
    /// is starved, is no sample: there will be another.
    async fn take(&mut self, count: usize) -> Result<()> {
        let count = count.min(self.wanted - self.runs.len()).to_string();
        let arguments = ["--count", &count, "--parallel", "1"];
        let outcome = self.prober.probe(&arguments).await?;
        let mut runs = outcome.runs()?;
        runs.retain(|run| run.result != Verdict::Unknown);
        self.runs.extend(runs);
        Ok(())
    }

    /// What the latencies of its creations move with, in a window that holds all of them. Prints it.
    fn conclude(mut self, title: &str) -> Result<Told> {
        let mut windows = Windows::default();
        let mut coefficients = Vec::new();
        for run in &mut self.runs {
            ensure!(run.result == Verdict::Success, "no success: {run:#?}");
            coefficients = windows
                .observe(run)
                .remove(&Step::Create)
                .unwrap_or_default();
        }
        let reports: Result<Vec<_>> = self
            .runs
            .iter()
            .map(|run| step(run, Step::Create))
            .collect();
        let told = Told {
            coefficients,
            reports: reports?.into_iter().cloned().collect(),
        };
        #[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
        {
            println!("{title}\n{told}");
        }
        Ok(told)
    }
}

/// What a series of creations told.
struct Told {
    coefficients: Vec<Coefficient>,
    reports: Vec<StepReport>,
}

impl Told {
    /// Insists that they move with a signal more than with any other, but for one that it may be part of.
    fn most_with(&self, signal: Signal, but: Option<Signal>) -> Result<&Coefficient> {
        let at = |one: &Coefficient| one.signal == signal;
        let found = self.coefficients.iter().find(|one| at(one));
        let found = found.with_context(|| format!("no word of `{signal}`: {self}"))?;
        let mut stronger = self.coefficients.iter().take_while(|one| !at(one));
        ensure!(
            stronger.all(|one| Some(one.signal) == but),
            "not most with `{signal}`: {self}"
        );
        ensure!(found.strong, "`{signal}` is not strong: {self}");
        Ok(found)
    }

    /// The share of all their latency that went into a stage.
    fn share(&self, stage: Stage) -> f64 {
        let of = |report: &StepReport| report.stages.get(&stage).copied().unwrap_or_default();
        let whole: f64 = self
            .reports
            .iter()
            .map(|report| report.latency_seconds)
            .sum();
        self.reports.iter().map(of).sum::<f64>() / whole
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latencies: Vec<_> = self
            .reports
            .iter()
            .map(|report| report.latency_seconds)
            .collect();
        let ms = |share| quantile(&latencies, share) * 1e3;
        writeln!(
            f,
            "{} creations: p10 {:.1} ms, p50 {:.1} ms, p90 {:.1} ms; reconcile {:.1} %, queue {:.1} %",
            latencies.len(),
            ms(0.1),
            ms(0.5),
            ms(0.9),
            self.share(Stage::Reconcile) * 100.0,
            self.share(Stage::Queue) * 100.0,
        )?;
        writeln!(
            f,
            "  {:<20}{:>9}{:>9}{:>9}  {:<16}",
            "SIGNAL", "SPEARMAN", "PEARSON", "SAMPLES", "95 %"
        )?;
        for Coefficient {
            signal,
            spearman,
            pearson,
            samples,
            interval: [low, high],
            strong,
        } in &self.coefficients
        {
            let mark = if *strong { "strong" } else { "" };
            let pearson = pearson.unwrap_or(f64::NAN);
            writeln!(
                f,
                "  {signal:<20}{spearman:>9.3}{pearson:>9.3}{samples:>9.1}  {low:>6.3} {high:>6.3}  {mark}"
            )?;
        }
        Ok(())
    }
}

/// A VaultConnection to there, and a VaultAuth over it.
struct Way<'a> {
    scene: &'a Scene,
    name: &'a str,
}

impl<'a> Way<'a> {
    async fn lay(scene: &'a Scene, name: &'a str, address: &str) -> Result<Self> {
        let way = Self { scene, name };
        let mut connection = way.object("VaultConnection");
        connection["spec"] = json!({"address": address});
        scene.apply(connection).await?;
        let over = json!({"vaultConnectionRef": name});
        scene.vault_auth(NAMESPACE, name, over).await?;
        Ok(way)
    }

    async fn clear(self) -> Result<()> {
        self.scene.remove(self.object("VaultAuth")).await?;
        let auths = Api::<VaultAuth>::namespaced(self.scene.lab().client(), NAMESPACE);
        eventually(
            "end of the VaultAuth",
            Duration::from_secs(30),
            async || Ok(auths.get_opt(self.name).await?.is_none().then_some(())),
        )
        .await?;
        self.scene.remove(self.object("VaultConnection")).await
    }

    fn object(&self, kind: &str) -> Value {
        json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": kind,
            "metadata": {"name": self.name, "namespace": NAMESPACE},
        })
    }
}

async fn slow_vault(scene: &Scene) -> Result<()> {
    let hold = || rand::random_range(SLOW);
    let relay = Relay::slow(scene.lab().vault().address(), hold).await?;
    let way = Way::lay(scene, "delayed", &relay.address()).await?;
    let mut series = Series::begin(scene, "delayed", "delayed", "5s").await?;
    while !series.is_over() {
        series.take(BATCH).await?;
    }
    way.clear().await?;
    let told = series.conclude("each request to Vault held back by 0-800 ms")?;
    // What a reconcile takes contains what Vault took.
    let reads = told.most_with(Signal::VaultReadSeconds, Some(Signal::ReconcileSeconds))?;
    ensure!(reads.spearman >= 0.9, "{told}");
    ensure!(told.share(Stage::Reconcile) >= 0.9, "{told}");
    Ok(())
}

async fn crowd(scene: &Scene) -> Result<()> {
    let pace = Arc::new(Mutex::new(0.0));
    let hold = {
        let pace = pace.clone();
        move || *pace.lock().expect("nobody panicked") * rand::random_range(0.5..1.5)
    };
    let relay = Relay::slow(scene.lab().vault().address(), hold).await?;
    let way = Way::lay(scene, "others", &relay.address()).await?;
    let crowd = Crowd::new(scene, "others").await?;
    let mut series = Series::begin(scene, "crowded", "probe", "30s").await?;
    while !series.is_over() {
        *pace.lock().expect("nobody panicked") = rand::random_range(OTHERS);
        let size = rand::random_range(BURST);
        let (run, gathered) = tokio::join!(series.take(1), crowd.gather(size, "1h"));
        gathered?;
        run?;
        crowd.leave().await?;
    }
    crowd.disband().await?;
    way.clear().await?;
    let told = series.conclude("bursts of 11 to 30 resources of others, for 10 workers")?;
    // What it waits for in the queue is that the operator takes others up.
    told.most_with(Signal::QueueSeconds, Some(Signal::ReconcileSeconds))?;
    Ok(())
}

/// On a machine at rest, which `CORRELATION_AT_REST` promises, nothing is strong. Elsewhere what the operator takes may
/// be: it has its share of the machine's own business. But it never waits in a queue.
async fn quiet(scene: &Scene) -> Result<()> {
    let mut series = Series::begin(scene, "quiet", "probe", "5s").await?;
    while !series.is_over() {
        series.take(BATCH).await?;
    }
    let told = series.conclude("nothing the matter")?;
    let at_rest = env::var_os("CORRELATION_AT_REST").is_some();
    let nothing = [Signal::QueueSeconds, Signal::ActiveWorkers];
    let mut strong = told.coefficients.iter().filter(|one| one.strong);
    ensure!(
        !strong.any(|one| at_rest || nothing.contains(&one.signal)),
        "{told}"
    );
    Ok(())
}

/// Latencies that differ only by the prober's own way to the API server, while Vault refuses others: nothing is strong that
/// counts what the operator does.
async fn own_way(scene: &Scene) -> Result<()> {
    let far = if env::var_os("CORRELATION_RUNS").is_some() {
        FURTHER
    } else {
        FAR
    };
    let server = scene.lab().api_server()?;
    let pace = Arc::new(Mutex::new(0.0));
    let hold = {
        let pace = pace.clone();
        move || *pace.lock().expect("nobody panicked")
    };
    let relay = Relay::slow(&server, hold).await?;
    let kubeconfig = scene.kubeconfig_by(&relay.address())?;
    let refused = |number: usize| {
        json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret",
            "metadata": {"name": format!("refused-{number}"), "namespace": NAMESPACE},
            "spec": {
                "vaultAuthRef": "probe", "mount": "kvv2", "type": "kv-v2", "path": "forbidden/secret",
                "refreshAfter": "1h", "destination": {"name": format!("refused-{number}"), "create": true},
            },
        })
    };
    for number in 0..REFUSED {
        scene.apply(refused(number)).await?;
    }
    let mut series = Series::begin(scene, "far", "probe", "20s").await?;
    series.prober = series.prober.kubeconfig(&kubeconfig);
    while !series.is_over() {
        *pace.lock().expect("nobody panicked") = rand::random_range(far.clone());
        series.take(1).await?;
    }
    for number in 0..REFUSED {
        scene.remove(refused(number)).await?;
    }
    let told =
        series.conclude("the prober's own way to the API server, and 60 resources refused")?;
    let mut strong = told.coefficients.iter().filter(|one| one.strong);
    ensure!(strong.next().is_none(), "{told}");
    Ok(())
}
