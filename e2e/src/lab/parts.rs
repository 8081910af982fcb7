//! The parts of a lab, started concurrently as far as their dependencies allow.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures::try_join;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::cluster::{self, Tokens};
use super::configuration::Configuration;
use super::control_plane::{self, ApiServer};
use super::etcd::{self, Etcd};
use super::keys::Keys;
use super::kubeconfig::{self, User};
use super::node::Node;
use super::operator::Operator;
use super::part::Process;
use super::postgres::{self, Postgres};
use super::site::Site;
use super::vault::Vault;
use super::vault::setup::{self, AppRole, Cluster};
use super::{NAMESPACE, OPERATOR_NAMESPACE, PROBER, port};

/// The parts of a running lab.
pub(crate) struct Parts {
    pub(crate) etcd: Etcd,
    pub(crate) apiserver: ApiServer,
    pub(crate) controllers: Process,
    pub(crate) vault: Vault,
    pub(crate) postgres: Postgres,
    pub(crate) operator: Arc<Mutex<Operator>>,
    pub(crate) node: Option<Node>,
    pub(crate) access: Access,
    /// What any Vault must know of Kubernetes.
    pub(crate) cluster: Cluster,
}

/// Files that let someone in.
#[derive(Debug)]
pub(crate) struct Access {
    /// A kubeconfig with the contexts `admin`, the current one, and `vso-prober`.
    pub(crate) kubeconfig: PathBuf,
    /// A kubeconfig for the prober alone.
    pub(crate) prober_kubeconfig: PathBuf,
    /// The prober's ServiceAccount token for Vault.
    pub(crate) prober_token: PathBuf,
    /// The ID of the prober's AppRole.
    pub(crate) role_id: PathBuf,
    /// Its secret.
    pub(crate) secret_id: PathBuf,
}

impl Parts {
    pub(crate) async fn start(site: &Arc<Site>) -> Result<Self> {
        let keys = Keys::generate()?;
        let ((etcd, apiserver, (tokens, unhindered)), (vault, approle), postgres) =
            try_join!(kubernetes(site, &keys), vault(site), postgres(site))?;
        let access = Access::write(site, &apiserver, &tokens, &approle)?;
        let cluster = Cluster {
            address: apiserver.address.clone(),
            ca: apiserver.ca.clone(),
            reviewer: tokens.reviewer.clone(),
            public_key: keys.public,
        };
        let logins = async {
            site.say("vault: logins for Kubernetes' ServiceAccounts");
            setup::logins(&vault, &cluster).await
        };
        let (controllers, operator, node, (), (), ()) = try_join!(
            control_plane::start_controllers(site, &apiserver),
            start_operator(site, &apiserver, &tokens),
            start_node(site, &apiserver, &vault),
            setup::database(&vault, postgres.address),
            cluster::references(&apiserver.admin, vault.address()),
            logins,
        )?;
        let configuration = Configuration {
            vault: vault.address(),
            token: &access.prober_token,
            metrics: &operator.metrics_url(),
            postgres: postgres.address,
        };
        site.write("prober.yaml", configuration.render())?;
        sleep_until(unhindered).await;
        let operator = Arc::new(Mutex::new(operator));
        Ok(Self {
            etcd,
            apiserver,
            controllers,
            vault,
            postgres,
            operator,
            node,
            access,
            cluster,
        })
    }
}

async fn kubernetes(site: &Arc<Site>, keys: &Keys) -> Result<(Etcd, ApiServer, (Tokens, Instant))> {
    site.say("etcd: starting");
    let etcd = port::retry(async || etcd::start(site).await).await?;
    site.say("kube-apiserver: starting");
    let start = async || control_plane::start_apiserver(site, &etcd.address, keys).await;
    let apiserver = port::retry(start).await?;
    site.say("kube-apiserver: CRDs, namespaces, accounts");
    let crds = site
        .options
        .operator
        .as_ref()
        .map(|real| real.crds.as_path());
    let prepared = cluster::prepare(&apiserver.admin, crds).await?;
    Ok((etcd, apiserver, prepared))
}

async fn vault(site: &Arc<Site>) -> Result<(Vault, AppRole)> {
    site.say("vault: starting");
    let vault = port::retry(async || Vault::start(site).await).await?;
    site.say("vault: secrets engines, auth methods, policies");
    let approle = setup::alone(&vault).await?;
    Ok((vault, approle))
}

async fn postgres(site: &Arc<Site>) -> Result<Postgres> {
    site.say("postgres: making a database");
    postgres::init(site).await?;
    port::retry(async || postgres::start(site).await).await
}

async fn start_operator(
    site: &Arc<Site>,
    apiserver: &ApiServer,
    tokens: &Tokens,
) -> Result<Operator> {
    // It asks what resources there are at once, and may not before the default roles are there.
    apiserver.settled().await?;
    site.say("operator: starting");
    let user = User {
        name: "operator",
        token: &tokens.operator,
        namespace: OPERATOR_NAMESPACE,
    };
    let text = kubeconfig::render(&apiserver.address, &apiserver.ca, &[user]);
    let kubeconfig = site.write("operator.kubeconfig", text)?;
    Operator::start(site, apiserver.admin.clone(), kubeconfig).await
}

async fn start_node(
    site: &Arc<Site>,
    apiserver: &ApiServer,
    vault: &Vault,
) -> Result<Option<Node>> {
    if !site.options.node {
        return Ok(None);
    }
    apiserver.settled().await?;
    Node::start(site, apiserver, vault.address())
        .await
        .map(Some)
}

impl Access {
    fn write(
        site: &Site,
        apiserver: &ApiServer,
        tokens: &Tokens,
        approle: &AppRole,
    ) -> Result<Self> {
        let admin = User {
            name: "admin",
            token: &apiserver.admin_token,
            namespace: NAMESPACE,
        };
        let prober = User {
            name: PROBER,
            token: &tokens.prober,
            namespace: NAMESPACE,
        };
        let render =
            |users: &[User<'_>]| kubeconfig::render(&apiserver.address, &apiserver.ca, users);
        Ok(Self {
            kubeconfig: site.write("kubeconfig", render(&[admin, prober]))?,
            prober_kubeconfig: site.write("prober.kubeconfig", render(&[prober]))?,
            prober_token: site.write("prober.jwt", &tokens.prober_vault)?,
            role_id: site.write("role-id", &approle.role_id)?,
            secret_id: site.write("secret-id", &approle.secret_id)?,
        })
    }
}

/// Keeps the operator's Pod true to its process for as long as it is polled.
pub(crate) async fn reflect(operator: Arc<Mutex<Operator>>) {
    let mut tick = interval(Duration::from_millis(250));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = operator.lock().await.reflect().await {
            tracing::debug!("the operator's Pod was not updated: {error:#}");
        }
    }
}
