//! Trials of `serve` that judges Vault's audit log: whoever acts in the operator's name is found.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::lab::Part;
use e2e::scenario::{ATTACKER, Probe, Prober, Relay, Scene, Server, Suite, eventually};
use jiff::Timestamp;
use serde_json::{Value, json};
use vso_prober::model::Step;

/// How long a suspect waits in these trials, in seconds.
const GRACE: u64 = 4;
/// A suspect that comes later than this is late: it takes half a second where nothing else runs.
const LATE: Duration = Duration::from_secs(10);
/// For so long a token that the operator had issued may be followed by its login, and a little longer.
const FOLLOWS: Duration = Duration::from_secs(32);
/// How long anything may take that should come at once.
const SOON: Duration = Duration::from_secs(20);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("audit_impostor")
        .trial("replayed_from_elsewhere", replayed_from_elsewhere)
        .trial("replayed_while_stopped", replayed_while_stopped)
        .trial("replayed_after_restart", replayed_after_restart)
        .trial("minted_by_kubectl", minted_by_kubectl)
        .trial("minted_beside_the_operator", minted_beside_the_operator)
        .trial("decoy_read", decoy_read)
        .trial("found_while_kubernetes_hangs", found_while_kubernetes_hangs)
        .trial("decoy_written", decoy_written)
        .trial("drilled", drilled)
        .trial("canary_listed", canary_listed)
        .trial("found_before_and_after_a_kill", killed)
        .trial("reloaded", reloaded)
}

/// The prober with the audit of Vault's log and the API server's, from their ends on, with an administrator's rights in Kubernetes.
pub(crate) async fn auditor(
    scene: &Scene,
    probes: impl IntoIterator<Item = Probe>,
    state: &Path,
) -> Result<Prober> {
    let log = scene.lab().vault_audit_file().display().to_string();
    let kubernetes = scene.lab().kube_audit_file().display().to_string();
    let metrics = scene.lab().metrics_url().await;
    let prober = scene.prober(probes).edit(|config| {
        config["operator"]["metrics"]["url"] = metrics.into();
        config["audit"] = json!({
            "state": state, "grace": format!("{GRACE}s"), "lag": "4s",
            "sources": [{"name": "vault-0", "file": {"path": log, "from": "end"}}],
            "kubernetes": {"file": {"path": kubernetes, "from": "beginning"}},
        });
    });
    Ok(prober.kubeconfig(scene.lab().kubeconfig()))
}

/// The same, at work: three canaries have been read, so that it is known as which address Vault sees the operator.
async fn at_work(scene: &Scene, name: &str) -> Result<Server> {
    serving(&auditor(scene, [quick(name)], &scene.path("state")).await?).await
}

async fn serving(prober: &Prober) -> Result<Server> {
    serving_with(prober, &[]).await
}

async fn serving_with(prober: &Prober, flags: &[&str]) -> Result<Server> {
    let server = prober.serve(flags).await?;
    knows(&server).await?;
    Ok(server)
}

/// The same, with a decoy.
async fn with_decoy(scene: &Scene, name: &str) -> Result<Prober> {
    let prober = auditor(scene, [quick(name)], &scene.path("state")).await?;
    Ok(prober.edit(|config| {
        config["audit"]["decoys"] = json!([{"mount": "kvv2", "path": "vso-prober/decoy"}]);
    }))
}

fn quick(name: &str) -> Probe {
    Probe::kv2(name)
        .steps(&[Step::Create, Step::Delete])
        .limits("3s", "5s")
        .every("1s")
}

/// Waits until the source is up and the mode is known: Vault sees the Pod's own address.
pub(crate) async fn knows(server: &Server) -> Result<()> {
    knows_as(server, "pod").await
}

/// The same with this mode.
pub(crate) async fn knows_as(server: &Server, mode: &str) -> Result<()> {
    knows_all(server, mode, 2).await
}

