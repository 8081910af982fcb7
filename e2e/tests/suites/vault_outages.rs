//! Trials of a sealed, silent and slow Vault, and of who is blamed for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse as _;
use e2e::lab::{NAMESPACE, Part};
use e2e::scenario::{Probe, Proxy, Relay, Scene, Suite, blames, decisive, eventually, step};
use serde_json::json;
use vso_prober::model::cause::{Cause, Party, Source};
use vso_prober::model::run::Run;
use vso_prober::model::{Step, Verdict};

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("vault_outages")
        .trial("sealed_from_the_start", sealed_from_the_start)
        .trial("sealed_in_mid_run", sealed_midway)
        .trial("sealed_then_unsealed", sealed_then_unsealed)
        .trial("gone_for_both_from_the_start", gone_from_the_start)
        .trial("gone_for_both_in_mid_run", gone_midway)
        .trial("slow_for_the_operator", slow_for_the_operator)
        .trial(
            "every_second_request_fails_for_the_operator",
            failing_for_the_operator,
        )
        .trial("every_second_request_fails_for_both", failing_for_both)
        .trial("slow_revocation_is_no_leak", slow_revocation)
}

async fn sealed_from_the_start(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    vault.seal().await?;
    let outcome = scene
        .prober([Probe::hasty("sealed", &[Step::Create])])
        .probe(&[])
        .await?;
    vault.unseal().await?;
    let run = outcome.exits(1)?.only_run()?;
    blames(&run, Step::Create, Cause::VaultSealed)?;
    scene.serves().await
}

/// A run whose step `tamper`, which needs nothing of Vault from the prober, starts four seconds at
/// least before the operator reads Vault again.
fn patient(name: &str) -> Probe {
    Probe::kv2(name)
        .target("refreshAfter", "5s")
        .steps(&[Step::Create, Step::Tamper])
        .limits("3s", "4s")
}

async fn sealed_midway(scene: &Scene) -> Result<()> {
    let prober = scene.prober([patient("sealed")]);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.secret("sealed").await?;
    scene.lab().vault().seal().await?;
    let outcome = running.ended().await?;
    scene.lab().vault().unseal().await?;
    let run = outcome.exits(1)?.only_run()?;
    blames(&run, Step::Tamper, Cause::VaultSealed)?;
    // What is in Vault can't be removed from a sealed one, which is said and not hidden.
    ensure!(
        run.leftovers.iter().any(|left| left.starts_with("Vault ")),
        "{run:#?}"
    );
    prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    scene.serves().await
}

/// One prober lives through the seal and the recovery.
async fn sealed_then_unsealed(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("recovers")
        .steps(&[Step::Create, Step::Delete])
        .limits("40s", "41s")
        .every("1h");
    let server = scene
        .prober([probe])
        .serve(&["--web.enable-lifecycle"])
        .await?;
    scene.lab().vault().seal().await?;
    let sealed = server.run_now("recovers").await;
    scene.lab().vault().unseal().await?;
    blames(&sealed?, Step::Create, Cause::VaultSealed)?;
    let unsealed = server.run_now("recovers").await?;
    ensure!(unsealed.result == Verdict::Success, "{unsealed:#?}");
    let failures = "vso_probe_failures_total{probe=\"recovers\",kind=\"static\",step=\"create\",cause=\"vault_sealed\",party=\"vault\"}";
    ensure!(
        server.metric(failures).await? == Some(1.0),
        "{}",
        server.get("/metrics").await?.1
    );
    server.stop().await.map(drop)
}

/// A VaultConnection of this address, and a VaultAuth of the same name that uses it.
async fn connect(scene: &Scene, name: &str, address: &str) -> Result<()> {
    scene
        .apply(json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection",
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"address": address},
        }))
        .await?;
    let spec = json!({"vaultConnectionRef": name});
    scene.vault_auth(NAMESPACE, name, spec).await
}

/// What the operator gets of Vault comes right, but too late. Its metrics alone tell that it is not its fault.
async fn slow_for_the_operator(scene: &Scene) -> Result<()> {
    let held: Arc<AtomicU64> = Arc::default();
    let seconds = held.clone();
    let hold = move || f64::from_bits(seconds.load(Ordering::Relaxed));
    let relay = Relay::slow(scene.lab().vault().address(), hold).await?;
    connect(scene, "slow", &relay.address()).await?;
    let probe = |name: &str| {
        Probe::kv2(name)
            .auth("slow")
            .steps(&[Step::Create])
            .limits("5s", "30s")
    };
    let url = scene.lab().metrics_url().await;
    let reading = scene
        .prober([probe("read")])
        .edit(|config| config["operator"]["metrics"] = json!({"url": url}));
    let unread = scene.prober([probe("unread")]).instance("unread");
    // The first of all makes the operator log in.
    reading.probe(&[]).await?.exits(0)?;
    held.store(10_f64.to_bits(), Ordering::Relaxed);
    let (read, unread) = tokio::join!(reading.probe(&[]), unread.probe(&[]));
    held.store(0, Ordering::Relaxed);
    let read = read?.exits(1)?.only_run()?;
    blames(&read, Step::Create, Cause::VaultUnreachable)?;
    let report = step(&read, Step::Create)?;
    ensure!(report.proven && report.latency_seconds >= 10.0, "{read:#?}");
    ensure!(report.evidence[0].source == Source::Metrics, "{read:#?}");
    let unread = unread?.exits(1)?.only_run()?;
    blames(&unread, Step::Create, Cause::TooSlow)
}

