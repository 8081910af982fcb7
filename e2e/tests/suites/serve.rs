//! Trials of `serve`: schedule, HTTP interface, reloads, shutdown, and one leader of two replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, Part};
use e2e::scenario::{Probe, Prober, Relay, Scene, Server, Suite, eventually};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;
use vso_prober::model::cause::Party;
use vso_prober::model::{Step, Verdict};

/// How long anything may take that should come soon.
const SOON: Duration = Duration::from_secs(30);
/// How long a Lease lasts.
const LEASE: Duration = Duration::from_secs(15);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("serve")
        .trial("runs_are_taken_on_schedule_and_told", runs_on_schedule)
        .trial("two_runs_of_a_probe_never_overlap", no_overlap)
        .trial("a_run_can_be_asked_for", on_demand)
        .trial("control_is_off_unless_asked_for", no_control)
        .trial("told_to_stop_in_mid_run_it_leaves_nothing", stop_midway)
        .trial("reloads_lose_no_run_and_no_series", reloads)
        .trial("a_configmap_that_is_swapped_is_read_again", swapped)
        .trial("an_outage_of_the_api_server_is_survived", outage)
        .trial("a_lost_lease_is_contended_for_again", lost_lease)
        .trial("of_two_replicas_one_is_at_work", replicas)
        .trial("a_leader_that_slept_finds_out_before_it_writes", slept)
}

fn quick(name: &str) -> Probe {
    Probe::kv2(name)
        .steps(&[Step::Create, Step::Delete])
        .limits("2s", "3s")
        .every("1s")
}

/// Waits until there are so many runs.
async fn runs(server: &Server, count: usize) -> Result<Vec<vso_prober::model::run::Run>> {
    eventually(&format!("run number {count}"), SOON, async || {
        let runs = server.runs().await?;
        Ok((runs.len() >= count).then_some(runs))
    })
    .await
}

async fn runs_on_schedule(scene: &Scene) -> Result<()> {
    let server = scene
        .prober([quick("first"), quick("second")])
        .serve(&[])
        .await?;
    let runs = runs(&server, 6).await?;
    let probes: BTreeSet<_> = runs.iter().map(|run| run.probe.as_str()).collect();
    ensure!(probes == BTreeSet::from(["first", "second"]), "{probes:?}");
    ensure!(
        runs.iter().all(|run| run.result == Verdict::Success),
        "{runs:#?}"
    );

    let one = server
        .json(&format!("/api/v1/runs/{}", runs[0].run))
        .await?;
    ensure!(one["run"] == json!(runs[0].run), "{one}");
    let some = server.json("/api/v1/runs?probe=second&limit=2").await?;
    let some = some["runs"].as_array().context("a list of runs")?;
    ensure!(
        some.len() == 2 && some.iter().all(|run| run["probe"] == "second"),
        "{some:?}"
    );
    let probes = server.json("/api/v1/probes").await?;
    ensure!(probes["probes"][0]["name"] == "first", "{probes}");

    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/", 200),
        ("/api/v1/runs/none", 404),
        ("/api/v1/runs?limit=x", 400),
        ("/nothing", 404),
    ] {
        let (answered, text) = server.get(path).await?;
        ensure!(answered == status, "{path}: {answered}: {text}");
    }
    let (_, page) = server.get("/").await?;
    ensure!(
        page.contains("first") && page.contains(runs[0].run.as_str()),
        "{page}"
    );
    server.stop().await.map(drop)
}

async fn no_overlap(scene: &Scene) -> Result<()> {
    let slow = Probe::kv2("slow")
        .target("refreshAfter", "2s")
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .every("300ms");
    let server = scene.prober([slow]).serve(&[]).await?;
    let mut runs = runs(&server, 3).await?;
    runs.reverse();
    for pair in runs.windows(2) {
        ensure!(pair[0].finished <= pair[1].started, "{pair:#?}");
    }
    let skipped = server
        .metric("vso_prober_skipped_runs_total{probe=\"slow\"}")
        .await?;
    ensure!(skipped.is_some_and(|skipped| skipped >= 3.0), "{skipped:?}");
    server.stop().await.map(drop)
}

