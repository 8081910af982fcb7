//! Trials of runs that succeed, and leave nothing behind.

use anyhow::{Context, Result, ensure};
use e2e::lab::VaultLine;
use e2e::scenario::{Outcome, Probe, Scene, Suite, decisive, step};
use quick_junit::{Report, TestCaseStatus};
use serde_json::{Value, json};
use vso_prober::model::cause::{Cause, Party};
use vso_prober::model::run::{Run, SCHEMA};
use vso_prober::model::{Kind, Step, Verdict};

const WALK: [Step; 5] = [
    Step::Create,
    Step::Update,
    Step::Tamper,
    Step::Recreate,
    Step::Delete,
];

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("journeys")
        .trial("static_kv2_takes_every_step", async |scene| {
            static_walk(scene, Probe::kv2("kv2")).await
        })
        .trial("static_kv1_takes_every_step", async |scene| {
            static_walk(scene, Probe::kv1("kv1")).await
        })
        .trial("canonical_static_is_read_once", canonical_static)
        .trial("canonical_dynamic_gets_one_lease", canonical_dynamic)
        .trial("minimal_dynamic_leaks_one_lease", minimal_dynamic)
        .trial("login_by_token_from_env", login_by_env)
        .trial("login_by_token_from_file", login_by_file)
        .trial("login_by_kubernetes", login_by_kubernetes)
        .trial("login_by_approle", login_by_approle)
        .trial("login_by_jwt", login_by_jwt)
        .trial("a_short_token_is_renewed", renewal)
        .trial("a_token_at_its_maximum_is_replaced", replacement)
        .trial("outputs_agree", outputs)
        .trial("runs_in_parallel_overlap", parallel)
        .trial("exit_codes", exit_codes)
}

/// Insists on a run that went well throughout, and whose numbers hang together.
fn went_well(run: &Run, steps: &[Step]) -> Result<()> {
    ensure!(run.result == Verdict::Success, "no success: {run:#?}");
    let taken: Vec<_> = run.steps.iter().map(|report| report.step).collect();
    ensure!(taken == steps, "expected {steps:?}, not {taken:?}");
    ensure!(run.schema == SCHEMA && run.leftovers.is_empty(), "{run:#?}");
    ensure!(
        run.canary
            .name
            .ends_with(&format!("vsop-{}-{}", run.probe, run.run)),
        "{run:#?}"
    );
    let mut from = run.started;
    for report in &run.steps {
        ensure!(
            report.good && report.cause.is_none() && report.evidence.is_empty(),
            "{report:#?}"
        );
        ensure!(
            report.started >= from && report.started <= run.finished,
            "out of order: {run:#?}"
        );
        from = report.started;
        let sum: f64 = report.stages.values().sum();
        ensure!(
            (sum - report.latency_seconds).abs() < 1e-6,
            "stages do not add up: {report:#?}"
        );
        ensure!(report.latency_seconds > 0.0, "{report:#?}");
        ensure!(
            report.due_seconds.is_some() == report.step.poll_driven(),
            "{report:#?}"
        );
        ensure!(
            report.lateness_seconds.is_some() == report.step.poll_driven(),
            "{report:#?}"
        );
        ensure!(
            report.lateness_seconds.is_none_or(|late| late >= 0.0),
            "{report:#?}"
        );
    }
    Ok(())
}

async fn static_walk(scene: &Scene, probe: Probe) -> Result<()> {
    let recording = scene.record().await?;
    let outcome = scene.prober([probe]).probe(&[]).await?.exits(0)?;
    let run = outcome.only_run()?;
    went_well(&run, &WALK)?;
    ensure!(
        run.kind == Kind::Static && run.leases.issued == 0,
        "{run:#?}"
    );
    // Created, updated, put right, put back; the prober's own edit is not the operator's.
    ensure!(run.secret_writes == 4, "{run:#?}");
    // The operator polls every 1.6 to 1.8 s: an update waits for that, a creation for nothing.
    let latency = |step_of| Ok::<_, anyhow::Error>(step(&run, step_of)?.latency_seconds);
    ensure!(
        latency(Step::Tamper)?
            <= 2.0
                + step(&run, Step::Tamper)?
                    .lateness_seconds
                    .unwrap_or_default(),
        "{run:#?}"
    );
    // Each nonce reached the Secret: of create, update and tamper.
    ensure!(
        recording.values("nonce").len() == 3,
        "{:?}",
        recording.values("nonce").len()
    );
    ensure!(
        recording.generation(name(&run)) == Some(1),
        "the generation was bumped: {run:#?}"
    );
    Ok(())
}

