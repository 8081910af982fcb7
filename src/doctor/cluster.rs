//! The checks of Kubernetes: connection, login, the operator's kinds, and the prober's rights.

mod admission;
mod rbac;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::client::Body;

use super::ask::{Asked, LIMIT, ask, get};
use super::fix::{Command, Fix, Name, Script};
use super::{Cluster, Ledger, Topic, operator, reference};
use crate::config::Config;
use crate::kubernetes;
use crate::model::record::{Hindrance, Peer};
use crate::operator::{api_version, group};
use crate::rights::{Rights, Subject, plural};
use crate::wire;

/// Looks at everything of Kubernetes, the operator in it included.
pub(super) async fn look(config: &Config, rights: &Rights, ledger: &mut Ledger) -> Cluster {
    let mut cluster = Cluster::default();
    let Some((client, subject)) = reach(config, &mut cluster, ledger).await else {
        let rest = [
            Topic::Namespace,
            Topic::Crd,
            Topic::Rbac,
            Topic::Admission,
            Topic::VaultAuth,
            Topic::Operator,
            Topic::Metrics,
        ];
        for topic in rest {
            ledger.skipped(topic, "", "the API server is unreachable");
        }
        return cluster;
    };
    let mut allowed = Ledger::default();
    let any = rbac::look(&client, config, rights, &subject, &mut allowed).await;
    if config.probes.is_empty() {
        ledger.0.append(&mut allowed.0);
    } else {
        let there = namespace(&client, config, rights, &subject, any, ledger).await;
        let served = definitions(&client, config, ledger).await;
        ledger.0.append(&mut allowed.0);
        if there {
            admission::look(&client, config, &served, ledger).await;
            admission::quota(&client, config, ledger).await;
        } else {
            let home = &config.kubernetes.namespace;
            ledger.skipped(Topic::Admission, home, "the namespace does not exist");
        }
        reference::look(&client, config, &served, &mut cluster, ledger).await;
    }
    let ahead = cluster.ahead.unwrap_or_default();
    operator::look(&client, config, ahead, ledger).await;
    operator::metrics(&client, config, rights, &subject, ledger).await;
    cluster
}

/// Whether the API server answers, and as whom the prober comes.
async fn reach(
    config: &Config,
    cluster: &mut Cluster,
    ledger: &mut Ledger,
) -> Option<(Client, Subject)> {
    let topic = Topic::Kubernetes;
    let context = config.kubernetes.context.as_deref().unwrap_or("current");
    let subject = format!("context {context}");
    let client = match kubernetes::connect(&config.kubernetes).await {
        Ok(client) => client,
        Err(obstacle) => {
            let fix = "set KUBECONFIG to a kubeconfig and `kubernetes.context` to a context in it: `kubectl config get-contexts` lists them";
            ledger.finding(topic, &subject, obstacle.text, Fix::words(fix));
            return None;
        }
    };
    let asked = ask("ask the API server for its version", async {
        let request = http::Request::get("/version").body(Body::empty());
        let request = request.map_err(kube::Error::HttpError)?;
        let answer = client.send(request).await?;
        let date = answer.headers().get(http::header::DATE).cloned();
        let version = client.apiserver_version().await?;
        Ok((date, version))
    });
    let (date, version) = match asked.await {
        Ok(told) => told,
        Err(obstacle) => {
            let fix = match obstacle.how {
                Hindrance::Denied => {
                    "renew the credential in the kubeconfig, e.g. with `kubectl create token vso-prober`"
                }
                _ => {
                    "check `server`, `proxy-url` and the CA in the kubeconfig (`kubectl config view --minify`), HTTPS_PROXY and NO_PROXY, and the network to it"
                }
            };
            ledger.finding(topic, &subject, obstacle.text, Fix::words(fix));
            return None;
        }
    };
    let now = Timestamp::now();
    cluster.ahead = date
        .as_ref()
        .and_then(|date| date.to_str().ok())
        .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
        .map(|date| date.timestamp().duration_since(now));
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = SelfSubjectReview::default();
    let asked = ask("ask the API server who the prober is", async {
        reviews.create(&PostParams::default(), &review).await
    });
    let user = match asked.await {
        Ok(review) => review.status.and_then(|status| status.user_info?.username),
        Err(obstacle) if obstacle.status() == Some(401) => {
            let fix = "renew the credential in the kubeconfig, e.g. with `kubectl create token vso-prober`";
            ledger.finding(topic, &subject, obstacle.text, Fix::words(fix));
            return None;
        }
        Err(_) => None,
    };
    let who = user.as_ref().map_or_else(
        || Subject::Account {
            namespace: config.kubernetes.namespace.clone(),
            name: "vso-prober".to_owned(),
        },
        |user| Subject::of(user),
    );
    let user = user.map(|user| format!(", as `{user}`"));
    let text = format!("{}{}", version.git_version, user.unwrap_or_default());
    ledger.good(topic, &subject, text);
    Some((client, who))
}

