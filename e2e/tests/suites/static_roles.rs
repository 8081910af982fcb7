//! Static roles: one credential without a lease, which Vault replaces on its own schedule.

use anyhow::{Context as _, Result, ensure};
use e2e::lab::{PROBER, Vault};
use e2e::scenario::{Probe, Prober, Scene, Suite, blames, decisive, step};
use serde_json::json;
use tokio_postgres::NoTls;
use vso_prober::model::cause::Cause;
use vso_prober::model::run::Run;
use vso_prober::model::{Step, Verdict};

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("static_roles")
        .trial("one_is_synced_and_follows_its_rotation", journey)
        .trial("with_the_rights_that_are_printed_and_no_less", rights)
        .trial("one_that_vault_replaces_after_the_wait", not_rotated)
        .trial("what_can_not_be_judged_is_refused", refused)
        .fault("the_one_before_stays_in_the_secret", stale)
        .fault("another_than_vaults_is_in_the_secret", wrong)
}

const STEPS: [Step; 3] = [Step::Create, Step::Rotate, Step::Delete];

/// A probe of a static role of its own, whose credential is replaced that often, in seconds; operator and prober may read it.
pub(crate) async fn role(scene: &Scene, name: &str, period: u32) -> Result<Probe> {
    let postgres = scene.lab().postgres();
    let (host, port) = (postgres.ip(), postgres.port());
    let server = format!("host={host} port={port} user=postgres dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&server, NoTls).await?;
    let connection = tokio::spawn(connection);
    client
        .batch_execute(&format!("CREATE ROLE \"{name}\" WITH LOGIN"))
        .await?;
    drop(client);
    connection.await??;
    let vault = scene.lab().vault();
    let role = json!({"db_name": "postgres", "username": name, "rotation_period": period});
    vault
        .write(&format!("database/static-roles/{name}"), role)
        .await?;
    for policy in ["vso", PROBER] {
        grant(
            vault,
            policy,
            "path \"database/static-creds/*\" { capabilities = [\"read\"] }",
        )
        .await?;
    }
    let verify = json!({"postgres": {
        "host": host.to_string(), "port": port, "database": "postgres", "sslMode": "disable",
    }});
    Ok(Probe::database(name)
        .target("path", format!("static-creds/{name}"))
        .target("allowStaticCreds", true)
        .target("revoke", serde_json::Value::Null)
        .target("maxTtl", "1m")
        .target("verify", verify)
        .steps(&STEPS))
}

/// Adds a line to a policy, unless it is there.
async fn grant(vault: &Vault, name: &str, line: &str) -> Result<()> {
    let path = format!("sys/policies/acl/{name}");
    let read = vault.read(&path).await?;
    let policy = read["data"]["policy"].as_str().context("no policy")?;
    if !policy.contains(line) {
        let both = format!("{policy}\n{line}");
        vault.write(&path, json!({"policy": both})).await?;
    }
    Ok(())
}

async fn run(prober: &Prober, exit: i32) -> Result<Run> {
    prober.probe(&[]).await?.exits(exit)?.only_run()
}

async fn journey(scene: &Scene) -> Result<()> {
    let probe = role(scene, "lasting-role", 8).await?;
    let run = run(&scene.prober([probe]), 0).await?;
    let leases = run.leases;
    ensure!(
        (leases.issued, leases.revoked, leases.leaked) == (0, 0, 0),
        "{run:#?}"
    );
    ensure!(run.secret_writes == 2, "{run:#?}");
    let rotate = step(&run, Step::Rotate)?;
    ensure!(rotate.result == Verdict::Success, "{run:#?}");
    ensure!(
        rotate.due_seconds.is_some_and(|due| due > 5.0) && rotate.lateness_seconds == Some(0.0),
        "{run:#?}"
    );
    ensure!(
        rotate.margin_seconds.is_none() && rotate.dead_seconds == Some(0.0),
        "{run:#?}"
    );
    Ok(())
}

/// What is printed for it is all that the prober has, and without the one right of it the run and `doctor` say so.
async fn rights(scene: &Scene) -> Result<()> {
    let probe = role(scene, "narrow-role", 3600).await?;
    let prober = scene.prober([probe.steps(&[Step::Create, Step::Delete])]);
    let printed = prober.run(&["doctor", "--print-policy"]).await?.exits(0)?;
    ensure!(!printed.stdout.contains("sys/leases"), "{printed}");
    let path = "path \"database/static-creds/narrow-role\"";
    ensure!(printed.stdout.contains(path), "{printed}");
    let vault = scene.lab().vault();
    let policy = format!("sys/policies/acl/{PROBER}");
    let before = vault.read(&policy).await?["data"]["policy"].clone();
    let own = printed.stdout.as_str();
    vault.write(&policy, json!({"policy": own})).await?;
    let good = run(&prober, 0).await;
    let well = prober.run(&["doctor"]).await;
    let less = own.replace(path, "path \"database/static-creds/other\"");
    vault.write(&policy, json!({"policy": less})).await?;
    let denied = run(&prober, 3).await;
    let told = prober.run(&["doctor"]).await;
    vault.write(&policy, json!({"policy": before})).await?;
    good?;
    well?.exits(0)?;
    let denied = denied?;
    blames(&denied, Step::Create, Cause::ProberVaultDenied)?;
    ensure!(
        decisive(&denied)?.evidence[0]
            .text
            .contains("database/static-creds/narrow-role"),
        "{denied:#?}"
    );
    let told = told?.exits(1)?;
    ensure!(
        told.stdout.contains("database/static-creds/narrow-role"),
        "{told}"
    );
    Ok(())
}

async fn not_rotated(scene: &Scene) -> Result<()> {
    let probe = role(scene, "slow-role", 3600).await?;
    let probe = probe.target("maxTtl", "2s").limits("3s", "4s");
    let run = run(&scene.prober([probe]), 1).await?;
    blames(&run, Step::Rotate, Cause::ProbeUnfit)?;
    let text = &decisive(&run)?.evidence[0].text;
    ensure!(
        text.contains("maxTtl") && text.contains("rotation_period"),
        "{run:#?}"
    );
    Ok(())
}

async fn refused(scene: &Scene) -> Result<()> {
    let check = async |probe: Probe| scene.prober([probe]).run(&["config", "check"]).await;
    let probe = || Probe::database("fixed").target("path", "static-creds/app");
    let outcome = check(probe()).await?.exits(2)?;
    outcome.says(&["static-creds/app", "no lease", "allowStaticCreds: true"])?;
    let role = || probe().target("allowStaticCreds", true);
    check(role()).await?.exits(0)?;
    let outcome = check(role().target("path", "creds/app")).await?.exits(2)?;
    outcome.says(&["static-creds/NAME", "issue a credential"])?;
    let outcome = check(role().steps(&[Step::Create, Step::Renew]))
        .await?
        .exits(2)?;
    outcome.says(&["create, rotate, delete"])?;
    let useless = role()
        .target("params", json!({"a": "b"}))
        .target("renewalPercent", 50);
    let outcome = check(useless).await?.exits(2)?;
    outcome
        .says(&["dynamic.params", "dynamic.renewalPercent"])
        .map(drop)
}

async fn stale(scene: &Scene) -> Result<()> {
    let probe = role(scene, "stale-role", 6).await?;
    let prober = scene.prober([probe.limits("3s", "4s")]);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.secret("stale-role").await?;
    scene.lab().faults(&json!({"content": "old"})).await?;
    let run = running.ended().await?.exits(1)?.only_run()?;
    blames(&run, Step::Rotate, Cause::StaleContent)
}

async fn wrong(scene: &Scene) -> Result<()> {
    let probe = role(scene, "wrong-role", 3600).await?;
    scene.lab().faults(&json!({"content": "wrong"})).await?;
    let run = run(&scene.prober([probe.limits("3s", "4s")]), 1).await?;
    blames(&run, Step::Create, Cause::WrongContent)
}