fn name(run: &Run) -> &str {
    run.canary.name.as_str()
}

/// What the operator read at this path of Vault.
fn reads(scene: &Scene, path: &str) -> Result<usize> {
    let read = |line: &VaultLine| {
        line.kind == "response"
            && line.request.operation == "read"
            && line.request.path == path
            && line.auth.display_name == "kubernetes-vso-probe-probe"
    };
    Ok(scene.lab().vault_audit()?.into_iter().filter(read).count())
}

async fn canonical_static(scene: &Scene) -> Result<()> {
    let recording = scene.record().await?;
    let slow = |name| {
        Probe::kv2(name)
            .target("refreshAfter", "5m")
            .steps(&[Step::Create, Step::Delete])
    };
    let outcome = scene
        .prober([slow("canonical"), slow("minimal").minimal()])
        .probe(&[])
        .await?
        .exits(0)?;
    let folder = scene.kv_folder("default").await?;
    for (probe, times) in [("canonical", 1), ("minimal", 2)] {
        let run = outcome.run_of(probe)?;
        went_well(&run, &[Step::Create, Step::Delete])?;
        let generation = recording.generation(name(&run));
        ensure!(
            generation == Some(times),
            "{probe}: generation {generation:?}, not {times}"
        );
        let read = reads(scene, &format!("kvv2/data/{folder}/{}", name(&run)))?;
        ensure!(
            i64::try_from(read)? == times,
            "{probe}: read {read} times, not {times}"
        );
    }
    Ok(())
}

async fn canonical_dynamic(scene: &Scene) -> Result<()> {
    let recording = scene.record().await?;
    let before = reads(scene, "database/creds/probe")?;
    let outcome = scene
        .prober([Probe::database("canonical")])
        .probe(&["--count", "2"])
        .await?
        .exits(0)?;
    for run in outcome.runs()? {
        went_well(&run, &[Step::Create, Step::Delete])?;
        let leases = run.leases;
        ensure!(
            (leases.issued, leases.revoked, leases.leaked) == (1, 1, 0),
            "{run:#?}"
        );
        ensure!(
            recording.generation(name(&run)) == Some(1),
            "the generation was bumped: {run:#?}"
        );
        ensure!(run.secret_writes == 1, "{run:#?}");
    }
    let issued = reads(scene, "database/creds/probe")? - before;
    ensure!(issued == 2, "two runs asked for {issued} credentials");
    Ok(())
}

async fn minimal_dynamic(scene: &Scene) -> Result<()> {
    let before = reads(scene, "database/creds/probe")?;
    let outcome = scene
        .prober([Probe::database("minimal").minimal()])
        .probe(&[])
        .await?
        .exits(1)?;
    let run = outcome.only_run()?;
    let issued = reads(scene, "database/creds/probe")? - before;
    ensure!(issued == 2, "it asked for {issued} credentials");
    let leases = run.leases;
    ensure!(
        (leases.issued, leases.revoked, leases.leaked) == (2, 1, 1),
        "{run:#?}"
    );
    let report = decisive(&run)?;
    ensure!(
        report.step == Step::Delete && report.cause == Some(Cause::LeaseLeaked),
        "{run:#?}"
    );
    ensure!(report.party == Some(Party::Operator), "{run:#?}");
    ensure!(
        report
            .evidence
            .iter()
            .any(|piece| piece.text.contains("the prober revoked it")),
        "{run:#?}"
    );
    Ok(())
}

/// Short runs, to try a login with.
fn short() -> Probe {
    Probe::kv2("login").steps(&[Step::Create, Step::Delete])
}

/// The lines of Vault's audit log about a path, as far as they are the prober's, with all their fields.
fn asked(scene: &Scene, path: &str, display_name: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(scene.lab().folder().join("vault-audit.log"))?;
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines
        .filter(|line| line["type"] == "response" && line["request"]["path"] == path)
        .filter(|line| {
            line["auth"]["display_name"]
                .as_str()
                .is_some_and(|name| name.starts_with(display_name))
        })
        .collect())
}

