//! Trials of `serve` that judges Vault's audit log: honest work is never a confirmed finding.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_ACCOUNT, Part, Vault, VaultLine};
use e2e::scenario::{Crowd, Probe, Relay, Scene, Server, Suite, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use vso_prober::model::Step;

use crate::addresses::connection;
use crate::audit_impostor::{auditor, findings, knows, knows_all};

/// So often the operator is restarted, and its Pod replaced, unless `AUDIT_RESTARTS` and `AUDIT_REPLACEMENTS` say otherwise.
const RESTARTS: u64 = 10;
const REPLACEMENTS: u64 = 3;
/// Longer than a suspect waits in these trials.
const GRACE: Duration = Duration::from_secs(7);

/// How often something happens in the trial of all of it, where `AUDIT_SOAK_MINUTES` says for how long; a few times at a short
/// distance elsewhere.
const BEAT: Duration = Duration::from_secs(100);
const SHORT_BEAT: Duration = Duration::from_secs(4);
const SHORT_BEATS: u64 = 6;
/// How many others keep the operator busy, for many syncs, and in what time two readings of its metrics are over.
const CROWD: usize = 100;
const WINDOWS: Duration = Duration::from_secs(200);
/// How long that may take.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("audit_innocent")
        .trial("vault_sealed_for_a_while", sealed)
        .trial("a_second_auth", second_auth)
        .trial("without_sight_of_the_operator_it_says_so", unseen)
        .trial("a_standby_without_a_log", standby)
        .trial("cache_restored", cache_restored)
        .trial("raft_failover_three_nodes", raft_failover)
        .limit(LONGEST)
        .trial("restarts", restarts)
        .trial("replacements", replacements)
        .trial("all_of_it_again_and_again", everything)
        .asked_for("AUDIT_SYNCS")
        .trial("the_books_of_many_syncs_balance", books)
}

async fn at_work(scene: &Scene, name: &str) -> Result<Server> {
    let probe = Probe::kv2(name)
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .target("refreshAfter", "5s")
        .limits("20s", "30s")
        .every("2s");
    let state = scene.path("state");
    let server = auditor(scene, [probe], &state).await?.serve(&[]).await?;
    knows(&server).await?;
    Ok(server)
}

/// Insists that nothing was found, once every suspect has had its time.
pub(crate) async fn innocent(server: Server) -> Result<()> {
    tokio::time::sleep(GRACE).await;
    let found = findings(&server, "?state=confirmed").await?;
    ensure!(found.is_empty(), "{found:#?}");
    let (_, metrics) = server.get("/metrics").await?;
    let used = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("vso_audit_lines_total{source=\"vault-")?;
        let (_, used) = rest.split_once("result=\"used\"} ")?;
        used.parse::<f64>().ok()
    });
    let used: f64 = used.sum();
    ensure!(used > 20.0, "it judged next to nothing: {used}");
    server.stop().await.map(drop)
}

/// The number that a variable of the environment holds.
fn number(name: &str) -> Result<Option<u64>> {
    let text = env::var(name).ok().filter(|text| !text.is_empty());
    text.map(|text| text.parse().context(name.to_owned()))
        .transpose()
}

async fn restarts(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "restarts").await?;
    for _ in 0..number("AUDIT_RESTARTS")?.unwrap_or(RESTARTS) {
        scene.lab().stop_operator().await?;
        scene.lab().start_operator().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    innocent(server).await
}

/// The Pod is another each time.
async fn replacements(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "replaced").await?;
    for _ in 0..number("AUDIT_REPLACEMENTS")?.unwrap_or(REPLACEMENTS) {
        scene.lab().scale_operator_down().await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        scene.lab().start_operator().await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    innocent(server).await
}

