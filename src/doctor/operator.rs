//! The operator: its pods, the Lease that they contend for, and its metrics.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use url::Url;

use super::ask::{Asked, ask, get};
use super::fix::{Command, Fix, Line, Manifest, Name, Script, Selector};
use super::token::account;
use super::trust::advice;
use super::{Ledger, Topic};
use crate::config::{Access, Config, MetricsSource};
use crate::model::reply::{Distrust, Reply};
use crate::model::snapshot::Snapshot;
use crate::operator::{self, LEADER_LEASE, Pods};
use crate::rights::{Need, Rights, Subject};
use crate::scrape::{self, Source};

mod others;

/// How far back Prometheus is asked.
const BACK: SignedDuration = SignedDuration::from_mins(5);
/// What the ServiceAccount is called, where it is shipped, that may get the metrics and nothing else.
const METRICS_ACCOUNT: &str = "vso-prober-metrics";

/// The second choice where a certificate is of no known CA.
const UNCHECKED: &str = "; only if no CA can verify it, e.g. because the certificate is new at each start, \
     `operator.metrics.insecureSkipVerify: true` accepts any: someone in between can then take the bearer token and \
     forge the numbers";

/// Looks at its pods and its Lease; `ahead` is by how much the cluster's clock is ahead of this one.
pub(super) async fn look(
    client: &Client,
    config: &Config,
    ahead: SignedDuration,
    ledger: &mut Ledger,
) {
    let namespace = &config.operator.namespace;
    let full = format!("{namespace}/{LEADER_LEASE}");
    let topic = Topic::OperatorLease;
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = get(&api, &format!("get Lease `{full}`"), LEADER_LEASE).await;
    let holder = match &lease {
        Asked::There(lease) => operator::holder(lease),
        Asked::Absent | Asked::Denied | Asked::Failed(_) => None,
    };
    let ready = pods(client, config, holder, ledger).await;
    match lease {
        Asked::There(lease) => {
            let now = Timestamp::now()
                .saturating_add(ahead)
                .unwrap_or(Timestamp::MAX);
            match held(&lease, now) {
                Ok(text) => ledger.good(topic, &full, text),
                Err(_) if !ready => ledger.skipped(topic, &full, "no pod of the operator is ready"),
                Err(text) => ledger.finding(topic, &full, text, restart(config)),
            }
        }
        Asked::Absent => {
            let text = format!(
                "tried to get the Lease `{full}`: it does not exist; without leader election nobody can tell which replica is active"
            );
            ledger.warning(topic, &full, text, None);
        }
        Asked::Denied => ledger.skipped(topic, &full, "the prober has no right to get it"),
        Asked::Failed(text) => ledger.unknown(topic, &full, text),
    }
    others::look(client, config, ahead, ledger).await;
}

/// A command on what the selector selects in the operator's namespace.
fn selected(config: &Config, words: &'static str) -> Option<Command> {
    let namespace = Name::parse(&config.operator.namespace)?;
    let selector = Selector::parse(&config.operator.pod_selector)?;
    let command = Command::new(words).arg("-n").arg(&namespace);
    Some(command.arg("-l").arg(&selector))
}

fn restart(config: &Config) -> Fix {
    let script = || {
        let restart = selected(config, "kubectl rollout restart deployment")?;
        let logs = selected(config, "kubectl logs")?.args("--all-containers --tail=50");
        let script = Script::default().run(restart);
        Some(script.remark("if that does not help:").run(logs))
    };
    script().map_or_else(
        || Fix::words("restart the operator's Deployment"),
        Fix::from,
    )
}