/// Logs in like this, and insists that each request said whose it was.
async fn login(scene: &Scene, auth: Value, own: bool, display_name: &str) -> Result<()> {
    // Vault tells headers in its audit log only if asked to.
    let header = "sys/config/auditing/request-headers/user-agent";
    scene
        .lab()
        .vault()
        .write(header, json!({"hmac": false}))
        .await?;
    let asked_before = scene.lab().kube_audit()?.len();
    let ended_before = asked(scene, "auth/token/revoke-self", display_name)?.len();
    let prober = scene
        .prober([short()])
        .auth(auth)
        .env("PROBERS_TOKEN", token(scene).await?);
    let outcome = prober.probe(&[]).await?.exits(0)?;
    let run = outcome.only_run()?;
    went_well(&run, &[Step::Create, Step::Delete])?;

    let agent = format!("vso-prober/{}", env!("CARGO_PKG_VERSION"));
    let account = "system:serviceaccount:vso-probe:vso-prober";
    let requests: Vec<_> = scene
        .lab()
        .kube_audit()?
        .into_iter()
        .skip(asked_before)
        .filter(|request| request.user.username == account)
        .collect();
    ensure!(
        requests.iter().any(|request| request.verb == "create"),
        "{requests:#?}"
    );
    ensure!(
        requests.iter().all(|request| request.user_agent == agent),
        "{requests:#?}"
    );

    let folder = scene.kv_folder("default").await?;
    let path = format!("kvv2/data/{folder}/{}", name(&run));
    let writes = asked(scene, &path, display_name)?;
    ensure!(
        !writes.is_empty(),
        "Vault's audit log has no write of `{path}` by `{display_name}`"
    );
    for write in &writes {
        ensure!(
            write["request"]["headers"]["user-agent"] == json!([agent]),
            "{write:#}"
        );
    }
    let ended = asked(scene, "auth/token/revoke-self", display_name)?.len() - ended_before;
    ensure!(
        ended == usize::from(own),
        "{ended} tokens were revoked; own: {own}"
    );
    Ok(())
}

/// A token that is not the prober's own.
async fn token(scene: &Scene) -> Result<String> {
    let body = json!({"policies": ["vso-prober"], "ttl": "1h", "display_name": "given"});
    let answer = scene.lab().vault().write("auth/token/create", body).await?;
    let token = answer["auth"]["client_token"].as_str().map(str::to_owned);
    token.context("Vault made no token")
}

async fn login_by_env(scene: &Scene) -> Result<()> {
    login(
        scene,
        json!({"token": {"env": "PROBERS_TOKEN"}}),
        false,
        "token-given",
    )
    .await
}

async fn login_by_file(scene: &Scene) -> Result<()> {
    // A trailing newline is what most editors leave.
    let file = scene.file(&format!("{}\n", token(scene).await?))?;
    login(
        scene,
        json!({"token": {"file": file}}),
        false,
        "token-given",
    )
    .await
}

async fn login_by_kubernetes(scene: &Scene) -> Result<()> {
    let file = scene.lab().prober_token_file();
    let auth =
        json!({"kubernetes": {"mount": "kubernetes", "role": "vso-prober", "tokenFile": file}});
    login(scene, auth, true, "kubernetes-vso-probe-vso-prober").await
}

async fn login_by_approle(scene: &Scene) -> Result<()> {
    let (role, secret) = scene.lab().approle_files();
    let auth = json!({"appRole": {"mount": "approle", "roleIdFile": role, "secretIdFile": secret}});
    login(scene, auth, true, "approle").await
}

async fn login_by_jwt(scene: &Scene) -> Result<()> {
    let file = scene.lab().prober_token_file();
    let auth = json!({"jwt": {"mount": "jwt", "role": "vso-prober", "tokenFile": file}});
    login(
        scene,
        auth,
        true,
        "jwt-system:serviceaccount:vso-probe:vso-prober",
    )
    .await
}