async fn on_demand(scene: &Scene) -> Result<()> {
    let rare = || Probe::kv2("rare").every("1h");
    let waits = Probe::kv2("waits")
        .target("refreshAfter", "3s")
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .every("1h");
    let server = scene
        .prober([rare(), waits])
        .serve(&["--web.enable-lifecycle"])
        .await?;
    let (status, text) = asked(&server, "/api/v1/probes/rare/run").await?;
    ensure!(status.is_success(), "{status}: {text}");
    let run: vso_prober::model::run::Run = serde_json::from_str(&text)?;
    ensure!(run.result == Verdict::Success, "{text}");

    let (status, log) = asked(&server, "/api/v1/probes/rare/run?debug=true").await?;
    ensure!(status.is_success(), "{status}: {log}");
    for words in ["create", "delete", "is over"] {
        ensure!(log.contains(words), "the log lacks `{words}`: {log}");
    }
    let (status, text) = server.post("/api/v1/probes/none/run").await?;
    ensure!(status == StatusCode::NOT_FOUND, "{status}: {text}");

    // Its first run on schedule, at any time within a minute, may refuse both.
    eventually("run and refusal", SOON, async || {
        let (first, second) = tokio::join!(
            server.post("/api/v1/probes/waits/run"),
            server.post("/api/v1/probes/waits/run")
        );
        let statuses = BTreeSet::from([first?.0.as_u16(), second?.0.as_u16()]);
        ensure!(statuses.contains(&409), "{statuses:?}");
        Ok(statuses.contains(&200).then_some(()))
    })
    .await?;

    let (status, text) = server.post("/-/reload").await?;
    ensure!(status.is_success(), "{status}: {text}");
    server.rewrite("probes: 3")?;
    let (status, text) = server.post("/-/reload").await?;
    ensure!(
        status == StatusCode::BAD_REQUEST && text.contains("`probes`"),
        "{status}: {text}"
    );
    server.stop().await.map(drop)
}

/// Posts until no run on schedule is in the way.
async fn asked(server: &Server, path: &str) -> Result<(StatusCode, String)> {
    eventually("turn", SOON, async || {
        let answer = server.post(path).await?;
        Ok((answer.0 != StatusCode::CONFLICT).then_some(answer))
    })
    .await
}

async fn no_control(scene: &Scene) -> Result<()> {
    let server = scene.prober([quick("quick")]).serve(&[]).await?;
    for path in ["/-/reload", "/api/v1/probes/quick/run"] {
        let (status, text) = server.post(path).await?;
        ensure!(
            status == StatusCode::FORBIDDEN && text.contains("--web.enable-lifecycle"),
            "{path}: {status}: {text}"
        );
    }
    server.stop().await.map(drop)
}

async fn stop_midway(scene: &Scene) -> Result<()> {
    let waits = Probe::kv2("waits")
        .target("refreshAfter", "60s")
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .every("1s");
    let server = scene.prober([waits]).serve(&["--leader-elect"]).await?;
    scene.secret("waits").await?;
    let told = Instant::now();
    let outcome = server.stop().await?;
    ensure!(told.elapsed() < Duration::from_secs(25), "{outcome}");
    ensure!(!outcome.stderr.contains("not cleaned up"), "{outcome}");
    scene.is_clean().await?;
    let lease = leases(scene).get("vso-prober-default").await?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    ensure!(holder.as_deref() == Some(""), "{holder:?}");
    Ok(())
}

