//! Vault sealed, silent and slow, and who is at fault for what the canary then misses.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::lab::Part;
use e2e::scenario::{Probe, Scene, Suite, blames, decisive, eventually};
use serde_json::json;
use vso_prober::model::cause::Cause;
use vso_prober::model::{Step, Verdict};

fn main() -> ExitCode {
    Suite::new("vault_outages")
        .trial("sealed_from_the_start", sealed_from_the_start)
        .trial("sealed_in_mid_run", sealed_midway)
        .trial("gone_for_both_from_the_start", gone_from_the_start)
        .trial("gone_for_both_in_mid_run", gone_midway)
        .trial("slow_revocation_is_no_leak", slow_revocation)
        .run()
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
