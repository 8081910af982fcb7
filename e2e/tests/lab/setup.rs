//! Tests of a lab's set-up: secrets are synced, logins work, rights are the least.

use std::process::Command;
use std::time::Duration;

use e2e::lab::{Lab, NAMESPACE, OPERATOR_NAMESPACE, PROBER, Part, Tools, Vault};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};
use vso_prober::operator::api::{
    Destination, VaultDynamicSecret, VaultDynamicSecretSpec, VaultStaticSecret,
    VaultStaticSecretSpec,
};

/// Asks until the answer is `Some`.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let mut tick = interval(Duration::from_millis(50));
    let asked = async {
        loop {
            tick.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    timeout(Duration::from_secs(30), asked)
        .await
        .unwrap_or_else(|_| panic!("not within 30 s: {what}"))
}

fn destination(name: &str) -> Destination {
    Destination {
        name: name.into(),
        create: true,
        ..Destination::default()
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.clone()).ok()
}

#[tokio::test]
async fn what_is_set_up_works() {
    let lab = Lab::start().await.expect("a lab starts");
    let prober = lab
        .prober_client()
        .await
        .expect("the prober has a kubeconfig");
    the_prober_logs_in_every_way(&lab).await;
    the_prober_has_its_rights_and_no_more(&prober).await;
    a_static_secret_is_synced_and_collected(&lab, &prober).await;
    a_credential_opens_the_database(&lab, &prober).await;
    vault_is_sealed_and_unsealed(lab.vault()).await;
    the_pod_follows_the_operator(&lab).await;
    a_part_that_ended_says_so(&lab).await;
}

async fn the_prober_logs_in_every_way(lab: &Lab) {
    let read = |path| std::fs::read_to_string(path).expect("the lab wrote it");
    let jwt = json!({"role": PROBER, "jwt": read(lab.prober_token_file())});
    let (role_id, secret_id) = lab.approle_files();
    let approle = json!({"role_id": read(role_id), "secret_id": read(secret_id)});
    let anyone = lab.vault().with_token("");
    let logins = [("kubernetes", &jwt), ("jwt", &jwt), ("approle", &approle)];
    for (mount, body) in logins {
        let path = format!("auth/{mount}/login");
        let answer = anyone.write(&path, body.clone()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{mount}: {error:#}"));
        let token = answer["auth"]["client_token"]
            .as_str()
            .expect("a login gives a token");
        let prober = lab.vault().with_token(token);
        let own = format!("kvv2/data/vso-prober/{mount}");
        prober
            .write(&own, json!({"data": {"by": mount}}))
            .await
            .expect("it may write canaries");
        prober
            .read("auth/token/lookup-self")
            .await
            .expect("it may look at its token");
        prober
            .read("kvv2/data/else")
            .await
            .expect_err("it may not read elsewhere");
        prober
            .read("database/creds/probe")
            .await
            .expect_err("it may not get credentials");
    }
    let lines = lab.vault_audit().expect("Vault keeps an audit log");
    let logged = |line: &&_| matches!(line, e2e::lab::VaultLine { request, .. } if request.path == "auth/jwt/login");
    assert_eq!(
        lines.iter().filter(logged).count(),
        2,
        "a request and a response"
    );
}

async fn the_prober_has_its_rights_and_no_more(prober: &Client) {
    let secrets: Api<Secret> = Api::namespaced(prober.clone(), NAMESPACE);
    secrets
        .list(&kube::api::ListParams::default())
        .await
        .expect("it may list Secrets");
    let elsewhere: Api<Secret> = Api::namespaced(prober.clone(), OPERATOR_NAMESPACE);
    elsewhere.get("any").await.expect_err("not the operator's");
    let maps: Api<ConfigMap> = Api::namespaced(prober.clone(), NAMESPACE);
    maps.get("kube-root-ca.crt")
        .await
        .expect_err("nor anything else");
    let pods: Api<Pod> = Api::namespaced(prober.clone(), OPERATOR_NAMESPACE);
    let found = pods
        .list(&kube::api::ListParams::default().labels("control-plane=controller-manager"))
        .await;
    assert_eq!(
        found
            .expect("it may look at the operator's Pods")
            .items
            .len(),
        1
    );
}

async fn a_static_secret_is_synced_and_collected(lab: &Lab, prober: &Client) {
    let data = json!({"data": {"nonce": "4711"}});
    lab.vault()
        .write("kvv2/data/vso-prober/setup", data)
        .await
        .expect("root may write");
    let spec = VaultStaticSecretSpec {
        vault_auth_ref: Some("probe".into()),
        mount: "kvv2".into(),
        path: "vso-prober/setup".into(),
        type_: "kv-v2".into(),
        hmac_secret_data: true,
        destination: destination("setup-static"),
        ..VaultStaticSecretSpec::default()
    };
    let resources: Api<VaultStaticSecret> = Api::namespaced(prober.clone(), NAMESPACE);
    let resource = VaultStaticSecret::new("setup-static", spec);
    resources
        .create(&PostParams::default(), &resource)
        .await
        .expect("the prober may create it");
    let secrets: Api<Secret> = Api::namespaced(prober.clone(), NAMESPACE);
    let synced = async || {
        secrets
            .get_opt("setup-static")
            .await
            .expect("it may read Secrets")
    };
    let secret = until("the Secret is there", synced).await;
    assert_eq!(text(&secret, "nonce").as_deref(), Some("4711"));

    let requests = lab.kube_audit().expect("the API server keeps an audit log");
    let written = |request: &&e2e::lab::KubeRequest| {
        let object = &request.object_ref;
        request.verb == "create" && object.resource == "secrets" && object.name == "setup-static"
    };
    let request = requests
        .iter()
        .find(written)
        .expect("the Secret's creation is in it");
    assert_eq!(request.response_status.code, 201);
    assert!(
        request.user.username.contains(OPERATOR_NAMESPACE),
        "{}",
        request.user.username
    );
    assert!(request.request_received_timestamp <= request.stage_timestamp);

    resources
        .delete("setup-static", &DeleteParams::default())
        .await
        .expect("the prober may delete it");
    let gone = async || {
        secrets
            .get_opt("setup-static")
            .await
            .expect("it may read Secrets")
            .is_none()
            .then_some(())
    };
    until("the Secret is collected", gone).await;
}

async fn a_credential_opens_the_database(lab: &Lab, prober: &Client) {
    let spec = VaultDynamicSecretSpec {
        vault_auth_ref: Some("probe".into()),
        mount: "database".into(),
        path: "creds/probe".into(),
        renewal_percent: 67,
        destination: destination("setup-dynamic"),
        ..VaultDynamicSecretSpec::default()
    };
    let resources: Api<VaultDynamicSecret> = Api::namespaced(prober.clone(), NAMESPACE);
    let resource = VaultDynamicSecret::new("setup-dynamic", spec);
    resources
        .create(&PostParams::default(), &resource)
        .await
        .expect("the prober may create it");
    let secrets: Api<Secret> = Api::namespaced(prober.clone(), NAMESPACE);
    let credential = until("a credential is there", async || {
        let secret = secrets
            .get_opt("setup-dynamic")
            .await
            .expect("it may read Secrets")?;
        Some((text(&secret, "username")?, text(&secret, "password")?))
    })
    .await;
    let (user, password) = credential;
    let login = |password: &str| {
        let mut psql = Command::new(
            Tools::postgres()
                .expect("PostgreSQL is installed")
                .join("psql"),
        );
        let port = lab.postgres().port().to_string();
        psql.env("PGPASSWORD", password).args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            &user,
            "-c",
            "select 1",
            "postgres",
        ]);
        psql.output().expect("psql runs").status.success()
    };
    assert!(login(&password), "the credential lets its user in");
    assert!(!login("wrong"), "another password does not");
    let issue = json!({"common_name": "canary.example"});
    lab.vault()
        .write("pki/issue/probe", issue)
        .await
        .expect("certificates can be had");
}

async fn vault_is_sealed_and_unsealed(vault: &Vault) {
    vault.seal().await.expect("it can be sealed");
    vault
        .read("kvv2/data/vso-prober/setup")
        .await
        .expect_err("it is sealed");
    vault.unseal().await.expect("it can be unsealed");
    let answer = vault
        .read("kvv2/data/vso-prober/setup")
        .await
        .expect("it is unsealed");
    assert_eq!(answer["data"]["data"]["nonce"], Value::from("4711"));
}

async fn the_pod_follows_the_operator(lab: &Lab) {
    let pods: Api<Pod> = Api::namespaced(lab.client(), OPERATOR_NAMESPACE);
    let state = async || {
        let list = pods
            .list(&kube::api::ListParams::default())
            .await
            .expect("admin may list Pods");
        let status = list
            .items
            .into_iter()
            .next()?
            .status?
            .container_statuses?
            .pop()?;
        let code = status.state?.terminated.map(|ended| ended.exit_code);
        Some((status.ready, status.restart_count, code))
    };
    assert_eq!(state().await, Some((true, 0, None)));
    let metrics = lab.metrics().await.expect("it has metrics");
    assert!(metrics.contains("controller_runtime_reconcile_total"));

    lab.pause(Part::Operator).await.expect("it can be frozen");
    until("a frozen operator is not ready", async || {
        (state().await == Some((false, 0, None))).then_some(())
    })
    .await;
    lab.resume(Part::Operator).await.expect("it can go on");
    until("it is ready again", async || {
        (state().await == Some((true, 0, None))).then_some(())
    })
    .await;

    lab.kill_operator().await.expect("it can be killed");
    assert_eq!(state().await, Some((false, 0, Some(137))));
    lab.start_operator().await.expect("it can be started again");
    assert_eq!(state().await, Some((true, 1, None)));
    lab.stop_operator().await.expect("it can be stopped");
    assert_eq!(state().await, Some((false, 1, Some(0))));
}

async fn a_part_that_ended_says_so(lab: &Lab) {
    lab.check().await.expect("all parts live");
    let vault = lab.process(Part::Vault).await;
    vault.signal(Signal::KILL).expect("it can be killed");
    vault.ended().await;
    let error = lab.check().await.expect_err("Vault has ended").to_string();
    assert!(
        error.starts_with("vault (pid ") && error.contains("[INFO]"),
        "{error}"
    );
}
