//! Leases that are prolonged and credentials that are replaced: in time, late, too often, and dead before their time.

use anyhow::{Context, Result, ensure};
use e2e::scenario::{Probe, Scene, Suite, blames, decisive, step};
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use vso_prober::model::cause::Cause;
use vso_prober::model::run::{Run, StepReport};
use vso_prober::model::{Kind, Step, Verdict};

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("rotation")
        .trial("a_lease_is_prolonged_then_replaced", prolonged)
        .trial("a_credential_is_replaced_before_it_dies", replaced)
        .trial("a_role_that_grants_no_renewal_is_no_fault", no_renewal)
        .trial("a_lease_that_outlives_the_wait_is_no_fault", outlives)
        .trial("a_credential_dropped_behind_everyones_back", dropped)
        .trial("a_database_out_of_reach_is_no_fault", unreachable)
        .trial("a_minimal_resource_is_issued_two", minimal)
        .trial("a_canonical_resource_is_issued_one", canonical)
        .fault("a_credential_is_replaced_late", late)
        .fault("a_credential_is_replaced_every_second", credential_churn)
        .fault("a_secret_is_rewritten_every_second", churn)
}

/// A probe of a role of its own, whose leases live as long as this.
async fn role(scene: &Scene, name: &str, default_ttl: &str, max_ttl: &str) -> Result<Probe> {
    let vault = scene.lab().vault();
    vault.database_role(name, default_ttl, max_ttl).await?;
    Ok(Probe::database(name)
        .target("path", format!("creds/{name}"))
        .target("maxTtl", "2m"))
}

/// The same, which logs in with what stands in the Secret.
fn verified(scene: &Scene, probe: Probe) -> Probe {
    let postgres = scene.lab().postgres();
    let server = json!({
        "host": postgres.ip().to_string(), "port": postgres.port(), "database": "postgres", "sslMode": "disable",
    });
    probe.target("verify", json!({"postgres": server}))
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3} s"))
}

#[expect(clippy::print_stderr, reason = "a word to whoever runs the tests")]
fn print(run: &Run) {
    for report in &run.steps {
        eprintln!(
            "{} {}: {} after {:.3} s, due {}, late by {}, margin {}, dead {}; leases {:?}, writes {}",
            run.probe,
            report.step,
            report.cause.map_or("success", Cause::as_str),
            report.latency_seconds,
            figure(report.due_seconds),
            figure(report.lateness_seconds),
            figure(report.margin_seconds),
            figure(report.dead_seconds),
            run.leases,
            run.secret_writes,
        );
    }
}

async fn run(scene: &Scene, probe: Probe, exit: i32) -> Result<Run> {
    let outcome = scene.prober([probe]).probe(&[]).await?;
    if let Ok(run) = outcome.only_run() {
        print(&run);
    }
    outcome.exits(exit)?.only_run()
}

/// Insists that a poll-driven step was judged by its lateness, which is little.
fn in_time(report: &StepReport) -> Result<()> {
    ensure!(report.result == Verdict::Success, "{report:#?}");
    ensure!(
        report
            .lateness_seconds
            .is_some_and(|late| (0.0..2.0).contains(&late)),
        "{report:#?}"
    );
    Ok(())
}

async fn prolonged(scene: &Scene) -> Result<()> {
    let steps = [Step::Create, Step::Renew, Step::Rotate, Step::Delete];
    let probe = role(scene, "leasing", "6s", "14s").await?.steps(&steps);
    let run = run(scene, verified(scene, probe), 0).await?;
    in_time(step(&run, Step::Renew)?)?;
    let rotate = step(&run, Step::Rotate)?;
    in_time(rotate)?;
    ensure!(
        rotate.margin_seconds.is_some_and(|margin| margin > 0.0),
        "{run:#?}"
    );
    ensure!(rotate.dead_seconds == Some(0.0), "{run:#?}");
    let leases = run.leases;
    ensure!(
        (leases.issued, leases.revoked, leases.leaked) == (2, 2, 0),
        "{run:#?}"
    );
    Ok(())
}