/// The same of so many sources.
pub(crate) async fn knows_all(server: &Server, mode: &str, number: usize) -> Result<()> {
    let known = eventually(
        "sources that are up, and a mode that is known",
        Duration::from_secs(60),
        async || {
            // At the very first there is nothing to tell.
            let Ok(told) = server.json("/api/v1/audit/sources").await else {
                return Ok(None);
            };
            let sources = told["sources"].as_array().context("sources")?;
            let known = |source: &Value| source["up"] == true && source["address_mode"] == mode;
            Ok((sources.len() == number && sources.iter().all(known)).then_some(()))
        },
    )
    .await;
    match known {
        Ok(()) => Ok(()),
        Err(error) => {
            let sources = server.json("/api/v1/audit/sources").await?;
            Err(error.context(format!("{sources:#}")))
        }
    }
}

pub(crate) async fn findings(server: &Server, query: &str) -> Result<Vec<Value>> {
    let mut told = server
        .json(&format!("/api/v1/audit/findings{query}"))
        .await?;
    serde_json::from_value(told["findings"].take()).context("a list of findings")
}

/// Waits for a finding of a rule in a state.
async fn finding(server: &Server, rule: &str, state: &str) -> Result<Value> {
    let query = format!("?rule={rule}&state={state}");
    let found = eventually(&format!("{state} finding of {rule}"), SOON, async || {
        Ok(findings(server, &query).await?.into_iter().next())
    })
    .await;
    match found {
        Ok(found) => Ok(found),
        Err(error) => {
            let sources = server.json("/api/v1/audit/sources").await?;
            let all = findings(server, "").await?;
            Err(error.context(format!("{sources:#} {all:#?}")))
        }
    }
}

/// A suspect at once, confirmed after the grace, in the metrics too.
async fn confirmed(server: &Server, rule: &str) -> Result<Value> {
    let begun = Instant::now();
    let suspect = finding(server, rule, "suspect").await?;
    let suspected = begun.elapsed();
    let found = finding(server, rule, "confirmed").await?;
    ensure!(found["id"] == suspect["id"], "{found:#}");
    ensure!(suspected < LATE, "suspect after {suspected:.1?}");
    ensure!(
        begun.elapsed() >= Duration::from_secs(GRACE - 1),
        "it was confirmed at once"
    );
    let (_, metrics) = server.get("/metrics").await?;
    let confidence = found["confidence"].as_str().context("a confidence")?;
    let series =
        format!("vso_audit_findings_total{{rule=\"{rule}\",confidence=\"{confidence}\"}} 1");
    ensure!(metrics.contains(&series), "no `{series}`: {metrics}");
    Ok(found)
}

async fn replayed_from_elsewhere(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "elsewhere").await?;
    let thief = scene.thief().await?;
    ensure!(
        thief.read("kvv2/data/team-a/db").await.is_err(),
        "it may read canaries alone"
    );
    let found = confirmed(&server, "address").await?;
    let request = &found["requests"][0];
    ensure!(
        request["address"] == ATTACKER.to_string() && request["path"] == "kvv2/data/team-a/db",
        "{found:#}"
    );
    ensure!(
        found["confidence"] == "high" && found["operator"]["present"] == true,
        "{found:#}"
    );
    finding(&server, "moved", "confirmed").await?;
    let (_, page) = server.get("/findings").await?;
    ensure!(page.contains("kvv2/data/team-a/db"), "{page}");
    end(server).await
}

async fn replayed_while_stopped(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "stopped").await?;
    let thief = scene.thief().await?;
    // From where the operator was, too.
    let thief = thief.from([127, 0, 0, 1].into())?;
    scene.lab().scale_operator_down().await?;
    // Its Lease runs out after 15 s.
    tokio::time::sleep(Duration::from_secs(15 + GRACE + 4)).await;
    ensure!(
        thief.read("kvv2/data/team-a/db").await.is_err(),
        "it may read canaries alone"
    );
    let found = confirmed(&server, "absent").await?;
    ensure!(
        found["operator"]["present"] == false && found["confidence"] == "high",
        "{found:#}"
    );
    scene.lab().start_operator().await?;
    end(server).await
}