/// The operator's tokens outlive its Pods: each goes on with those of the one before.
async fn cache_restored(scene: &Scene) -> Result<()> {
    scene.lab().keep_tokens(true).await;
    scene.lab().stop_operator().await?;
    scene.lab().start_operator().await?;
    let server = at_work(scene, "restored").await?;
    let logins = || -> Result<usize> {
        let lines = scene.lab().vault_audit()?;
        let login = |line: &&VaultLine| {
            line.request.path == "auth/kubernetes/login"
                && line.auth.display_name == format!("kubernetes-{NAMESPACE}-{OPERATOR_ACCOUNT}")
        };
        Ok(lines.iter().filter(login).count())
    };
    let before = logins()?;
    for _ in 0..number("AUDIT_REPLACEMENTS")?.unwrap_or(REPLACEMENTS) {
        scene.lab().scale_operator_down().await?;
        scene.lab().start_operator().await?;
        scene.serves().await?;
    }
    ensure!(logins()? == before, "the tokens were not restored");
    innocent(server).await?;
    scene.lab().keep_tokens(false).await;
    scene.lab().stop_operator().await?;
    scene.lab().start_operator().await
}

/// A node that serves nobody has no log; a folder that is not there is something else.
async fn standby(scene: &Scene) -> Result<()> {
    let absent = scene.path("log").display().to_string();
    let nowhere = scene.path("folder").join("log").display().to_string();
    let probe = Probe::kv2("standby").limits("20s", "30s").every("2s");
    let prober = auditor(scene, [probe], &scene.path("state")).await?;
    let with = |name: &str, path: &str| {
        prober.clone().edit(|config| {
            let source = json!({"name": name, "file": {"path": path}});
            let sources = config["audit"]["sources"].as_array_mut();
            sources.expect("sources").push(source);
        })
    };
    let server = with("vault-1", &absent).serve(&[]).await?;
    knows_all(&server, "pod", 3).await?;
    innocent(server).await?;
    let server = with("vault-1", &nowhere).serve(&[]).await?;
    eventually(
        "a source that is down",
        Duration::from_secs(20),
        async || {
            let Ok(told) = server.json("/api/v1/audit/sources").await else {
                return Ok(None);
            };
            let sources = told["sources"].as_array().context("sources")?;
            let down = sources.iter().find(|source| source["name"] == "vault-1");
            let reason = down.map(|source| source["reason"].to_string());
            Ok(reason.filter(|why| why.contains(&nowhere)).map(drop))
        },
    )
    .await?;
    server.stop().await.map(drop)
}

