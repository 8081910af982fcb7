//! Trials of the shipped alerts with a real Prometheus and Alertmanager: an operator that stops pages, with its cause, and
//! the prober's own problems raise its own alert.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::extract::{Path as UrlPath, State};
use axum::routing::post;
use axum::{Json, Router};
use e2e::lab::{Alertmanager, PROBER, Prometheus, Rules, Scrape, yaml};
use e2e::scenario::{Probe, Prober, Scene, Server, Suite, eventually};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vso_prober::model::Step;

/// All windows, intervals and waits of the rules are shorter by this. So are the time between runs, 2 s for a minute, and
/// between scrapes, 1 s for half of one.
const FACTOR: u64 = 30;
const EVERY: &str = "2s";
/// How long an alert may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("alerts_live")
        .trial("the_operator_stops", operator_stops)
        .trial("the_prober_is_locked_out", prober_locked_out)
}

/// A message of Alertmanager's.
#[derive(Clone, Debug)]
struct Message {
    receiver: String,
    at: Instant,
    alert: Value,
}

impl Message {
    fn is(&self, name: &str, status: &str) -> bool {
        self.label("alertname") == name && self.alert["status"] == status
    }

    fn label(&self, name: &str) -> &str {
        self.alert["labels"][name].as_str().unwrap_or_default()
    }

    fn description(&self) -> &str {
        let text = &self.alert["annotations"]["description"];
        text.as_str().unwrap_or_default()
    }
}

/// What takes the messages.
type Inbox = Arc<Mutex<Vec<Message>>>;

async fn take(
    State(inbox): State<Inbox>,
    UrlPath(receiver): UrlPath<String>,
    Json(body): Json<Value>,
) {
    let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
    let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    inbox.extend(alerts.into_iter().map(|alert| Message {
        receiver: receiver.clone(),
        at: Instant::now(),
        alert,
    }));
}

/// A prober that is watched.
struct Watched {
    server: Server,
    prometheus: Prometheus,
    _alertmanager: Alertmanager,
    inbox: Inbox,
}

impl Watched {
    /// Has it probe and be watched until all has been well for a while.
    async fn start(prober: &Prober) -> Result<Self> {
        let inbox = Inbox::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/{receiver}", post(take))
            .with_state(inbox.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });

        // The example, with receivers that can be reached, and as much faster.
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/alertmanager.yaml");
        let mut configuration = yaml(Path::new(example))?;
        for receiver in configuration["receivers"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            let name = receiver["name"].as_str().context("a name")?;
            receiver["webhook_configs"] = json!([{"url": format!("http://{address}/{name}")}]);
        }
        let route = &mut configuration["route"]["routes"][0];
        route["group_wait"] = "1s".into();
        route["group_interval"] = "1s".into();
        let alertmanager = Alertmanager::start(&configuration).await?;

        let server = prober.serve(&[]).await?;
        let scrape = Scrape {
            job: "vso-prober",
            address: server.address(),
            honor_labels: false,
        };
        let rules = Rules::shipped()?.faster(FACTOR);
        let prometheus = Prometheus::with_rules(&[scrape], &rules, Some(&alertmanager)).await?;
        let good = "sum(vso_probe_slo_good_total{step=\"create\"})";
        eventually("ten good runs", PATIENCE, async || {
            let good = prometheus.value(good).await?;
            Ok(good.filter(|good| *good >= 10.0))
        })
        .await?;
        let watched = Self {
            server,
            prometheus,
            _alertmanager: alertmanager,
            inbox,
        };
        ensure!(watched.messages().is_empty(), "{:#?}", watched.messages());
        Ok(watched)
    }

    fn messages(&self) -> Vec<Message> {
        self.inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a message on an alert.
    async fn told(&self, name: &str, status: &str) -> Result<Message> {
        let what = format!("message on {name}, {status}");
        let message = eventually(&what, PATIENCE, async || {
            let mut messages = self.messages().into_iter();
            Ok(messages.find(|message| message.is(name, status)))
        })
        .await;
        message.with_context(|| format!("messages: {:#?}", self.messages()))
    }

    /// What fires: the names, with the text of each.
    async fn firing(&self) -> Result<BTreeMap<String, String>> {
        let answer = self.prometheus.ask("alerts", &[]).await?;
        let alerts = answer["alerts"].as_array().into_iter().flatten();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(firing
            .map(|alert| {
                (
                    text(&alert["labels"]["alertname"]),
                    text(&alert["annotations"]["description"]),
                )
            })
            .collect())
    }
}

