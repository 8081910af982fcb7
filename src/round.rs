//! A round: one run of a probe, from asking for clients to what is claimed of it.

mod heard;
mod sweep;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::canary::{Canary, Cluster};
use crate::config::{Config, Probe};
use crate::janitor;
use crate::judge::correlation::Windows;
use crate::judge::judge;
use crate::model::Step;
use crate::model::correlation::Coefficient;
use crate::model::record::{End, Findings, Obstacle, Record, StepRecord};
use crate::model::run::{Context, Run};
use crate::model::timeline::Timeline;
use crate::operator;
use crate::panic::{caught, caught_at_once};
use crate::probe::{self, Clients, Progress};
use crate::shutdown::Shutdown;
use heard::heard;

pub use heard::AuditLog;
pub use sweep::sweep;

/// How long it may take to clean up after a bug.
const REMOVAL_LIMIT: Duration = Duration::from_secs(20);

/// All that a run takes but its probe.
pub struct Round<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where the runs come from: see [`context`].
    pub context: Context,
    /// The clients, or why there are none.
    pub clients: Result<&'a Clients, Obstacle>,
    /// Since when they were asked for.
    pub begun: Instant,
    /// Who can tell what Vault's audit log says of the canary, where somebody can.
    pub log: Option<&'a dyn AuditLog>,
    /// The earlier runs, with which the latencies of this one are compared.
    pub windows: &'a Mutex<Windows>,
}

/// Where the runs of this configuration come from. What only the operator tells is read from what it told.
pub fn context(config: &Config) -> Context {
    Context {
        prober_version: Some(env!("CARGO_PKG_VERSION").into()),
        operator_version: None,
        instance: Some((&config.instance).into()),
        config_digest: Some((&config.digest).into()),
        labels: config
            .labels
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    }
}

/// The outcome of a round.
pub struct Outcome {
    /// What is claimed.
    pub run: Run,
    /// By step, what its latencies move with, the strongest first.
    pub correlations: BTreeMap<Step, Vec<Coefficient>>,
    /// What was seen.
    pub record: Record,
}

impl Round<'_> {
    /// Runs a probe once and judges that. `tell` is told how far it is. A bug of the prober's own ends that run, with its
    /// canary removed, and nothing else.
    pub async fn run(
        &self,
        probe: &Probe,
        shutdown: &Shutdown,
        tell: impl Fn(Progress),
    ) -> Outcome {
        let mut record = Record {
            context: self.context.clone(),
            ..self.record(probe, shutdown, tell).await
        };
        if let Some(log) = self.log.filter(|_| !record.vault_log.trips.is_empty())
            && !shutdown.asked()
        {
            record.vault_log.calls = heard(log, &record.canary.name).await;
        }
        let mut run = judged(&record);
        for step in &run.steps {
            if let Some(rule) = &step.rule {
                let (run, step) = (&run.run, step.step);
                tracing::debug!(%run, %step, %rule, "the rule that decided");
            }
        }
        let windows = self.windows.lock();
        let correlations = windows
            .unwrap_or_else(PoisonError::into_inner)
            .observe(&mut run);
        tracing::debug!(probe = %run.probe, run = %run.run, result = %run.result, "the run is over");
        Outcome {
            run,
            correlations,
            record,
        }
    }

    /// Runs a canary, or records why that can't be begun.
    async fn record(&self, probe: &Probe, shutdown: &Shutdown, tell: impl Fn(Progress)) -> Record {
        let config = self.config;
        let site = match self.clients.clone() {
            Ok(clients) => clients.cluster().await.map(|cluster| (clients, cluster)),
            Err(obstacle) => Err(obstacle),
        };
        let nowhere = Cluster::unknown();
        let canary = Canary::new(
            probe,
            &config.kubernetes.namespace,
            &config.instance,
            site.as_ref().map_or(&nowhere, |(_, cluster)| cluster),
            Timestamp::now(),
            &mut rand::rng(),
        );
        let obstacle = match site {
            Ok((clients, _)) => {
                match caught(Box::pin(probe::run(&canary, clients, shutdown, tell))).await {
                    Ok(record) => return record,
                    Err(panic) => {
                        // Perhaps again: whether it can be removed must not depend on how far the run got.
                        let removed =
                            janitor::remove(&clients.kube, &clients.vault, &canary, false, true);
                        let removed =
                            tokio::time::timeout(REMOVAL_LIMIT, caught(Box::pin(removed))).await;
                        if !matches!(removed, Ok(Ok(_))) {
                            let canary = canary.object();
                            tracing::warn!(
                                %canary,
                                "it may be left behind; the next clean-up removes it"
                            );
                        }
                        probe::own(&panic)
                    }
                }
            }
            Err(obstacle) => obstacle,
        };
        let waited = Instant::now().saturating_duration_since(self.begun);
        probe::not_begun(&canary, obstacle, waited)
    }
}

