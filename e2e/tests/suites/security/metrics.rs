//! Trials of reading the operator's metrics: the endpoints that are asked, and the token that they see.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::HeaderMap;
use axum::{Router, routing};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE, PROBER};
use e2e::scenario::{Probe, Scene, blames, eventually, step};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vso_prober::model::Step;
use vso_prober::model::cause::Cause;
use vso_prober::model::run::Attribution;

/// The ServiceAccount that gets the metrics.
const ACCOUNT: &str = "vso-prober-metrics";
/// A Pod of somebody else's, with the label of the operator's.
const FOREIGN: &str = "other-controller";
/// Where it is.
const ADDRESS: &str = "127.0.0.2";

/// What was sent to someone who listens: each time, the bearer token.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Serves metrics at an address, and hears what is sent there.
async fn listen(address: &str, port: u16, text: String) -> Result<(Heard, u16)> {
    let heard = Heard::default();
    let kept = heard.clone();
    let answer = async move |headers: HeaderMap| {
        let bearer = headers.get("authorization");
        let bearer = bearer.and_then(|value| value.to_str().ok());
        let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(bearer.unwrap_or_default().to_owned());
        text
    };
    let listener = TcpListener::bind((address, port)).await?;
    let port = listener.local_addr()?.port();
    let router = Router::new().route("/metrics", routing::get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((heard, port))
}

/// The account, its right to the metrics, and the prober's right to its tokens.
async fn account(scene: &Scene) -> Result<()> {
    let rbac = "rbac.authorization.k8s.io";
    let object = |kind: &str, namespace: Option<&str>, rest: Value| {
        let api = if kind == "ServiceAccount" {
            "v1"
        } else {
            "rbac.authorization.k8s.io/v1"
        };
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": ACCOUNT}});
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = namespace.into();
        }
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    };
    let subject =
        |name: &str| json!([{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]);
    let of = |kind: &str| json!({"apiGroup": rbac, "kind": kind, "name": ACCOUNT});
    let tokens = json!([{
        "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [ACCOUNT], "verbs": ["create"],
    }]);
    let home = Some(NAMESPACE);
    for object in [
        object("ServiceAccount", home, json!({})),
        object("Role", home, json!({"rules": tokens})),
        object(
            "RoleBinding",
            home,
            json!({"roleRef": of("Role"), "subjects": subject(PROBER)}),
        ),
        object(
            "ClusterRole",
            None,
            json!({"rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}),
        ),
        object(
            "ClusterRoleBinding",
            None,
            json!({"roleRef": of("ClusterRole"), "subjects": subject(ACCOUNT)}),
        ),
    ] {
        scene.apply(object).await?;
    }
    // The API server takes a moment to heed it.
    let file = scene.lab().prober_kubeconfig();
    eventually("right to a token", Duration::from_secs(20), async || {
        Ok(issued(scene, file).await.ok())
    })
    .await
    .map(drop)
}

/// A token, as the prober gets it.
async fn issued(scene: &Scene, kubeconfig: &Path) -> Result<String> {
    let command = format!(
        "kubectl --kubeconfig '{}' create token {ACCOUNT} -n {NAMESPACE}",
        kubeconfig.display()
    );
    Ok(scene.shell(&command).await?.trim().to_owned())
}

async fn port(scene: &Scene) -> Result<u16> {
    let url = scene.lab().metrics_url().await;
    let port = url.trim_end_matches("/metrics").rsplit(':').next();
    Ok(port.context("the URL has a port")?.parse()?)
}

/// A ready Pod in the operator's namespace, under the label that its chart has in common with every other controller.
async fn foreign(scene: &Scene) -> Result<Api<Pod>> {
    scene
        .apply(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": FOREIGN, "namespace": OPERATOR_NAMESPACE, "labels": {"control-plane": "controller-manager"},
            },
            "spec": {
                "schedulerName": "none", "automountServiceAccountToken": false,
                "containers": [{"name": "manager", "image": "example/cert-controller:1"}],
            },
        }))
        .await?;
    let pods: Api<Pod> = Api::namespaced(scene.lab().client(), OPERATOR_NAMESPACE);
    let ready = json!({"type": "Ready", "status": "True"});
    let status = json!({"status": {
        "phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}], "conditions": [ready],
    }});
    pods.patch_status(FOREIGN, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(pods)
}

/// Whatever bears the label in the operator's namespace: it is not shown a token, its numbers count for nothing, and that
/// it is ready does not make a dead operator one that stalls.
pub(super) async fn foreign_pod(scene: &Scene) -> Result<()> {
    account(scene).await?;
    let port = port(scene).await?;
    let (heard, _) = listen(ADDRESS, port, scene.lab().metrics().await?).await?;
    let pods = foreign(scene).await?;
    let tried = async {
        let source = json!({"pods": {"port": port, "scheme": "http"}, "serviceAccount": ACCOUNT});
        let configured = |probe| {
            let prober = scene.prober([probe]);
            prober.edit(|config| config["operator"]["metrics"] = source.clone())
        };
        let quick = Probe::kv2("beside").steps(&[Step::Create, Step::Delete]);
        let prober = configured(quick);
        let beside = prober.probe(&[]).await?.exits(0)?;
        let doctor = prober.run(&["doctor", "-o", "json"]).await?;
        scene.lab().kill_operator().await?;
        let down = configured(Probe::hasty("down", &[Step::Create]))
            .probe(&[])
            .await;
        scene.lab().start_operator().await?;
        anyhow::Ok((beside, doctor, down?.exits(1)?))
    };
    let tried = tried.await;
    let params = DeleteParams::default().grace_period(0);
    pods.delete(FOREIGN, &params).await?;
    let (beside, doctor, down) = tried?;
    ensure!(heard.all().is_empty(), "it was asked: {:?}", heard.all());
    let run = beside.only_run()?;
    let create = step(&run, Step::Create)?;
    ensure!(create.attribution == Attribution::Exact, "{create:#?}");
    beside.says(&["skipping a pod", FOREIGN])?;
    let told: Vec<Value> =
        serde_json::from_str(&doctor.stdout).with_context(|| doctor.to_string())?;
    let told = told.iter().any(|check| {
        let text = check["text"].as_str().unwrap_or_default();
        check["check"] == "operator" && check["result"] == "warning" && text.contains(FOREIGN)
    });
    ensure!(told, "{doctor}");
    blames(&down.only_run()?, Step::Create, Cause::OperatorDown)?;
    scene.serves().await
}

/// What is sent is a token of the account that may get the metrics, which is refused whatever else it is tried on, and is
/// not told.
pub(super) async fn token(scene: &Scene) -> Result<()> {
    account(scene).await?;
    let (heard, port) = listen("127.0.0.1", 0, scene.lab().metrics().await?).await?;
    let probe = Probe::kv2("borne").steps(&[Step::Create, Step::Delete]);
    let prober = scene.prober([probe]).edit(|config| {
        let url = format!("http://127.0.0.1:{port}/metrics");
        config["operator"]["metrics"] = json!({"url": url, "serviceAccount": ACCOUNT});
    });
    let outcome = prober.env("RUST_LOG", "trace").probe(&[]).await?.exits(0)?;
    let heard = heard.all();
    let bearer = heard.first().context("it was asked")?;
    let token = bearer.strip_prefix("Bearer ").context("with a token")?;
    ensure!(
        heard.len() > 1 && heard.iter().all(|one| one == bearer),
        "one token serves them all"
    );
    let secret = token.rsplit('.').next().context("a signature")?;
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    ensure!(!said.contains(secret), "the token is told");

    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(scene.lab().client());
    let review = reviews.create(&PostParams::default(), &review).await?;
    let user = review.status.and_then(|status| status.user?.username);
    let expected = format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}");
    ensure!(user.as_ref() == Some(&expected), "{user:?}");

    let kubeconfig = scene.kubeconfig(|_, user| user["token"] = token.into())?;
    let kubectl = format!("kubectl --kubeconfig '{}'", kubeconfig.display());
    scene
        .shell(&format!("{kubectl} get --raw /metrics"))
        .await?;
    for command in [
        "get secrets -n vso-probe",
        "get pods -n vault-secrets-operator-system",
        "get leases -n vault-secrets-operator-system",
        "get vaultstaticsecrets.secrets.hashicorp.com -n vso-probe",
        "create secret generic taken -n vso-probe",
        "create token vso-prober -n vso-probe",
        "create token vso-prober-metrics -n vso-probe",
        "get --raw /logs/",
        "get --raw /metrics/slis",
        "get --raw /configz",
    ] {
        let refused = scene.shell(&format!("{kubectl} {command} 2>&1")).await;
        let refused = refused
            .err()
            .with_context(|| format!("`{command}` is allowed"))?;
        ensure!(
            refused.to_string().contains("orbidden"),
            "{command}: {refused}"
        );
    }
    Ok(())
}