async fn replaced(scene: &Scene) -> Result<()> {
    let steps = [Step::Create, Step::Rotate, Step::Delete];
    let probe = role(scene, "brief", "20s", "20s").await?.steps(&steps);
    let run = run(scene, verified(scene, probe), 0).await?;
    let rotate = step(&run, Step::Rotate)?;
    in_time(rotate)?;
    // Between 67 and 77 % of 20 s the operator comes back. It asks for more time first, and Vault, which counts in
    // whole seconds from whole seconds, grants up to one more or less than was left.
    ensure!(
        rotate
            .margin_seconds
            .is_some_and(|margin| (3.0..8.0).contains(&margin)),
        "{run:#?}"
    );
    ensure!(rotate.dead_seconds == Some(0.0), "{run:#?}");
    ensure!(
        step(&run, Step::Create)?.dead_seconds == Some(0.0),
        "{run:#?}"
    );
    Ok(())
}

async fn no_renewal(scene: &Scene) -> Result<()> {
    let probe = role(scene, "stubborn", "5s", "5s").await?;
    let run = run(scene, probe.steps(&[Step::Create, Step::Renew]), 1).await?;
    blames(&run, Step::Renew, Cause::ProbeUnfit)?;
    let text = &decisive(&run)?.evidence[0].text;
    ensure!(text.contains("max_ttl"), "{run:#?}");
    Ok(())
}

/// The operator prolongs the lease for longer than the probe says that it may live.
async fn outlives(scene: &Scene) -> Result<()> {
    let probe = role(scene, "lasting", "5s", "1h").await?;
    let probe = probe
        .target("maxTtl", "8s")
        .steps(&[Step::Create, Step::Rotate]);
    let run = run(scene, probe, 1).await?;
    blames(&run, Step::Rotate, Cause::ProbeUnfit)?;
    let text = &decisive(&run)?.evidence[0].text;
    ensure!(text.contains("maxTtl"), "{run:#?}");
    Ok(())
}

async fn dropped(scene: &Scene) -> Result<()> {
    let probe = role(scene, "dropped", "8s", "8s").await?;
    let probe = verified(scene, probe.steps(&[Step::Create, Step::Rotate]));
    let prober = scene.prober([probe]);
    let running = prober.start(&["probe", "-o", "json"])?;
    let secret = scene.secret("dropped").await?;
    let user = secret.data.unwrap_or_default().remove("username");
    let user = String::from_utf8(user.context("no username")?.0)?;
    let server = format!("{} user=postgres dbname=postgres", address(scene));
    let (client, connection) = tokio_postgres::connect(&server, NoTls).await?;
    let connection = tokio::spawn(connection);
    client
        .batch_execute(&format!("DROP ROLE \"{user}\""))
        .await?;
    drop(client);
    connection.await??;
    let run = running.ended().await?.exits(1)?.only_run()?;
    print(&run);
    let decisive = decisive(&run)?;
    ensure!(decisive.cause == Some(Cause::LeaseLost), "{run:#?}");
    // The second is of a role that went in the middle of a login.
    let gone = ["28P01", "28000"];
    let told = |report: &StepReport| {
        report
            .evidence
            .iter()
            .any(|piece| gone.iter().any(|code| piece.text.contains(code)))
    };
    ensure!(told(decisive), "{run:#?}");
    ensure!(!format!("{run:?}").contains(&user), "the user is told");
    Ok(())
}

fn address(scene: &Scene) -> String {
    let postgres = scene.lab().postgres();
    format!("host={} port={}", postgres.ip(), postgres.port())
}

async fn unreachable(scene: &Scene) -> Result<()> {
    let server =
        json!({"host": "127.0.0.1", "port": 1, "database": "postgres", "sslMode": "disable"});
    let probe = Probe::database("nowhere").target("verify", json!({"postgres": server}));
    let run = run(scene, probe, 3).await?;
    blames(&run, Step::Create, Cause::ProberPostgresUnreachable)?;
    let text = &decisive(&run)?.evidence[0].text;
    ensure!(text.contains("PostgreSQL at 127.0.0.1:1"), "{run:#?}");
    Ok(())
}