fn probe() -> Probe {
    Probe::kv2("watched")
        .steps(&[Step::Create, Step::Delete])
        .limits("1s", "2s")
        .every(EVERY)
}

async fn operator_stops(scene: &Scene) -> Result<()> {
    let metrics = json!({"url": scene.lab().metrics_url().await});
    let prober = scene
        .prober([probe()])
        .edit(|config| config["operator"]["metrics"] = metrics);
    let watched = Watched::start(&prober).await?;

    scene.lab().stop_operator().await?;
    let stopped = Instant::now();
    let page = watched.told("VSOOperatorDown", "firing").await?;
    ensure!(
        page.receiver == "platform" && page.label("severity") == "critical",
        "{page:#?}"
    );
    ensure!(page.label("party") == "operator", "{page:#?}");
    ensure!(
        page.description()
            .contains("watched create, failed with operator_down"),
        "{page:#?}"
    );
    tell("page, by VSOOperatorDown", page.at - stopped);
    // The objective says so by itself, for those who don't read the operator's metrics.
    let text = eventually("VSOSyncDown", PATIENCE, async || {
        Ok(watched.firing().await?.remove("VSOSyncDown"))
    })
    .await?;
    tell("VSOSyncDown", stopped.elapsed());
    let runs = watched.server.runs().await?;
    ensure!(
        text.contains("operator_down in run ") && text.contains("(responsible: operator)"),
        "{text}"
    );
    ensure!(
        runs.iter().any(|run| text.contains(run.run.as_str())),
        "{text}"
    );

    scene.lab().start_operator().await?;
    let started = Instant::now();
    let end = watched.told("VSOOperatorDown", "resolved").await?;
    tell("word that it is over", end.at - started);
    eventually("end of VSOSyncDown", PATIENCE, async || {
        let firing = watched.firing().await?;
        Ok((!firing.contains_key("VSOSyncDown")).then_some(()))
    })
    .await?;
    // One outage, one page: what else paged was inhibited, and nothing pages when all is over.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pages: Vec<_> = watched
        .messages()
        .into_iter()
        .filter(|message| {
            message.label("severity") == "critical"
                && !message.is("VSOOperatorDown", "firing")
                && !message.is("VSOOperatorDown", "resolved")
        })
        .collect();
    ensure!(pages.is_empty(), "{pages:#?}");
    watched.server.stop().await?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

async fn prober_locked_out(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let body = json!({"policies": [PROBER], "ttl": "1h"});
    let answer = vault.write("auth/token/create", body).await?;
    let token = answer["auth"]["client_token"].as_str().context("a token")?;
    let metrics = json!({"url": scene.lab().metrics_url().await});
    let prober = scene
        .prober([probe()])
        .edit(|config| config["operator"]["metrics"] = metrics);
    let locked = prober
        .clone()
        .auth(json!({"token": {"env": "TOKEN"}}))
        .env("TOKEN", token);
    let watched = Watched::start(&locked).await?;

    vault
        .write("auth/token/revoke", json!({"token": token}))
        .await?;
    let revoked = Instant::now();
    let ticket = watched.told("VSOProbeUnknown", "firing").await?;
    tell("ticket, by VSOProbeUnknown", ticket.at - revoked);
    ensure!(
        ticket.receiver == "observability" && ticket.label("severity") == "warning",
        "{ticket:#?}"
    );
    ensure!(
        ticket
            .description()
            .contains("prober_vault_denied (responsible: prober)"),
        "{ticket:#?}"
    );
    let others: Vec<_> = watched
        .messages()
        .into_iter()
        .filter(|message| message.label("party") != "prober")
        .collect();
    ensure!(others.is_empty(), "{others:#?}");
    watched.server.stop().await?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
fn tell(what: &str, took: Duration) {
    let (seconds, factor) = (took.as_secs_f64(), u32::try_from(FACTOR).unwrap_or(1));
    let minutes = (took * factor).as_secs_f64() / 60.0;
    println!("{what}: after {seconds:.1} s, which at a run a minute is {minutes:.0} min");
}