/// Insists that a run went well, or that Vault is to blame.
fn well_or_vault(run: &Run) -> Result<()> {
    let party = run.decisive().and_then(|report| report.party);
    ensure!(matches!(party, None | Some(Party::Vault)), "{run:#?}");
    Ok(())
}

/// The operator's client of Vault tries again, so that all comes, but later.
async fn failing_for_the_operator(scene: &Scene) -> Result<()> {
    let proxy = Proxy::failing(scene.lab().vault().address()).await?;
    connect(scene, "failing", &proxy.address()).await?;
    let url = scene.lab().metrics_url().await;
    let probe = |name: &str, within: &str| {
        Probe::kv2(name)
            .auth("failing")
            .steps(&[Step::Create, Step::Update, Step::Delete])
            .limits(within, "30s")
    };
    let outcome = scene
        .prober([probe("strict", "800ms"), probe("lenient", "25s")])
        .edit(|config| config["operator"]["metrics"] = json!({"url": url}))
        .probe(&["--parallel", "1"])
        .await?;
    ensure!(proxy.answered() > 0, "nothing failed: {outcome}");
    well_or_vault(&outcome.run_of("strict")?)?;
    let lenient = outcome.run_of("lenient")?;
    ensure!(lenient.result == Verdict::Success, "{lenient:#?}");
    Ok(())
}

/// The prober's own requests fail, too: it says what Vault answered, and blames nobody else.
async fn failing_for_both(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault().address();
    let proxy = Proxy::failing(vault).await?;
    connect(scene, "failing-both", &proxy.address()).await?;
    let probe = Probe::kv2("failing-both").auth("failing-both").steps(&[
        Step::Create,
        Step::Update,
        Step::Delete,
    ]);
    let prober = scene.prober([probe]);
    let hurt = prober.clone().vault(&proxy.address());
    let outcome = hurt.probe(&["--count", "4"]).await?;
    outcome.runs()?.iter().try_for_each(well_or_vault)?;

    // Whose turn it is to fail depends on who comes first there. Here it is the prober's second write.
    let written = AtomicU64::default();
    let second = Proxy::taught(vault, move |request| {
        let writes = request.method == Method::POST && request.uri.path().contains("/data/");
        let fails = writes && written.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let body = json!({"errors": ["every second write fails"]});
        fails.then(|| (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response())
    })
    .await?;
    let hurt = prober.clone().vault(&second.address());
    let run = hurt.probe(&[]).await?.exits(1)?.only_run()?;
    prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    blames(&run, Step::Update, Cause::VaultError)
}

async fn gone_from_the_start(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::Vault).await?;
    let outcome = scene
        .prober([Probe::hasty("gone", &[Step::Create])])
        .probe(&[])
        .await?;
    scene.lab().resume(Part::Vault).await?;
    let outcome = outcome.exits(3)?;
    ensure!(outcome.took < Duration::from_secs(30), "{outcome}");
    blames(
        &outcome.only_run()?,
        Step::Create,
        Cause::ProberVaultUnreachable,
    )
}

async fn gone_midway(scene: &Scene) -> Result<()> {
    let prober = scene.prober([patient("gone")]);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.secret("gone").await?;
    scene.lab().pause(Part::Vault).await?;
    let outcome = running.ended().await?;
    scene.lab().resume(Part::Vault).await?;
    let run = outcome.only_run()?;
    // The operator may or may not have had the time to say so itself; it is never its own fault.
    let cause = decisive(&run)?.cause;
    if cause == Some(Cause::VaultUnreachable) {
        blames(&run, Step::Tamper, Cause::VaultUnreachable)?;
    } else {
        blames(&run, Step::Tamper, Cause::ProberVaultUnreachable)?;
        outcome.exits(3)?;
    }
    prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    scene.serves().await
}

async fn slow_revocation(scene: &Scene) -> Result<()> {
    // Vault takes the operator's word that the lease is to end, and ends it when the database lets it.
    let role = json!({
        "db_name": "postgres", "default_ttl": "10m", "max_ttl": "1h",
        "creation_statements": ["CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}';"],
        "revocation_statements": ["SELECT pg_sleep(2);", "DROP ROLE \"{{name}}\";"],
    });
    let vault = scene.lab().vault();
    vault.write("database/roles/slowly", role).await?;
    let probe = Probe::database("slowly").target("path", "creds/slowly");
    let run = scene.prober([probe]).probe(&[]).await?.only_run()?;
    let leases = run.leases;
    ensure!((leases.issued, leases.leaked) == (1, 0), "{run:#?}");
    ensure!(run.result == Verdict::Success, "{run:#?}");
    let folder = "sys/leases/lookup/database/creds/slowly";
    eventually("end of the lease", Duration::from_secs(10), async || {
        Ok(vault.list(folder).await?.is_empty().then_some(()))
    })
    .await
}