async fn late(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"rotateLate": "2s"})).await?;
    let probe = role(scene, "late", "6s", "6s").await?;
    let probe = verified(
        scene,
        probe.steps(&[Step::Create, Step::Rotate, Step::Delete]),
    );
    let run = run(scene, probe, 1).await?;
    blames(&run, Step::Rotate, Cause::RotatedLate)?;
    let rotate = step(&run, Step::Rotate)?;
    ensure!(
        rotate
            .margin_seconds
            .is_some_and(|margin| (-4.0..-1.5).contains(&margin)),
        "{run:#?}"
    );
    ensure!(rotate.evidence[0].text.contains("margin -"), "{run:#?}");
    // Vault ends it within a moment, and the logins tell: at worst only the first and the last of its life do.
    ensure!(
        rotate
            .dead_seconds
            .is_some_and(|dead| (0.5..6.0).contains(&dead)),
        "{run:#?}"
    );
    Ok(())
}

/// How often an issue was asked for, and the generation that the resource came to.
async fn issued(scene: &Scene, probe: Probe, exit: i32) -> Result<(Run, Option<i64>)> {
    let recording = scene.record().await?;
    let run = run(scene, probe, exit).await?;
    let name = run.canary.name.as_str();
    let generation = recording.generation(name);
    Ok((run, generation))
}

async fn minimal(scene: &Scene) -> Result<()> {
    let (run, generation) = issued(scene, Probe::database("minimal-lease").minimal(), 1).await?;
    blames(&run, Step::Delete, Cause::LeaseLeaked)?;
    let leases = run.leases;
    ensure!(
        (leases.issued, leases.revoked, leases.leaked) == (2, 1, 1),
        "{run:#?}"
    );
    ensure!(generation == Some(2), "generation {generation:?}");
    // The first one, which the second had replaced, is named, and gone.
    ensure!(
        decisive(&run)?.evidence[0]
            .text
            .contains("the prober revoked it"),
        "{run:#?}"
    );
    ensure!(canaries(scene).await?.is_empty(), "a canary is left");
    Ok(())
}

async fn canonical(scene: &Scene) -> Result<()> {
    let (run, generation) = issued(scene, Probe::database("canonical-lease"), 0).await?;
    let leases = run.leases;
    ensure!(
        (leases.issued, leases.revoked, leases.leaked) == (1, 1, 0),
        "{run:#?}"
    );
    ensure!(
        generation == Some(1) && run.secret_writes == 1,
        "generation {generation:?}: {run:#?}"
    );
    Ok(())
}

async fn canaries(scene: &Scene) -> Result<Vec<Value>> {
    let list = scene
        .resources(Kind::Dynamic)
        .list(&ListParams::default())
        .await?;
    Ok(list.into_iter().map(|object| object.data).collect())
}

async fn credential_churn(scene: &Scene) -> Result<()> {
    let probe = role(scene, "restless", "30s", "30s").await?;
    let probe = probe.steps(&[Step::Create, Step::Rotate, Step::Delete]);
    scene.lab().faults(&json!({"rewriteEvery": "1s"})).await?;
    let run = run(scene, probe, 1).await?;
    blames(&run, Step::Rotate, Cause::Churn)
}

async fn churn(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"rewriteEvery": "1s"})).await?;
    let steps = [Step::Create, Step::Update, Step::Tamper, Step::Recreate];
    let probe = Probe::kv2("rewritten")
        .target("refreshAfter", "30s")
        .steps(&steps);
    let run = run(scene, probe, 1).await?;
    ensure!(decisive(&run)?.cause == Some(Cause::Churn), "{run:#?}");
    let text = &decisive(&run)?.evidence[0].text;
    ensure!(text.contains("but its schedule explains only"), "{run:#?}");
    Ok(())
}
