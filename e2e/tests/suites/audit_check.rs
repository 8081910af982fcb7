//! Trials of `audit check` on the logs of a lab: a token that is stolen or forged is found, and honest work is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::OPERATOR_NAMESPACE;
use e2e::scenario::{ATTACKER, Outcome, Probe, Prober, Scene, Suite};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use vso_prober::model::Step;

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("audit_check")
        .trial("honest_work_is_not_found", honest)
        .trial("a_stolen_token_is_found", stolen)
        .trial("a_token_made_by_an_administrator_is_found", minted)
        .trial("a_canary_that_is_listed_or_read_is_found", canary)
        .trial("lines_that_say_nothing_are_told", unusable)
}

/// A part of Vault's log, from now on.
struct Part {
    from: u64,
}

impl Part {
    fn begin(scene: &Scene) -> Result<Self> {
        let from = fs::metadata(scene.lab().vault_audit_file())?.len();
        Ok(Self { from })
    }

    /// What was written since, as a file of its own.
    fn end(&self, scene: &Scene) -> Result<PathBuf> {
        let whole = fs::read(scene.lab().vault_audit_file())?;
        let path = scene.path("jsonl");
        fs::write(&path, &whole[usize::try_from(self.from)?..])?;
        Ok(path)
    }
}

fn prober(scene: &Scene, name: &str) -> Prober {
    let probe = Probe::kv2(name).target("refreshAfter", "5s");
    let steps = [Step::Create, Step::Update, Step::Tamper, Step::Delete];
    scene.prober([probe.steps(&steps)])
}

