//! The output of `doctor` with names that try to inject commands.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Outcome, Probe, Prober, Scene, eventually};
use serde_json::{Value, json};
use vso_prober::model::Step;

/// The namespace of a team that has no good in mind.
const TEAM: &str = "team-a";

/// A namespace that is another's.
async fn team(scene: &Scene) -> Result<()> {
    scene
        .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}))
        .await
}

/// A prober that may look at everything, of a probe for each VaultAuth.
fn prober(scene: &Scene, auths: &[&str]) -> Prober {
    let probe = |(place, auth): (usize, &&str)| {
        let probe = Probe::kv2(&format!("kv{place}"));
        probe.auth(auth).steps(&[Step::Create, Step::Delete])
    };
    let prober = scene.prober(auths.iter().enumerate().map(probe));
    prober.kubeconfig(scene.lab().kubeconfig())
}

fn checks(outcome: &Outcome) -> Result<Vec<Value>> {
    serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())
}

/// Whether a text holds what steers a terminal or turns what is read.
fn steers(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// Names with a shell's or YAML's own words in them: every fix, run as it is, does nothing of theirs, and nothing
/// that is printed steers a terminal.
pub(super) async fn injections(scene: &Scene) -> Result<()> {
    team(scene).await?;
    let file = scene.path("pwned");
    let pwned = file.display();
    let quote = format!("x';touch {pwned};echo '");
    let blank = format!("x;touch${{IFS}}{pwned};echo");
    let escapes = "\u{1b}]0;OWNED\u{7}\u{1b}[2J\u{202e}x";
    let auths = [
        (TEAM, "quote", json!({"allowedNamespaces": [quote]})),
        (
            NAMESPACE,
            "blank",
            json!({"kubernetes": {"serviceAccount": blank}}),
        ),
        (
            TEAM,
            "labels",
            json!({"allowedNamespaces": ["*"], "vaultConnectionRef": "team-a/x,labels:{a:b},annotations:{c:d"}),
        ),
        (
            NAMESPACE,
            "escapes",
            json!({"kubernetes": {"serviceAccount": escapes}}),
        ),
        (
            NAMESPACE,
            "traversal",
            json!({"vaultConnectionRef": "../../secrets"}),
        ),
    ];
    for (namespace, name, spec) in &auths {
        scene.vault_auth(namespace, name, spec.clone()).await?;
    }
    let names: Vec<_> = auths
        .iter()
        .map(|(namespace, name, _)| format!("{namespace}/{name}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let prober = prober(scene, &names);
    let outcome = prober.run(&["doctor", "-o", "json"]).await?.exits(1)?;
    let checks = checks(&outcome)?;
    let mut fixes = 0;
    for check in &checks {
        for key in ["subject", "text", "fix"] {
            ensure!(!steers(check[key].as_str().unwrap_or_default()), "{check}");
        }
        if check["result"] == "finding" {
            let fix = check["fix"].as_str().context("a finding has a fix")?;
            // It may fail, as words do for a shell; what it does is what matters.
            let _ = scene.shell(fix).await;
            fixes += 1;
        }
    }
    ensure!(fixes >= auths.len(), "{outcome}");
    ensure!(!file.exists(), "somebody's command was run: {outcome}");
    let made = scene
        .shell(&format!("kubectl get vaultconnections -n {TEAM} -o json"))
        .await?;
    let made: Value = serde_json::from_str(&made)?;
    let labelled = made["items"].as_array().context("a list")?.iter();
    let mut labelled = labelled.filter(|one| one["metadata"]["labels"].is_object());
    ensure!(labelled.next().is_none(), "{made}");
    let table = prober.run(&["doctor"]).await?;
    ensure!(table.stdout.contains("OWNED"), "{table}");
    ensure!(!steers(&table.stdout), "{:?}", table.stdout);
    let gone = format!("kubectl delete vaultauth -n {NAMESPACE} blank escapes traversal");
    scene.shell(&gone).await.map(drop)
}

/// A Vault that another's VaultConnection names is never proposed: whoever keeps it would get the prober's login.
pub(super) async fn foreign_vault(scene: &Scene) -> Result<()> {
    team(scene).await?;
    let address = scene.lab().vault().address();
    let connection = json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection",
        "metadata": {"name": "theirs", "namespace": TEAM}, "spec": {"address": address},
    });
    scene.apply(connection).await?;
    let spec = json!({"vaultConnectionRef": "theirs", "allowedNamespaces": ["*"]});
    scene.vault_auth(TEAM, "theirs", spec).await?;
    let prober = prober(scene, &["team-a/theirs"])
        .edit(|config| config["vault"]["address"] = "http://127.0.0.1:9".into());
    let checks = eventually(
        "word of the operator",
        Duration::from_secs(60),
        async || {
            let outcome = prober.run(&["doctor", "-o", "json"]).await?.exits(1)?;
            let checks = checks(&outcome)?;
            let valid = |check: &Value| {
                check["check"] == "vault-connection"
                    && check["subject"] == "team-a/theirs"
                    && check["result"] == "good"
            };
            Ok(checks.iter().any(valid).then_some(checks))
        },
    )
    .await?;
    let missed = checks.iter().find(|check| check["check"] == "vault-tcp");
    let missed = missed.context("Vault is unreachable")?;
    let fix = missed["fix"].as_str().context("with a fix")?;
    ensure!(
        missed["result"] == "finding" && !fix.contains(address),
        "{missed}"
    );
    Ok(())
}