async fn replayed_after_restart(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "restarted").await?;
    let thief = scene.thief().await?;
    let thief = thief.from([127, 0, 0, 1].into())?;
    scene.lab().scale_operator_down().await?;
    tokio::time::sleep(Duration::from_secs(GRACE + 2)).await;
    scene.lab().start_operator().await?;
    tokio::time::sleep(Duration::from_secs(GRACE + 2)).await;
    ensure!(
        thief.read("kvv2/data/team-a/db").await.is_err(),
        "it may read canaries alone"
    );
    let found = confirmed(&server, "revenant").await?;
    ensure!(
        found["operator"]["present"] == true && found["confidence"] == "high",
        "{found:#}"
    );
    end(server).await
}

async fn minted_by_kubectl(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "minted").await?;
    scene.impostor(ATTACKER).await?;
    let found = confirmed(&server, "address").await?;
    ensure!(found["requests"][0]["operation"] == "login", "{found:#}");
    end(server).await
}

/// No address tells it: the API server's log does.
async fn minted_beside_the_operator(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "beside").await?;
    tokio::time::sleep(FOLLOWS).await;
    scene.impostor([127, 0, 0, 1].into()).await?;
    let found = confirmed(&server, "unbacked").await?;
    ensure!(
        found["requests"][0]["operation"] == "login" && found["confidence"] == "high",
        "{found:#}"
    );
    let others = findings(&server, "?rule=address").await?;
    ensure!(others.is_empty(), "{others:#?}");
    end(server).await
}

