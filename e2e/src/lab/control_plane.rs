//! Kubernetes' control plane: the API server with its audit log, and the controllers.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::Request;
use kube::core::params::GetParams;
use rustix::process::Signal;
use tokio::process::Command;

use super::keys::Keys;
use super::kubeconfig;
use super::part::{Part, Process};
use super::port;
use super::site::Site;

/// Whom the API server says its ServiceAccount tokens are from.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// Secrets, the operator's resources and tokens of ServiceAccounts, each request once it was answered; nothing else.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "serviceaccounts/token"]}, {"group": "secrets.hashicorp.com"}]},
    {"level": "None"}
  ]
}"#;

/// Those that a lab needs; each costs start-up time.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
    root-ca-certificate-publisher-controller,resourcequota-controller,job-controller,cronjob-controller";

/// Those that a node needs besides: what makes Pods of a Deployment, and what takes the taint of a new node away.
const NODE_CONTROLLERS: &str =
    "node-lifecycle-controller,deployment-controller,replicaset-controller,disruption-controller";

/// A running API server.
pub(crate) struct ApiServer {
    process: Mutex<Process>,
    /// What it is started with, so that it can be again.
    arguments: Vec<OsString>,
    pub(crate) address: String,
    /// Its certificate, which is its own authority.
    pub(crate) ca: String,
    pub(crate) admin: Client,
    pub(crate) admin_token: String,
    pub(crate) admin_kubeconfig: PathBuf,
    pub(crate) audit: PathBuf,
}

/// Starts the API server and waits until it answers, which is a second before it is ready.
pub(crate) async fn start_apiserver(site: &Site, etcd: &str, keys: &Keys) -> Result<ApiServer> {
    let port = port::free()?;
    let address = format!("https://127.0.0.1:{port}");
    let token = format!("{:032x}", rand::random::<u128>());
    let file = |name: &str, content: &str| site.write(name, content);
    let policy = file("audit-policy.json", AUDIT_POLICY)?;
    let tokens = file(
        "tokens.csv",
        &format!("{token},admin,admin,system:masters\n"),
    )?;
    let key = file("service-account.key", &keys.private)?;
    let public_key = file("service-account.pub", &keys.public)?;
    let certificates = site.folder.join("certificates");
    let audit = site.folder.join("kube-audit.log");
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut arguments: Vec<OsString> = [
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
        "--profiling=false",
        "--audit-log-mode=blocking",
    ]
    .map(OsString::from)
    .into();
    arguments.extend([
        format!("--etcd-servers={etcd}").into(),
        format!("--secure-port={port}").into(),
        format!("--service-account-issuer={ISSUER}").into(),
        format!("--api-audiences={ISSUER},vault").into(),
        flag("cert-dir", &certificates).into(),
        flag("token-auth-file", &tokens).into(),
        flag("service-account-key-file", &public_key).into(),
        flag("service-account-signing-key-file", &key).into(),
        flag("audit-policy-file", &policy).into(),
        flag("audit-log-path", &audit).into(),
    ]);
    let process = spawn_apiserver(site, &arguments)?;

    let certificate = certificates.join("apiserver.crt");
    let admin_kubeconfig = site.folder.join("admin.kubeconfig");
    let (admin, ca) = process
        .ready(Duration::from_secs(60), async || {
            let ca =
                fs::read_to_string(&certificate).context("it has written no certificate yet")?;
            let text = kubeconfig::render(
                &address,
                &ca,
                &[kubeconfig::User {
                    name: "admin",
                    token: &token,
                    namespace: "default",
                }],
            );
            site.write("admin.kubeconfig", &text)?;
            let candidate = connect(&text).await?;
            candidate.apiserver_version().await?;
            Ok((candidate, ca))
        })
        .await?;
    Ok(ApiServer {
        process: Mutex::new(process),
        arguments,
        address,
        ca,
        admin,
        admin_token: token,
        admin_kubeconfig,
        audit,
    })
}

fn spawn_apiserver(site: &Site, arguments: &[OsString]) -> Result<Process> {
    let mut command = Command::new(site.tools.kube_apiserver()?);
    site.spawn(Part::ApiServer, command.args(arguments))
}

impl ApiServer {
    /// Its process.
    pub(crate) fn process(&self) -> Process {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.clone()
    }

    /// Kills it and starts it again where it was. Waits until it is ready.
    pub(crate) async fn restart(&self, site: &Site) -> Result<()> {
        let old = self.process();
        old.signal(Signal::KILL)?;
        old.ended().await;
        let new = spawn_apiserver(site, &self.arguments)?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = new;
        self.settled().await
    }

    /// Waits until all that it does after its start is done.
    pub(crate) async fn settled(&self) -> Result<()> {
        let asked = async || {
            let readyz = Request::new("").get("readyz", &GetParams::default())?;
            let answer = self.admin.request_text(readyz).await?;
            ensure!(answer == "ok", "`{answer}`");
            Ok(())
        };
        self.process().ready(Duration::from_secs(60), asked).await
    }
}

/// A client for what a kubeconfig says.
pub(crate) async fn connect(kubeconfig: &str) -> Result<Client> {
    let parsed = Kubeconfig::from_yaml(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Starts the controllers. The CRDs must be there by now: the garbage collector looks for new kinds
/// only every 30 s, and would leave Secrets of kinds it does not know until then. The API server must be ready:
/// they wait for that for 10 s and then end, which a busy machine may need.
pub(crate) async fn start_controllers(site: &Site, apiserver: &ApiServer) -> Result<Process> {
    apiserver.settled().await?;
    let kubeconfig = apiserver.admin_kubeconfig.display();
    let controllers = if site.options.node {
        format!("{CONTROLLERS},{NODE_CONTROLLERS}")
    } else {
        CONTROLLERS.to_owned()
    };
    let mut command = Command::new(site.tools.kube_controller_manager()?);
    command
        .arg(format!("--kubeconfig={kubeconfig}"))
        .arg(format!(
            "--service-account-private-key-file={}",
            site.folder.join("service-account.key").display()
        ))
        .arg(format!(
            "--root-ca-file={}",
            site.folder.join("certificates/apiserver.crt").display()
        ))
        .args([
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
        ])
        .arg(format!("--controllers={controllers}"));
    let process = site.spawn(Part::ControllerManager, &mut command)?;
    process
        .ready(Duration::from_secs(60), async || {
            let log = process.log();
            ensure!(
                log.contains("Proceeding to collect garbage"),
                "its garbage collector has not synced yet"
            );
            Ok(())
        })
        .await?;
    Ok(process)
}