/// Where the operator was, as its Pod says.
async fn presence(scene: &Scene) -> Result<PathBuf> {
    let pods: Api<Pod> = Api::namespaced(scene.lab().client(), OPERATOR_NAMESPACE);
    let mut lines = String::new();
    for pod in pods.list(&ListParams::default()).await? {
        let address = pod.status.and_then(|status| status.pod_ip);
        let line = json!({
            "pod": pod.metadata.name, "address": address, "node_address": null,
            "from": pod.metadata.creation_timestamp, "to": null,
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    scene.file(&lines)
}

/// Judges a part of Vault's log, and all of the API server's.
async fn check(scene: &Scene, prober: &Prober, part: &Part) -> Result<(Outcome, Vec<Value>)> {
    let (log, presence) = (part.end(scene)?, presence(scene).await?);
    let events = scene.lab().kube_audit_file();
    let file = |path: &Path| path.display().to_string();
    let outcome = prober
        .run(&[
            "audit",
            "check",
            "-o",
            "json",
            "--presence",
            &file(&presence),
            &events.display().to_string(),
            &file(&log),
        ])
        .await?;
    let lines = outcome.stdout.lines();
    let lines: Result<Vec<Value>, _> = lines.map(serde_json::from_str).collect();
    let lines = lines.with_context(|| format!("{outcome}"))?;
    Ok((outcome, lines))
}

/// The findings of a rule.
fn of<'a>(lines: &'a [Value], rule: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["rule"] == rule).collect()
}

async fn honest(scene: &Scene) -> Result<()> {
    let part = Part::begin(scene)?;
    let prober = prober(scene, "honest");
    prober.probe(&[]).await?.exits(0)?;
    scene.lab().stop_operator().await?;
    scene.lab().start_operator().await?;
    prober.probe(&[]).await?.exits(0)?;
    let (outcome, lines) = check(scene, &prober, &part).await?;
    outcome.exits(0)?;
    let [summary] = &lines[..] else {
        anyhow::bail!("there are findings: {lines:#?}")
    };
    ensure!(summary["address_mode"] == "pod", "{summary:#}");
    ensure!(
        summary["identities"] == json!(["kubernetes/probe as vso-probe/probe"]),
        "{summary:#}"
    );
    let off = summary["off"].as_array().context("a list")?;
    let off: Vec<_> = off.iter().map(|off| &off["rule"]).collect();
    // The operator asked for a token too seldom to know from where it does.
    ensure!(off == ["revenant", "issuer", "books"], "{summary:#}");
    Ok(())
}

async fn stolen(scene: &Scene) -> Result<()> {
    let part = Part::begin(scene)?;
    let prober = prober(scene, "stolen");
    prober.probe(&[]).await?.exits(0)?;
    let thief = scene.thief().await?;
    let read = thief.read("kvv2/data/team-a/db").await;
    ensure!(read.is_err(), "the operator may read canaries alone");
    prober.probe(&[]).await?.exits(0)?;
    let (outcome, lines) = check(scene, &prober, &part).await?;
    let outcome = outcome.exits(1)?;
    for rule in ["address", "moved"] {
        let [found] = of(&lines, rule)[..] else {
            anyhow::bail!("not one finding of {rule}: {outcome}")
        };
        ensure!(
            found["confidence"] == "high" && found["state"] == "confirmed" && found["count"] == 1,
            "{found:#}"
        );
        let request = &found["requests"][0];
        ensure!(
            request["address"] == ATTACKER.to_string()
                && request["path"] == "kvv2/data/team-a/db"
                && request["granted"] == false,
            "{found:#}"
        );
    }
    ensure!(lines.len() == 3, "two findings and a summary: {outcome}");
    Ok(())
}

async fn minted(scene: &Scene) -> Result<()> {
    let part = Part::begin(scene)?;
    let prober = prober(scene, "minted");
    prober.probe(&[]).await?.exits(0)?;
    // What the operator asked for up to 30 s ago backs a login.
    tokio::time::sleep(Duration::from_secs(31)).await;
    scene.impostor(ATTACKER).await?;
    prober.probe(&[]).await?.exits(0)?;
    let (outcome, lines) = check(scene, &prober, &part).await?;
    let outcome = outcome.exits(1)?;
    let [found] = of(&lines, "unbacked")[..] else {
        anyhow::bail!("not one finding: {outcome}")
    };
    ensure!(
        found["confidence"] == "high"
            && found["requests"][0]["address"] == ATTACKER.to_string()
            && found["identity"]["service_account"] == "vso-probe/probe",
        "{found:#}"
    );
    ensure!(of(&lines, "address").len() == 1, "{outcome}");
    Ok(())
}

async fn canary(scene: &Scene) -> Result<()> {
    let part = Part::begin(scene)?;
    let prober = prober(scene, "listed");
    prober.probe(&[]).await?.exits(0)?;
    let vault = scene.lab().vault().from(ATTACKER)?;
    vault.list("kvv2/metadata/vso-prober/default").await?;
    let read = vault.read("kvv2/data/vso-prober/default/x").await;
    ensure!(read.is_err(), "there is no such canary");
    let (outcome, lines) = check(scene, &prober, &part).await?;
    let outcome = outcome.exits(1)?;
    let found = of(&lines, "honey");
    ensure!(found.len() == 1, "{outcome}");
    ensure!(
        found[0]["count"] == 2 && found[0]["confidence"] == "high",
        "the folder and a secret in it: {outcome}"
    );
    Ok(())
}

/// Exits with 3 where nothing can be said, and quotes nothing.
async fn unusable(scene: &Scene) -> Result<()> {
    let prober = prober(scene, "unusable");
    let xml = scene.file("<json:object name=\"auth\"></json:object>\n")?;
    let raw = r#"{"time":"2026-01-01T00:00:00Z","type":"request","request":{"id":"a","client_token":"hvs.CAESINBMPUdP"}}"#;
    let raw = scene.file(&format!("{raw}\n"))?;
    let none = scene.file("nothing at all\n")?;
    for (file, word) in [
        (&xml, "jsonx"),
        (&raw, "log_raw"),
        (&none, "no audit entry"),
    ] {
        let file = file.display().to_string();
        let outcome = prober.run(&["audit", "check", &file]).await?.exits(3)?;
        ensure!(outcome.stderr.contains(word), "{outcome}");
        let told = [&outcome.stdout[..], &outcome.stderr].concat();
        ensure!(!told.contains("CAESI"), "{outcome}");
    }
    prober
        .run(&["audit", "check", "/nowhere"])
        .await?
        .exits(3)?;
    prober.run(&["audit", "check"]).await?.exits(2).map(drop)
}