/// The prober writes the decoy that is not there, and leaves one that is. Whoever looks at it is found, so Vault's log is asked.
async fn decoy_written(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let asked = |operation: &str| {
        let lines = scene.lab().vault_audit()?;
        let own = lines.iter().filter(|line| {
            line.kind == "response"
                && line.request.path == "kvv2/data/vso-prober/decoy"
                && line.request.operation == operation
        });
        anyhow::Ok(own.count())
    };
    let (created, read) = (asked("create")?, asked("read")?);
    let prober = with_decoy(scene, "written").await?;
    for start in 1..=2 {
        let server = serving(&prober).await?;
        eventually("look at the decoy", SOON, async || {
            let done = asked("create")? == created + 1 && asked("read")? == read + start;
            Ok(done.then_some(()))
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let found = findings(&server, "?rule=honey").await?;
        ensure!(found.is_empty(), "the prober is no intruder: {found:#?}");
        end(server).await?;
    }
    let written = vault.read("kvv2/data/vso-prober/decoy").await?;
    let (data, version) = (
        &written["data"]["data"],
        &written["data"]["metadata"]["version"],
    );
    let key = data["access_key_id"].as_str().unwrap_or_default();
    ensure!(
        key.starts_with("AKIA") && key.len() == 20 && *version == 1,
        "{written:#}"
    );
    vault
        .delete("kvv2/metadata/vso-prober/decoy")
        .await
        .map(drop)
}

/// Both drills are found, and what nobody judges is not.
async fn drilled(scene: &Scene) -> Result<()> {
    let prober = with_decoy(scene, "drilled").await?;
    let server = serving(&prober).await?;
    let url = |server: &Server| format!("http://{}", server.address());
    let drill = async |server: &Server, prober: &Prober, rule: &str, code: i32, words: &[&str]| {
        let url = url(server);
        let arguments = ["audit", "drill", "--rule", rule, "--url", &url];
        let outcome = prober.run(&arguments).await?.exits(code)?;
        let all = words.iter().all(|word| outcome.stdout.contains(word));
        ensure!(all, "not {words:?}: {outcome}");
        Ok(())
    };
    for _ in 0..2 {
        let words = [
            "without a token",
            "found after",
            "confirmed honey",
            "a decoy",
        ];
        drill(&server, &prober, "honey", 0, &words).await?;
    }
    let found = finding(&server, "honey", "confirmed").await?;
    ensure!(found["count"] == 2, "{found:#}");
    let last = "vso_audit_drill_last_success_timestamp_seconds";
    let since = async |server: &Server| {
        let now = Timestamp::now().as_duration().as_secs_f64();
        anyhow::Ok(
            now - server
                .metric(last)
                .await?
                .context("there is no such metric")?,
        )
    };
    ensure!(since(&server).await? < 30.0, "no drill is told");
    // A restart does not forget it, and nobody who was not found can say so.
    end(server).await?;
    let server = serving(&prober).await?;
    ensure!(since(&server).await? < 90.0, "the drill is forgotten");
    let claim = "/api/v1/audit/drills?finding=0123456789abcdef";
    let (status, _) = server.post(claim).await?;
    ensure!(status == 404, "{status}");
    let elsewhere = Relay::seen_from(scene.lab().vault().address(), ATTACKER).await?;
    let far = prober.clone().vault(&elsewhere.address());
    let words = ["gave the token back", "found after", "suspect address"];
    drill(&server, &far, "address", 0, &words).await?;
    // From the operator's own address nothing is found: that is what a drill is for.
    drill(&server, &prober, "address", 1, &["not found within 4 s"]).await?;
    end(server).await?;
    let vault = scene.lab().vault();
    vault
        .delete("kvv2/metadata/vso-prober/decoy")
        .await
        .map(drop)
}

async fn decoy_read(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    vault
        .write(
            "kvv2/data/vso-prober/decoy",
            json!({"data": {"key": "AKIA"}}),
        )
        .await?;
    let server = serving(&with_decoy(scene, "decoy").await?).await?;
    scene
        .thief()
        .await?
        .read("kvv2/data/vso-prober/decoy")
        .await?;
    let begun = Instant::now();
    let found = finding(&server, "honey", "confirmed").await?;
    ensure!(
        found["confidence"] == "high" && found["requests"][0]["granted"] == true,
        "{found:#}"
    );
    ensure!(begun.elapsed() < LATE, "after {:.1?}", begun.elapsed());
    vault.delete("kvv2/metadata/vso-prober/decoy").await?;
    end(server).await
}

/// Each finding is told by an event too, and none of them waits for that.
async fn found_while_kubernetes_hangs(scene: &Scene) -> Result<()> {
    let server = serving(&with_decoy(scene, "hanging").await?).await?;
    let intruder = scene.lab().vault().from(ATTACKER)?.with_token("nothing");
    scene.lab().pause(Part::ApiServer).await?;
    let found = async {
        for touched in [
            "kvv2/data/vso-prober/decoy",
            "kvv2/metadata/vso-prober/decoy",
        ] {
            ensure!(intruder.read(touched).await.is_err(), "nobody's token");
            let told = eventually("finding", Duration::from_secs(20), async || {
                let found = findings(&server, "?rule=honey&state=confirmed").await?;
                let paths = found.iter().map(|found| found["requests"].to_string());
                Ok(paths.into_iter().find(|paths| paths.contains(touched)))
            });
            told.await?;
        }
        Ok(())
    };
    let found = found.await;
    scene.lab().resume(Part::ApiServer).await?;
    found?;
    let vault = scene.lab().vault();
    vault.delete("kvv2/metadata/vso-prober/decoy").await?;
    end(server).await
}

async fn canary_listed(scene: &Scene) -> Result<()> {
    let server = at_work(scene, "listed").await?;
    let vault = scene.lab().vault().from(ATTACKER)?;
    vault.list("kvv2/metadata/vso-prober/default").await?;
    let found = finding(&server, "honey", "confirmed").await?;
    ensure!(
        found["confidence"] == "medium" && found["count"] == 1,
        "{found:#}"
    );
    end(server).await
}

/// A reload puts `audit` in force too, and what was found stays.
async fn reloaded(scene: &Scene) -> Result<()> {
    let bait = "kvv2/data/vso-prober/later";
    let vault = scene.lab().vault();
    vault.write(bait, json!({"data": {"key": "AKIA"}})).await?;
    let state = scene.path("state");
    let before = auditor(scene, [quick("reloaded")], &state).await?;
    let with = before.clone().edit(|config| {
        config["audit"]["decoys"] = json!([{"mount": "kvv2", "path": "vso-prober/later"}]);
    });
    let server = serving_with(&before, &["--web.enable-lifecycle"]).await?;
    let reload = async |prober: &Prober| {
        server.rewrite(&server.configuration(prober))?;
        server.post("/-/reload").await
    };
    let (status, told) = reload(&with).await?;
    ensure!(status.is_success(), "{status} {told}");
    knows(&server).await?;
    let thief = scene.thief().await?;
    thief.read(bait).await?;
    finding(&server, "honey", "confirmed").await?;

    let unusable = with.clone().edit(|config| {
        config["audit"]["state"] = "/dev/null/state".into();
    });
    let (status, told) = reload(&unusable).await?;
    ensure!(
        status.is_client_error() && told.contains("/dev/null/state, the `audit.state`"),
        "{status} {told}"
    );
    knows(&server).await?;
    thief.read(bait).await?;
    eventually("another request", SOON, async || {
        let found = findings(&server, "?rule=honey").await?;
        Ok((found.len() == 1 && found[0]["count"] == 2).then_some(()))
    })
    .await?;

    let none = before.edit(|config| config["audit"] = Value::Null);
    let (status, told) = reload(&none).await?;
    ensure!(status.is_success(), "{status} {told}");
    let (status, _) = server.get("/api/v1/audit/findings").await?;
    let (_, metrics) = server.get("/metrics").await?;
    ensure!(
        status == 404 && !metrics.contains("vso_audit_"),
        "{status} {metrics}"
    );
    let (status, told) = reload(&with).await?;
    ensure!(status.is_success(), "{status} {told}");
    knows(&server).await?;
    let found = findings(&server, "?rule=honey").await?;
    ensure!(found.len() == 1 && found[0]["count"] == 2, "{found:#?}");
    vault.delete(&bait.replace("/data/", "/metadata/")).await?;
    end(server).await
}

/// Neither a suspect nor a line is lost by SIGKILL, and no finding is told twice.
async fn killed(scene: &Scene) -> Result<()> {
    let state = scene.path("state");
    let prober = auditor(scene, [quick("killed")], &state).await?;
    let server = prober.serve(&[]).await?;
    knows(&server).await?;
    let thief = scene.thief().await?;
    ensure!(
        thief.read("kvv2/data/team-a/db").await.is_err(),
        "it may read canaries alone"
    );
    let suspect = finding(&server, "address", "suspect").await?;
    server.signal(rustix::process::Signal::KILL)?;
    server.ended().await?;
    ensure!(
        thief.read("kvv2/data/team-b/db").await.is_err(),
        "it may read canaries alone"
    );
    let server = serving(&prober).await?;
    let found = finding(&server, "address", "confirmed").await?;
    ensure!(found["id"] == suspect["id"], "{found:#}");
    let both = eventually("both requests", SOON, async || {
        let found = findings(&server, "?rule=address").await?;
        let counts = found.iter().filter_map(|one| one["count"].as_u64());
        Ok((counts.sum::<u64>() >= 2).then_some(found))
    })
    .await?;
    ensure!(both.len() == 1, "{both:#?}");
    end(server).await?;
    // The server that was killed left its canary.
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

async fn end(server: Server) -> Result<()> {
    server.stop().await.map(drop)
}