/// Whether any of its pods is ready.
async fn pods(client: &Client, config: &Config, holder: Option<&str>, ledger: &mut Ledger) -> bool {
    let topic = Topic::Operator;
    let (namespace, selector) = (&config.operator.namespace, &config.operator.pod_selector);
    let subject = format!("{selector} in {namespace}");
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let what = format!("list the pods `{selector}` in `{namespace}`");
    let params = ListParams::default().labels(selector);
    let pods = match ask(&what, async { api.list(&params).await }).await {
        Ok(pods) => pods.items,
        Err(obstacle) if obstacle.status() == Some(403) => {
            ledger.skipped(topic, &subject, "the prober has no right to list pods");
            return true;
        }
        Err(obstacle) => {
            ledger.unknown(topic, &subject, obstacle.text);
            return true;
        }
    };
    let Pods { own: pods, foreign } = Pods::tell(pods, holder);
    if !foreign.is_empty() {
        let text = format!(
            "listed the pods `{selector}` in `{namespace}`: {} is not the operator's, by the program it runs and the \
             operator's Lease, and is skipped",
            foreign.join(", ")
        );
        let fix = "make `operator.podSelector` narrower, e.g. `control-plane=controller-manager,app.kubernetes.io/name=vault-secrets-operator`";
        ledger.warning(topic, &subject, text, Some(Fix::words(fix)));
    }
    if pods.is_empty() {
        let text = format!(
            "tried to {what}: none is the operator's; it is not installed there, or scaled to zero, or `operator.namespace` or `operator.podSelector` is wrong"
        );
        let fix = selected(config, "kubectl scale deployment").map_or_else(
            || Fix::words("install the operator, or scale it up"),
            |command| Script::default().run(command.arg("--replicas=1")).into(),
        );
        ledger.finding(topic, &subject, text, fix);
        return false;
    }
    let (ready, others): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| is_ready(pod));
    let names = |pods: &[&Pod]| {
        pods.iter()
            .map(|pod| pod.name_any())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if ready.is_empty() {
        let text = format!("tried to {what}: none of {} is ready", names(&others));
        ledger.finding(topic, &subject, text, restart(config));
        return false;
    }
    ledger.good(topic, &subject, format!("{} ready", names(&ready)));
    if !others.is_empty() {
        let text = format!(
            "listed the pods `{selector}` in `{namespace}`: not ready are {}",
            names(&others)
        );
        ledger.warning(topic, &subject, text, None);
    }
    true
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the Lease is held at `now`.
fn held(lease: &Lease, now: Timestamp) -> Result<String, String> {
    let spec = lease.spec.clone().unwrap_or_default();
    let looked = format!("looked at the operator's Lease `{LEADER_LEASE}`");
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let holder =
        holder.ok_or_else(|| format!("{looked}: nobody holds it, so no replica is active"))?;
    let renewed = spec.renew_time.map(|time| time.0);
    let renewed = renewed.ok_or_else(|| format!("{looked}: it was never renewed"))?;
    let duration = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(15).into());
    let age = now.duration_since(renewed);
    if age > duration {
        return Err(format!(
            "{looked}: `{holder}` has not renewed it for {} s; it is valid for {} s",
            age.as_secs(),
            duration.as_secs()
        ));
    }
    Ok(format!("held by {holder}"))
}

/// Reads its metrics once.
pub(super) async fn metrics(
    client: &Client,
    config: &Config,
    rights: &Rights,
    subject: &Subject,
    ledger: &mut Ledger,
) {
    let topic = Topic::Metrics;
    let place = match &config.operator.metrics {
        None => {
            let why = "none are configured, so runs don't show the operator's stages";
            return ledger.skipped(topic, "operator.metrics", why);
        }
        Some(MetricsSource::Url { url, .. } | MetricsSource::Prometheus { url, .. }) => shown(url),
        Some(MetricsSource::Pods { port, .. }) => format!("pods, port {port}"),
    };
    let access = config.operator.metrics.as_ref().map(MetricsSource::access);
    if access
        .is_some_and(|access| access.insecure_skip_verify && access.bearer_token_file.is_some())
    {
        let text = "a token is sent to whoever answers there, because `operator.metrics.insecureSkipVerify` skips the check of the certificate; set `caFile`, or send a token that is worth nothing elsewhere";
        let fix = Fix::set(&["operator", "metrics", "serviceAccount"], METRICS_ACCOUNT);
        ledger.warning(topic, &place, text, Some(fix));
    }
    if ledger.found(Topic::Operator, "") {
        return ledger.skipped(topic, &place, "the operator is not up");
    }
    let read = match Source::new(config, client) {
        Source::None => return,
        Source::Direct(scraper) => scraper.look().await.what.clone(),
        Source::Prometheus(past) => {
            let now = Timestamp::now();
            let from = now.saturating_sub(BACK).unwrap_or(now);
            let last = past.between(from, now).await;
            last.map(|all| {
                all.last()
                    .map(|last| last.snapshot.clone())
                    .unwrap_or_default()
            })
        }
    };
    match read {
        Ok(snapshot) => told(config, &place, &snapshot, ledger),
        Err(error) => {
            let fix = repair(config, rights, subject, &error);
            ledger.finding(topic, &place, error.text, fix);
        }
    }
}