async fn reloads(scene: &Scene) -> Result<()> {
    let with = |also: &str| scene.prober([quick("steady"), quick(also)]);
    let server = with("also-0").serve(&["--web.enable-lifecycle"]).await?;
    runs(&server, 2).await?;
    let series =
        "vso_probe_runs_total{probe=\"steady\",kind=\"static\",step=\"create\",result=\"success\"}";
    let mut counted = 0.0;
    for number in 0..50 {
        let right = number % 2 == 0;
        let text = if right {
            server.configuration(&with(&format!("also-{number}")))
        } else {
            "probes: [{name: wrong}]".to_owned()
        };
        server.rewrite(&text)?;
        // By the file, by a signal and on request, in turn.
        match number % 3 {
            0 => server.signal(Signal::HUP)?,
            1 => drop(server.post("/-/reload").await?),
            _ => {}
        }
        let expected = f64::from(u8::from(right));
        eventually("reload", SOON, async || {
            let successful = server
                .metric("vso_prober_config_last_reload_successful")
                .await?;
            Ok((successful == Some(expected)).then_some(()))
        })
        .await?;
        let now = server.metric(series).await?;
        ensure!(
            now.is_some_and(|now| now >= counted),
            "{counted} runs, then {now:?}"
        );
        counted = now.unwrap_or_default();
    }
    let probes = server.json("/api/v1/probes").await?;
    let names: Vec<_> = probes["probes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|probe| probe["name"].as_str())
        .collect();
    ensure!(names == ["also-48", "steady"], "{names:?}");
    // Every run that was begun was brought to its end, and told.
    let runs = server.runs().await?;
    let told = runs.iter().filter(|run| run.probe == "steady").count();
    ensure!(told >= 20, "{told} runs under 50 reloads");
    let good = runs.iter().all(|run| run.result == Verdict::Success);
    ensure!(good, "{runs:#?}");
    server.stop().await.map(drop)
}

async fn swapped(scene: &Scene) -> Result<()> {
    // As Kubernetes lays out a ConfigMap: file → ..data/file, ..data → ..version.
    let folder = scene.path("mount");
    for version in ["..1", "..2"] {
        fs::create_dir_all(folder.join(version))?;
    }
    symlink("..1", folder.join("..data"))?;
    symlink("..data/config.yaml", folder.join("config.yaml"))?;
    let prober = scene.prober([quick("before")]);
    let server = prober
        .config_file(&folder.join("config.yaml"))
        .serve(&[])
        .await?;
    let after = server.configuration(&scene.prober([quick("after")]));
    fs::write(folder.join("..2/config.yaml"), after)?;
    symlink("..2", folder.join("..new"))?;
    fs::rename(folder.join("..new"), folder.join("..data"))?;
    eventually("probe `after`", SOON, async || {
        let probes = server.json("/api/v1/probes").await?;
        Ok((probes["probes"][0]["name"] == "after").then_some(()))
    })
    .await?;
    server.stop().await.map(drop)
}

async fn outage(scene: &Scene) -> Result<()> {
    let server = scene.prober([quick("steady")]).serve(&[]).await?;
    runs(&server, 2).await?;
    scene.lab().pause(Part::ApiServer).await?;
    let missed = eventually("unknown run", SOON, async || {
        let runs = server.runs().await?;
        Ok(runs.into_iter().find(|run| run.result == Verdict::Unknown))
    })
    .await;
    scene.lab().resume(Part::ApiServer).await?;
    let missed = missed?;
    let party = missed.decisive().and_then(|step| step.party);
    ensure!(party == Some(Party::Prober), "{missed:#?}");
    let since = Timestamp::now();
    eventually("success after the outage", SOON, async || {
        let runs = server.runs().await?;
        let good = |run: &&vso_prober::model::run::Run| {
            run.result == Verdict::Success && run.started > since
        };
        Ok(runs.iter().any(|run| good(&run)).then_some(()))
    })
    .await?;
    let runs = server.runs().await?;
    ensure!(
        runs.iter().all(|run| run.result != Verdict::Failure),
        "{runs:#?}"
    );
    ensure!(server.get("/healthz").await?.0.is_success());
    server.stop().await.map(drop)
}

fn leases(scene: &Scene) -> Api<Lease> {
    Api::namespaced(scene.lab().client(), NAMESPACE)
}

/// Who holds the Lease: the host, without what tells its processes apart.
async fn holder(scene: &Scene) -> Result<String> {
    let lease = leases(scene).get_opt("vso-prober-default").await?;
    let holder = lease.and_then(|lease| lease.spec?.holder_identity);
    let holder = holder.unwrap_or_default();
    Ok(holder.split('_').next().unwrap_or_default().to_owned())
}

async fn held_by(scene: &Scene, host: &str, within: Duration) -> Result<()> {
    eventually(&format!("Lease of `{host}`"), within, async || {
        Ok((holder(scene).await? == host).then_some(()))
    })
    .await
}

async fn lost_lease(scene: &Scene) -> Result<()> {
    let server = scene
        .prober([quick("steady")])
        .env("HOSTNAME", "only")
        .serve(&["--leader-elect"])
        .await?;
    held_by(scene, "only", SOON).await?;
    runs(&server, 1).await?;
    let usurped = json!({"spec": {"holderIdentity": "usurper_1", "leaseDurationSeconds": 15}});
    let merge = Patch::Merge(usurped);
    let name = "vso-prober-default";
    leases(scene)
        .patch(name, &PatchParams::default(), &merge)
        .await?;
    eventually("follower", SOON, async || {
        let leads = server.metric("vso_prober_leader").await?;
        Ok((leads == Some(0.0)).then_some(()))
    })
    .await?;
    ensure!(server.get("/healthz").await?.0.is_success());
    let before = server.runs().await?.len();
    held_by(scene, "only", 2 * LEASE).await?;
    runs(&server, before + 1).await?;
    leases(scene).delete(name, &DeleteParams::default()).await?;
    held_by(scene, "only", SOON).await?;
    server.stop().await.map(drop)
}

async fn replicas(scene: &Scene) -> Result<()> {
    let start = async |host: &str| -> Result<Server> {
        let prober: Prober = scene.prober([quick("twice")]).env("HOSTNAME", host);
        prober.serve(&["--leader-elect"]).await
    };
    let mut leader = ("a0".to_owned(), start("a0").await?);
    held_by(scene, "a0", SOON).await?;
    let mut follower = ("b0".to_owned(), start("b0").await?);
    let mut kills = Vec::new();
    for round in 1..=5 {
        runs(&leader.1, 2).await?;
        ensure!(
            follower.1.runs().await?.is_empty(),
            "the follower ran a probe"
        );
        ensure!(follower.1.get("/healthz").await?.0.is_success());
        let page = follower.1.get("/").await?.1;
        let names = page.contains(&format!("it follows the leader, {}_", leader.0));
        ensure!(names, "the follower's page does not say who leads: {page}");
        let killed = Instant::now();
        kills.push(Timestamp::now());
        leader.1.signal(Signal::KILL)?;
        held_by(scene, &follower.0, LEASE).await?;
        tell(&format!(
            "taken over after {:.1} s",
            killed.elapsed().as_secs_f64()
        ));
        let host = format!("a{round}");
        leader = std::mem::replace(&mut follower, (host.clone(), start(&host).await?));
    }
    // A leader that ends in order hands over at once.
    runs(&leader.1, 1).await?;
    leader.1.stop().await?;
    held_by(scene, &follower.0, Duration::from_secs(5)).await?;
    runs(&follower.1, 1).await?;

    overlaps(scene, &kills)?;
    // What the killed ones left is removed once it is past its expiry.
    let left = scene.left_behind().await?;
    eventually("end of leftovers", Duration::from_secs(150), async || {
        let now = scene.left_behind().await?;
        Ok(now.iter().all(|what| !left.contains(what)).then_some(()))
    })
    .await?;
    follower.1.stop().await.map(drop)
}

/// The API server takes 2.9 s for each answer, and the leader is stopped for longer than its Lease lasts.
async fn slept(scene: &Scene) -> Result<()> {
    let server = scene.lab().api_server()?;
    let slow = Arc::new(AtomicBool::new(false));
    let held = slow.clone();
    let hold = move || {
        if held.load(Ordering::Relaxed) {
            2.5
        } else {
            0.0
        }
    };
    let relay = Relay::slow(&server, hold).await?;
    let kubeconfig = scene.kubeconfig_by(&relay.address())?;
    let start = async |host: &str| -> Result<Server> {
        let prober = scene.prober([quick("sleeper")]).kubeconfig(&kubeconfig);
        prober
            .env("HOSTNAME", host)
            .serve(&["--leader-elect"])
            .await
    };
    let leader = start("first").await?;
    held_by(scene, "first", SOON).await?;
    let follower = start("second").await?;
    runs(&leader, 2).await?;
    slow.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(12)).await;
    leader.signal(Signal::STOP)?;
    held_by(scene, "second", LEASE * 2).await?;
    leader.signal(Signal::CONT)?;
    // Whatever the first had under way arrives by then.
    sleep(Duration::from_secs(10)).await;
    slow.store(false, Ordering::Relaxed);
    eventually("run of the second that goes well", SOON, async || {
        let runs = follower.runs().await?;
        let well = runs.iter().any(|run| run.result == Verdict::Success);
        Ok(well.then_some(()))
    })
    .await?;

    let mut by = BTreeMap::new();
    for (who, server) in [("first", &leader), ("second", &follower)] {
        for run in server.runs().await? {
            by.insert(run.canary.name.as_str().to_owned(), who);
        }
    }
    let audit = scene.lab().kube_audit()?;
    let mut created: Vec<_> = audit
        .iter()
        .filter(|request| request.verb == "create" && request.stage == "ResponseComplete")
        .filter_map(|request| Some((request.stage_timestamp, by.get(&request.object_ref.name)?)))
        .collect();
    created.sort();
    let turns = created
        .windows(2)
        .filter(|pair| pair[0].1 != pair[1].1)
        .count();
    ensure!(
        turns == 1 && created.first().is_some_and(|(_, who)| **who == "first"),
        "both were at work: {created:?}"
    );
    leader.stop().await?;
    follower.stop().await?;
    // A leader that loses its Lease in a run may leave the canary to the clean-up.
    let cleaner = scene.prober([quick("sleeper")]);
    cleaner.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// Insists that each canary was deleted before the next one was created, unless a kill lies between.
fn overlaps(scene: &Scene, kills: &[Timestamp]) -> Result<()> {
    let audit = scene.lab().kube_audit()?;
    let of = |verb: &'static str| {
        audit
            .iter()
            .filter(move |request| {
                request.verb == verb
                    && request.stage == "ResponseComplete"
                    && request.object_ref.resource == "vaultstaticsecrets"
                    && request.object_ref.name.starts_with("vsop-twice-")
            })
            .map(|request| (request.object_ref.name.clone(), request.stage_timestamp))
    };
    let mut created: Vec<_> = of("create").collect();
    created.sort_by_key(|(_, at)| *at);
    ensure!(created.len() >= 10, "{created:?}");
    let deleted: Vec<_> = of("delete").collect();
    for pair in created.windows(2) {
        let [(name, begun), (next, then)] = pair else {
            continue;
        };
        let ended = deleted.iter().any(|(gone, at)| gone == name && at < then);
        let killed = kills.iter().any(|kill| begun < kill && kill < then);
        ensure!(ended || killed, "{name} was not over when {next} was begun");
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a figure for whoever runs the tests")]
fn tell(text: &str) {
    eprintln!("{text}");
}