/// The node that does the work is another again and again; prober and operator ask one that may be any.
async fn raft_failover(scene: &Scene) -> Result<()> {
    let nodes = scene.lab().vault_cluster().await?;
    let [_, asked, _] = &nodes;
    connection(scene, "cluster", asked.address()).await?;
    let probe = Probe::kv2("cluster")
        .auth("cluster")
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .target("refreshAfter", "5s")
        .limits("20s", "30s")
        .every("2s");
    let prober = auditor(scene, [probe], &scene.path("state")).await?;
    let prober = prober.vault(asked.address()).edit(|config| {
        let source = |(number, node): (usize, &Vault)| {
            let log = node.audit_log().display().to_string();
            json!({"name": format!("vault-{number}"), "file": {"path": log, "from": "end"}})
        };
        config["audit"]["sources"] = nodes.iter().enumerate().map(source).collect();
    });
    let server = prober.serve(&[]).await?;
    knows_all(&server, "pod", 4).await?;
    let mut were_active = BTreeSet::new();
    for _ in 0..2 {
        let active = asked.active().await?;
        let node = nodes.iter().find(|node| node.address() == active);
        let node = node.context("an active node")?;
        were_active.insert(active);
        node.write("sys/step-down", json!({})).await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    were_active.insert(asked.active().await?);
    ensure!(were_active.len() > 1, "one node remained active");
    knows_all(&server, "pod", 4).await?;
    innocent(server).await?;
    let cleaner = prober.run(&["cleanup", "--all"]).await?;
    cleaner.exits(0).map(drop)
}

/// The operator is restarted, the log rotated, Vault sealed for a while, in turn.
async fn everything(scene: &Scene) -> Result<()> {
    let minutes = number("AUDIT_SOAK_MINUTES")?;
    let (beat, beats) = minutes.map_or((SHORT_BEAT, SHORT_BEATS), |minutes| {
        (BEAT, minutes * 60 / BEAT.as_secs())
    });
    let server = at_work(scene, "everything").await?;
    let log = scene.lab().vault_audit_file();
    for number in 0..beats {
        tokio::time::sleep(beat).await;
        match number % 3 {
            0 => {
                scene.lab().stop_operator().await?;
                scene.lab().start_operator().await?;
            }
            1 => {
                rotate(log)?;
                scene.lab().process(Part::Vault).await.signal(Signal::HUP)?;
            }
            _ => {
                scene.lab().vault().seal().await?;
                tokio::time::sleep(Duration::from_secs(6)).await;
                scene.lab().vault().unseal().await?;
            }
        }
    }
    tokio::time::sleep(beat).await;
    let (_, metrics) = server.get("/metrics").await?;
    let findings = findings(&server, "?limit=1000").await?;
    #[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
    {
        println!("{beats} beats; {} findings in all", findings.len());
        let told = [
            "vso_audit_lines",
            "vso_audit_bytes",
            "vso_audit_gaps",
            "vso_audit_books",
            "process_",
        ];
        let told = |line: &&str| told.iter().any(|name| line.starts_with(name));
        metrics
            .lines()
            .filter(told)
            .for_each(|line| println!("  {line}"));
    }
    // A request that was under way when Vault was sealed has no answer.
    let gaps = |line: &&str| {
        line.starts_with("vso_audit_gaps_total")
            && !line.contains("unpaired")
            && !line.ends_with(" 0")
    };
    let gaps: Vec<_> = metrics.lines().filter(gaps).collect();
    if !gaps.is_empty() {
        let outcome = server.stop().await?;
        anyhow::bail!("lines were lost: {gaps:?} {outcome}");
    }
    innocent(server).await?;
    let cleaner = scene.prober([Probe::kv2("everything")]);
    cleaner.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// The operator's own count, Vault's log and the API server's log agree over as many syncs of every kind as `AUDIT_SYNCS` says.
/// Then one read with the operator's token, from the operator's own address, is named.
async fn books(scene: &Scene) -> Result<()> {
    let syncs = number("AUDIT_SYNCS")?.context("AUDIT_SYNCS")?;
    let probes = [
        Probe::kv2("counted").target("refreshAfter", "5s"),
        Probe::database("leased"),
        Probe::pki("certified"),
    ];
    let probes = probes.map(|probe| probe.limits("20s", "30s").every("5s"));
    let server = auditor(scene, probes, &scene.path("state"))
        .await?
        .serve(&[])
        .await?;
    knows(&server).await?;
    let crowd = Crowd::new(scene, "probe").await?;
    crowd.gather(CROWD, "5s").await?;
    let used = "vso_audit_lines_total{source=\"vault-0\",result=\"used\"}";
    let due = Duration::from_secs(syncs / 5 + 120);
    eventually("syncs", due, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lines = server.metric(used).await?.unwrap_or_default();
        // A request and its response.
        Ok((lines / 2.0 >= f64::from(u32::try_from(syncs)?)).then_some(()))
    })
    .await?;
    crowd.disband().await?;
    tokio::time::sleep(WINDOWS).await;
    let (_, metrics) = server.get("/metrics").await?;
    let books = metrics
        .lines()
        .filter(|line| line.starts_with("vso_audit_books"));
    let books: Vec<_> = books.collect();
    #[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
    {
        println!("after {syncs} syncs: {books:#?}");
    }
    let differences = books.iter().filter(|line| line.contains("difference"));
    let differences: Vec<_> = differences.collect();
    let none = differences.iter().all(|line| line.ends_with(" 0.0"));
    ensure!(differences.len() == 3 && none, "{books:#?}");
    let found = findings(&server, "").await?;
    ensure!(found.is_empty(), "{found:#?}");
    let thief = scene.thief().await?.from(Ipv4Addr::LOCALHOST.into())?;
    let vault = scene.lab().vault();
    let secret = json!({"data": {"key": "value"}});
    vault.write("kvv2/data/vso-prober/extra", secret).await?;
    thief.read("kvv2/data/vso-prober/extra").await?;
    let found = eventually("finding of the books", 2 * WINDOWS, async || {
        let found = findings(&server, "?rule=books").await?;
        Ok(found.into_iter().next())
    })
    .await?;
    ensure!(
        found["text"]
            .as_str()
            .is_some_and(|text| text.contains("0 logins and 1 reads")),
        "{found:#}"
    );
    server.stop().await?;
    vault
        .delete("kvv2/metadata/vso-prober/extra")
        .await
        .map(drop)
}

/// As logrotate does: the higher the number, the older the file.
fn rotate(log: &Path) -> Result<()> {
    let numbered = |number: usize| log.with_file_name(format!("{}.{number}", name(log)));
    let there = (1..).take_while(|number| numbered(*number).exists());
    let mut there: Vec<_> = there.collect();
    there.reverse();
    for number in there {
        fs::rename(numbered(number), numbered(number + 1))?;
    }
    Ok(fs::rename(log, numbered(1))?)
}

fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Where the operator's Pods can't be seen any more, or not since the start, the sources can't be relied on.
async fn unseen(scene: &Scene) -> Result<()> {
    let state = scene.path("state");
    let relay = Relay::slow(&scene.lab().api_server()?, || 0.0).await?;
    let probe = Probe::kv2("unseen").every("2s");
    let prober = auditor(scene, [probe], &state).await?;
    let mut kubeconfig: Value = serde_json::from_slice(&fs::read(scene.lab().kubeconfig())?)?;
    kubeconfig["clusters"][0]["cluster"]["server"] =
        relay.address().replace("http://", "https://").into();
    let kubeconfig = scene.file(&kubeconfig.to_string())?;
    let prober = prober.kubeconfig(&kubeconfig);
    let server = prober.serve(&[]).await?;
    knows(&server).await?;
    drop(relay);
    blind(&server, "the operator's Pods could not be looked at since").await?;
    server.stop().await?;
    let server = prober.serve(&[]).await?;
    blind(&server, "waiting for the operator's Pods").await?;
    server.stop().await?;
    let cleaner = scene.prober([Probe::kv2("unseen")]);
    cleaner.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// Waits until every source is down for this reason.
async fn blind(server: &Server, why: &str) -> Result<()> {
    eventually(why, Duration::from_secs(60), async || {
        let Ok(told) = server.json("/api/v1/audit/sources").await else {
            return Ok(None);
        };
        let sources = told["sources"].as_array().context("sources")?;
        let told = |source: &Value| source["reason"].as_str().unwrap_or_default().contains(why);
        Ok(sources.iter().all(told).then_some(()))
    })
    .await
}

async fn sealed(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "sealed").await?;
    scene.lab().vault().seal().await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    scene.lab().vault().unseal().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    innocent(server).await?;
    // A run that met the seal left its canary.
    let cleaner = scene.prober([Probe::kv2("sealed")]);
    cleaner.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// The operator logs in for a VaultAuth that is new.
async fn second_auth(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "second").await?;
    scene.vault_auth(NAMESPACE, "second", json!({})).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let other = Probe::kv2("other")
        .auth("second")
        .steps(&[Step::Create, Step::Delete]);
    let prober = scene.prober([other.limits("10s", "20s")]).instance("other");
    prober.probe(&[]).await?.exits(0)?;
    innocent(server).await
}