/// What a run claims. If a bug keeps it from being judged, that is what it claims.
pub fn judged(record: &Record) -> Run {
    let judge = |record: &Record| judge(record, &operator::account(record));
    caught_at_once(|| judge(record)).unwrap_or_else(|panic| {
        let step = record.steps.first().cloned().map(|step| StepRecord {
            end: End::Met(probe::own(&panic)),
            findings: Findings::default(),
            ..step
        });
        judge(&Record {
            steps: step.into_iter().collect(),
            timeline: Timeline::default(),
            readings: Vec::new(),
            leases: Vec::new(),
            ..record.clone()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::convert::Infallible;
    use std::sync::Arc;

    use super::*;
    use crate::config::check;
    use crate::health::Health;
    use crate::model::cause::Cause;
    use crate::model::record::Peer;
    use crate::model::{Kind, Step, Verdict};

    const CONFIG: &str = r#"
        vault: {address: "http://127.0.0.1:1", auth: {token: {env: TOKEN}}}
        kubernetes: {namespace: vso-probe}
        probes:
        - name: kv
          static: {authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 2s}
          steps: {create: 1s, delete: 1s}
          timeout: 2s
    "#;

    const NAMESPACE: &str = r#"{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "vso-probe", "uid": "0b9c3a52-7a1f-4a53-9d3c-2f4b6c8d0e1f"}}"#;

    /// A run that panics where it tells of this. Returns it, its record, and what the API server was asked for.
    async fn broken(at: fn(Progress) -> bool) -> (Run, Record, Vec<String>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let env = |_: &str| Some("token".to_owned());
        let config = check::load(CONFIG, "c.yaml", env).expect("it can be used");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let answer = move |request: http::Request<kube::client::Body>| {
            let path = request.uri().path().to_owned();
            let known = path == "/api/v1/namespaces/vso-probe";
            log.lock().expect("it is not poisoned").push(path);
            let text = if known { NAMESPACE } else { "" };
            let body = kube::client::Body::from(text.as_bytes().to_vec());
            let mut answer = http::Response::new(body);
            if !known {
                *answer.status_mut() = http::StatusCode::NOT_FOUND;
            }
            async { Ok::<_, Infallible>(answer) }
        };
        let kube = kube::Client::new(tower::service_fn(answer), "default");
        let kinds = HashSet::from([Kind::Static]);
        let health = Health::default();
        let clients = Clients::with(kube, &config, &kinds, &health).await;
        let clients = clients.expect("nothing is asked yet");
        let tell = |progress| assert!(!at(progress), "a bug");
        let shutdown = Shutdown::default();
        let probe = config.probe("kv").expect("it is configured");
        let round = Round {
            config: &config,
            context: context(&config),
            clients: Ok(&clients),
            begun: Instant::now(),
            log: None,
            windows: &Mutex::default(),
        };
        let Outcome { run, record, .. } = round.run(probe, &shutdown, tell).await;
        let asked = asked.lock().expect("it is not poisoned").clone();
        (run, record, asked)
    }

    fn is_unknown_and_cleaned_up((run, record, asked): &(Run, Record, Vec<String>)) {
        assert_eq!(run.result, Verdict::Unknown);
        let decisive = run.decisive().expect("a step");
        assert_eq!(decisive.cause, Some(Cause::ProberBug));
        let End::Met(obstacle) = &record.steps.last().expect("a step").end else {
            panic!("{record:?}");
        };
        assert_eq!(obstacle.at, Peer::Prober);
        assert!(obstacle.text.contains("panicked"), "{}", obstacle.text);
        let canary = &record.canary.name;
        // Nobody but the clean-up asks for it: it was not created yet.
        let removed = asked.iter().any(|path| path.ends_with(canary.as_str()));
        assert!(removed, "{asked:?}");
    }

    #[tokio::test]
    async fn a_bug_in_a_run_is_one_unknown_run_and_its_canary_is_removed() {
        let run = broken(|progress| matches!(progress, Progress::Begun(Step::Create))).await;
        is_unknown_and_cleaned_up(&run);
    }

    #[tokio::test]
    async fn so_is_one_in_its_clean_up() {
        let run = broken(|progress| matches!(progress, Progress::CleaningUp)).await;
        is_unknown_and_cleaned_up(&run);
    }
}