/// A URL without what may be secret in it.
fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "operator.metrics".to_owned();
    };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn told(config: &Config, place: &str, snapshot: &Snapshot, ledger: &mut Ledger) {
    let topic = Topic::Metrics;
    let mut kinds: Vec<_> = config
        .probes
        .iter()
        .map(|probe| probe.target.kind())
        .collect();
    kinds.sort();
    kinds.dedup();
    let version = snapshot.version.as_deref();
    let text = version.map_or("unknown version".to_owned(), |version| {
        format!("version {version}")
    });
    ledger.good(topic, place, text);
    for kind in kinds
        .iter()
        .filter(|kind| !snapshot.controllers.contains_key(kind))
    {
        let text = format!(
            "read the operator's metrics at {place}: they have no controller of {}s; is it the active replica?",
            kind.resource()
        );
        ledger.warning(topic, place, text, None);
    }
    let version = version.map(|version| version.trim_start_matches('v'));
    // One that was built without a version calls itself `0.0.0`.
    if version.is_some_and(|version| version.starts_with("0.") && !version.starts_with("0.0.0")) {
        let text = "the operator is older than 1.0, and the prober was tested with 1.4: its thresholds may not apply";
        ledger.warning(topic, place, text, None);
    }
}

/// What lets the prober ask for a token of the ServiceAccount that gets the metrics.
fn asked(
    rights: &Rights,
    subject: &Subject,
    namespace: &str,
    name: &str,
    error: &scrape::Error,
) -> Option<Fix> {
    let (namespace, name) = (Name::parse(namespace)?, Name::parse(name)?);
    if error.status() == Some(404) {
        let create = Command::new("kubectl create serviceaccount").arg(&name);
        let create = create.arg("-n").arg(&namespace);
        return Some(Script::default().run(create).into());
    }
    let role = Manifest::role(rights, subject, &namespace, Need::Run)?;
    Some(Fix::apply(&role))
}

/// What opens the way to the metrics, by what came back.
fn repair(config: &Config, rights: &Rights, subject: &Subject, error: &scrape::Error) -> Fix {
    let access = config.operator.metrics.as_ref().map(MetricsSource::access);
    let file = access.and_then(|access| access.bearer_token_file.as_deref());
    let source = &config.operator.metrics;
    if error.asked == scrape::Asked::Token
        && let Some(Subject::Account { namespace, name }) = &rights.metrics
    {
        return asked(rights, subject, namespace, name, error).unwrap_or_else(Fix::unnamed);
    }
    if error.status() == Some(403) && !rights.urls.is_empty() {
        // Whose token it is may be another than he who asks the API server here.
        let bearer = file.and_then(account);
        let bearer = bearer.map(|(namespace, name)| Subject::Account { namespace, name });
        return Fix::urls(rights, bearer.as_ref().unwrap_or(subject));
    }
    if error.status() == Some(401) && !access.is_some_and(Access::has_bearer) {
        return Fix::set(&["operator", "metrics", "serviceAccount"], METRICS_ACCOUNT);
    }
    if let Some(fault) = error.reply.as_ref().and_then(Reply::distrust) {
        let advice = advice(
            fault,
            "operator.metrics.caFile",
            access.and_then(|access| access.ca_file.as_deref()),
        );
        let second = match fault {
            Distrust::UnknownIssuer => UNCHECKED,
            _ => "",
        };
        return Fix::words(advice + second);
    }
    if let Some(MetricsSource::Url { url, .. }) = source
        && let Ok(mut right) = Url::parse(url)
        && right.path() != "/metrics"
        && right.query().is_none()
    {
        right.set_path("/metrics");
        if let Some(right) = Line::parse(right.as_str()) {
            return Fix::set(&["operator", "metrics", "url"], right);
        }
    }
    Fix::words(match source {
        Some(MetricsSource::Prometheus { .. }) => {
            "set `operator.metrics.prometheus.url` to Prometheus' URL and `selector` to the operator's series, e.g. `{job=\"vault-secrets-operator\"}`"
        }
        _ => {
            "set `operator.metrics.pods` to read every pod of the operator at its port (8443 by `https` with the chart's proxy, 8080 by `http` without), or set `url` to the operator's metrics"
        }
    })
}