/// Whether the canaries' namespace is there; `any` is whether the prober may do anything in it.
async fn namespace(
    client: &Client,
    config: &Config,
    rights: &Rights,
    subject: &Subject,
    any: bool,
    ledger: &mut Ledger,
) -> bool {
    let topic = Topic::Namespace;
    let home = &config.kubernetes.namespace;
    let api: Api<Namespace> = Api::all(client.clone());
    let what = format!("get Namespace `{home}`");
    match get(&api, &what, home).await {
        Asked::There(_) => ledger.good(topic, home, "is there"),
        Asked::Denied if any => {
            ledger.good(topic, home, "exists, since the prober has rights in it");
        }
        Asked::Absent => {
            let text = format!("tried to {what}: it does not exist");
            let fix = Name::parse(home).map_or_else(
                || Fix::words("set `kubernetes.namespace` to a valid name of a namespace"),
                |home| {
                    let create = Command::new("kubectl create namespace").arg(&home);
                    Script::default().run(create).into()
                },
            );
            ledger.finding(topic, home, text, fix);
            return false;
        }
        Asked::Denied => {
            let text = format!(
                "tried to {what}: the prober has no rights in it: it does not exist, or nobody has granted any"
            );
            ledger.finding(topic, home, text, rbac::whole(rights, subject, home));
            return false;
        }
        Asked::Failed(text) => ledger.unknown(topic, home, text),
    }
    true
}

/// The operator's kinds that are served, in the plural.
async fn definitions(client: &Client, config: &Config, ledger: &mut Ledger) -> Vec<String> {
    let topic = Topic::Crd;
    let version = api_version();
    let asked = wire::limited(
        Peer::Kubernetes,
        "list the operator's kinds",
        LIMIT,
        async { Ok(client.list_api_group_resources(&version).await) },
    );
    let served: Vec<String> = match asked.await {
        Ok(Ok(list)) => list.resources.into_iter().map(|one| one.name).collect(),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Vec::new(),
        Ok(Err(error)) => {
            let text = kubernetes::obstacle("list the operator's kinds", &error).text;
            ledger.unknown(topic, &version, text);
            return Vec::new();
        }
        Err(obstacle) => {
            ledger.unknown(topic, &version, obstacle.text);
            return Vec::new();
        }
    };
    let mut wanted: Vec<_> = config
        .probes
        .iter()
        .map(|probe| plural(probe.target.kind()))
        .collect();
    wanted.extend(["vaultauths", "vaultconnections"].map(str::to_owned));
    wanted.sort();
    wanted.dedup();
    for kind in wanted {
        let name = format!("{kind}.{}", group());
        if served.contains(&kind) {
            ledger.good(topic, &name, "is served");
        } else {
            let text = format!(
                "asked the API server for the kinds of `{version}`: no `{kind}`; the operator's CRDs are not installed, or are of an old version"
            );
            let chart = "helm repo add hashicorp https://helm.releases.hashicorp.com";
            let crds = Command::new("helm show crds hashicorp/vault-secrets-operator")
                .pipe("kubectl apply --server-side --force-conflicts -f -");
            let fix = Script::default().run(Command::new(chart)).run(crds);
            ledger.finding(topic, &name, text, fix.into());
        }
    }
    served
}
