//! Faults of the sources of the operator's metrics, and of the receivers of pushes.

use std::time::Duration;

use anyhow::Result;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing};
use e2e::lab::free_port;
use e2e::scenario::{Probe, Scene, eventually};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::net::TcpListener;

use super::patient::{Patient, Report};

pub(super) async fn url(scene: &Scene) -> Result<()> {
    let url = scene.lab().metrics_url().await;
    let wrong = url.replace("/metrics", "/metricz");
    let patient = super::patient(scene, "numberless").await?;
    patient
        .edit(|config| config["operator"]["metrics"]["url"] = wrong.into())
        .cured("metrics", &url)
        .await
        .map(drop)
}

/// Lets in as kube-rbac-proxy does: whom the API server knows, and who may get the path.
async fn proxy(
    State((client, text)): State<(Client, String)>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    let bearer = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let bearer = bearer.ok_or(StatusCode::UNAUTHORIZED)?;
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(bearer.to_owned()),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let review = reviews
        .create(&PostParams::default(), &review)
        .await
        .map_err(failed)?;
    let user = review
        .status
        .and_then(|status| status.user)
        .ok_or(StatusCode::UNAUTHORIZED)?;
    if user.username.is_none() {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let access = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            groups: user.groups,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some("/metrics".to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let accesses: Api<SubjectAccessReview> = Api::all(client);
    let access = accesses
        .create(&PostParams::default(), &access)
        .await
        .map_err(failed)?;
    match access.status {
        Some(status) if status.allowed => Ok(text),
        _ => Err(StatusCode::FORBIDDEN),
    }
}

/// A door that asks for a token: without one, with one that may not pass, and with the right to.
pub(super) async fn refused(scene: &Scene) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/metrics", listener.local_addr()?);
    let state = (scene.lab().client(), scene.lab().metrics().await?);
    let router = Router::new()
        .route("/metrics", routing::get(proxy))
        .with_state(state);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let patient = super::patient(scene, "unread").await?;
    let patient = patient.edit(|config| config["operator"]["metrics"] = json!({"url": url}));
    let report = Report::of(scene, &patient.prober, 1).await?;
    let fix = report
        .finding("metrics", "serviceAccount")?
        .fix
        .clone()
        .unwrap_or_default();
    let mut patient = patient.treated(&fix).await?;
    // The right to its token, the account, and its right to the metrics are missed one after the other.
    for (topic, words) in [
        ("rbac", "serviceaccounts/token"),
        (
            "metrics",
            "kubectl create serviceaccount vso-prober-metrics",
        ),
        ("rbac", "nonResourceURLs"),
    ] {
        let fix = eventually(words, Duration::from_secs(20), async || {
            let (_, report) = Report::any(scene, &patient.prober, &[]).await?;
            Ok(report
                .finding(topic, words)
                .ok()
                .and_then(|check| check.fix.clone()))
        })
        .await?;
        patient = patient.treated(&fix).await?;
    }
    patient.is_well().await?;
    server.abort();
    scene
        .shell(
            "kubectl delete clusterrolebinding,clusterrole vso-prober-metrics.vso-probe\n\
             kubectl delete serviceaccount vso-prober-metrics -n vso-probe",
        )
        .await
        .map(drop)
}

pub(super) async fn pushgateway(scene: &Scene) -> Result<()> {
    let port = free_port()?;
    let probe = [Probe::kv2("kv2")];
    let patient = Patient::new(scene, "unheard", probe).await?;
    let patient = patient.edit(|config| {
        config["push"]["pushgateway"]["url"] = format!("http://127.0.0.1:{port}").into();
    });
    let report = Report::of(scene, &patient.prober, 1).await?;
    report.finding("push", "start the receiver, or set `push.pushgateway.url`")?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let router = Router::new().route("/-/ready", routing::get(async || "OK"));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    patient.is_well().await?;
    server.abort();
    Ok(())
}