/// Runs for longer than a token of these limits lives, and counts its logins and renewals.
async fn outlive(scene: &Scene, limits: Value) -> Result<(usize, usize)> {
    let mut role = json!({
        "bound_service_account_names": ["vso-prober"], "bound_service_account_namespaces": ["vso-probe"],
        "audience": "vault", "token_policies": ["vso-prober"],
    });
    for (key, value) in limits.as_object().into_iter().flatten() {
        role[key] = value.clone();
    }
    scene
        .lab()
        .vault()
        .write("auth/kubernetes/role/brief", role)
        .await?;
    let name = "kubernetes-vso-probe-vso-prober";
    let count = |path| Ok::<_, anyhow::Error>(asked(scene, path, name)?.len());
    let (logins, renewals) = (
        count("auth/kubernetes/login")?,
        count("auth/token/renew-self")?,
    );
    let file = scene.lab().prober_token_file();
    let auth = json!({"kubernetes": {"mount": "kubernetes", "role": "brief", "tokenFile": file}});
    let probe = Probe::kv2("brief").steps(&[Step::Create, Step::Update, Step::Delete]);
    // Each waits for a poll, which comes after 1.6 s at the earliest.
    let outcome = scene
        .prober([probe])
        .auth(auth)
        .probe(&["--count", "5"])
        .await?
        .exits(0)?;
    ensure!(outcome.took.as_secs() >= 5, "{outcome}");
    for run in outcome.runs()? {
        went_well(&run, &[Step::Create, Step::Update, Step::Delete])?;
    }
    Ok((
        count("auth/kubernetes/login")? - logins,
        count("auth/token/renew-self")? - renewals,
    ))
}

async fn renewal(scene: &Scene) -> Result<()> {
    // The third of it in which it is renewed is longer than a run, so that no run skips it.
    let (logins, renewals) = outlive(scene, json!({"token_ttl": "8s"})).await?;
    ensure!(
        logins == 1 && renewals >= 1,
        "{logins} logins, {renewals} renewals"
    );
    Ok(())
}

async fn replacement(scene: &Scene) -> Result<()> {
    let (logins, renewals) =
        outlive(scene, json!({"token_ttl": "4s", "token_max_ttl": "4s"})).await?;
    ensure!(logins >= 2, "{logins} logins, {renewals} renewals");
    Ok(())
}

async fn outputs(scene: &Scene) -> Result<()> {
    let good = || Probe::kv2("good").steps(&[Step::Create, Step::Update, Step::Delete]);
    // A path that is not there fails at once, and surely.
    let bad = || {
        Probe::database("bad")
            .target("path", "creds/absent")
            .steps(&[Step::Create])
            .limits("3s", "4s")
    };
    let prober = |name| scene.prober([good(), bad()]).instance(name);
    let file = scene.path("json");
    let to_file = [
        "probe",
        "-o",
        "json",
        "--output-file",
        file.to_str().context("UTF-8")?,
        "--parallel",
        "2",
    ];
    let (json, table, junit) = (prober("json"), prober("table"), prober("junit"));
    let (json, table, junit) = tokio::try_join!(
        json.run(&to_file),
        table.run(&["probe", "-o", "table", "--parallel", "2"]),
        junit.run(&["probe", "-o", "junit", "--parallel", "2"]),
    )?;
    let json = json.exits(1)?;
    ensure!(json.stdout.is_empty(), "{json}");
    let json = Outcome {
        stdout: std::fs::read_to_string(&file)?,
        ..json
    };
    let (table, junit) = (table.exits(1)?, junit.exits(1)?);
    let report = Report::deserialize_from_str(&junit.stdout).with_context(|| junit.to_string())?;
    ensure!(report.test_suites.len() == 2, "{junit}");

    for probe in ["good", "bad"] {
        let run = json.run_of(probe)?;
        let suite = report
            .test_suites
            .iter()
            .find(|suite| suite.name.as_str() == probe);
        let suite = suite.with_context(|| junit.to_string())?;
        let rows: Vec<_> = table
            .stdout
            .lines()
            .filter(|line| line.starts_with(&format!("{probe} ")) && !line.contains(" of "))
            .collect();
        ensure!(
            rows.len() == run.steps.len() && suite.test_cases.len() == run.steps.len(),
            "{json}\n{table}\n{junit}"
        );
        for ((step, case), row) in run.steps.iter().zip(&suite.test_cases).zip(rows) {
            let cells: Vec<_> = row.split_whitespace().take(3).collect();
            ensure!(
                cells == [probe, step.step.as_str(), step.result.as_str()],
                "{row}"
            );
            ensure!(case.name.as_str() == step.step.as_str(), "{junit}");
            match &case.status {
                TestCaseStatus::Success { .. } => {
                    ensure!(step.result == Verdict::Success, "{junit}");
                }
                TestCaseStatus::NonSuccess {
                    ty, description, ..
                } => {
                    let cause = step.cause.with_context(|| json.to_string())?;
                    ensure!(ty.as_deref() == Some(cause.as_str()), "{junit}");
                    let told = description.as_deref().unwrap_or_default();
                    ensure!(told.contains(cause.advice()), "{junit}");
                    ensure!(
                        table.stdout.contains(cause.as_str())
                            && table.stdout.contains(cause.advice()),
                        "{table}"
                    );
                }
                TestCaseStatus::Skipped { .. } => anyhow::bail!("nothing is skipped: {junit}"),
            }
        }
    }
    ensure!(
        table
            .stdout
            .trim_end()
            .ends_with("2 runs: 1 success, 1 failure, 0 unknown"),
        "{table}"
    );
    Ok(())
}

async fn parallel(scene: &Scene) -> Result<()> {
    let probes = || {
        ["a", "b", "c"]
            .map(|name| Probe::kv2(name).steps(&[Step::Create, Step::Update, Step::Delete]))
    };
    let overlaps = |runs: &[Run]| {
        let pairs = runs
            .iter()
            .enumerate()
            .flat_map(|(n, a)| runs[n + 1..].iter().map(move |b| (a, b)));
        pairs
            .filter(|(a, b)| a.started < b.finished && b.started < a.finished)
            .count()
    };
    let one = scene.prober(probes()).probe(&[]).await?.exits(0)?;
    let many = scene
        .prober(probes())
        .probe(&["--parallel", "3", "--count", "2"])
        .await?
        .exits(0)?;
    let (alone, together) = (one.runs()?, many.runs()?);
    ensure!(alone.len() == 3 && together.len() == 6, "{one}\n{many}");
    ensure!(overlaps(&alone) == 0, "{one}");
    ensure!(overlaps(&together) >= 3, "{many}");
    for probe in ["a", "b", "c"] {
        ensure!(
            together.iter().filter(|run| run.probe == probe).count() == 2,
            "{many}"
        );
    }
    for run in alone.iter().chain(&together) {
        went_well(run, &[Step::Create, Step::Update, Step::Delete])?;
    }
    let chosen = scene
        .prober(probes())
        .probe(&["--probe", "a", "c"])
        .await?
        .exits(0)?;
    let names: Vec<_> = chosen.runs()?.into_iter().map(|run| run.probe).collect();
    ensure!(names == ["a", "c"], "{chosen}");
    Ok(())
}

async fn exit_codes(scene: &Scene) -> Result<()> {
    let short = || Probe::kv2("short").steps(&[Step::Create, Step::Delete]);
    // 1: right, but later than its threshold.
    let late = scene
        .prober([short().limits("1us", "15s")])
        .probe(&[])
        .await?
        .exits(1)?;
    let run = late.only_run()?;
    let report = step(&run, Step::Create)?;
    ensure!(
        report.cause == Some(Cause::TooSlow) && !report.good,
        "{late}"
    );
    ensure!(
        run.steps.len() == 2,
        "a late step is no reason to stop: {late}"
    );

    // 2: wrong usage, or a wrong configuration; nothing is run.
    let unknown = scene
        .prober([short()])
        .probe(&["--probe", "absent"])
        .await?
        .exits(2)?;
    unknown.says(&["absent", "`short`"])?;
    let wrong = scene
        .prober([short()])
        .edit(|config| config["probes"][0]["steps"]["dance"] = "1s".into());
    wrong
        .probe(&[])
        .await?
        .exits(2)?
        .says(&["dance", "create"])?;
    scene
        .prober([short()])
        .run(&["probe", "--nonsense"])
        .await?
        .exits(2)?;
    let lost = scene
        .prober([short()])
        .env("VSO_PROBER_CONFIG", scene.path("yaml"));
    let lost = lost.probe(&[]).await?.exits(2)?;
    ensure!(lost.stdout.is_empty(), "{lost}");

    // 3: the prober can't tell.
    let blind = scene
        .prober([short()])
        .vault("http://127.0.0.1:9")
        .probe(&[])
        .await?
        .exits(3)?;
    ensure!(blind.only_run()?.result == Verdict::Unknown, "{blind}");

    // Failure goes before unknown.
    let both = [
        short(),
        Probe::kv2("denied")
            .target("path", "elsewhere")
            .steps(&[Step::Create]),
        Probe::kv2("late")
            .steps(&[Step::Create])
            .limits("1us", "15s"),
    ];
    let both = scene.prober(both).probe(&[]).await?.exits(1)?;
    let results: Vec<_> = both.runs()?.into_iter().map(|run| run.result).collect();
    ensure!(
        results == [Verdict::Success, Verdict::Unknown, Verdict::Failure],
        "{both}"
    );
    Ok(())
}
