//! A cluster with what the shipped manifests suppose: the image on its node, Vault's policies and roles, and the parts where they
//! look for them.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{Door, NAMESPACE, NODE_ADDRESS, Node, Pushgateway};
use e2e::scenario::{Scene, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::attribution::tls;
use crate::manifests::shipped;

/// Where the overlay leaves open how the operator reaches Vault.
const VAULT: &str = "address: VAULT\n";

/// How long Pods may take to come or go.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Cluster<'a> {
    scene: &'a Scene,
    pub(crate) pushgateway: Pushgateway,
    proxy: JoinHandle<()>,
    _doors: [Door; 2],
}

impl<'a> Cluster<'a> {
    pub(crate) async fn start(scene: &'a Scene) -> Result<Self> {
        let node = node(scene)?;
        image(scene, node).await?;
        shipped::prometheus_operator(scene).await?;
        // All but the last, which applies the manifests.
        let vault = shipped::commands()?;
        let root = shipped::root();
        for command in &vault[..vault.len() - 1] {
            let script = format!("cd '{}'\n{command}", root.display());
            scene.shell(&script).await?;
        }
        let pushgateway = Pushgateway::start().await?;
        let (proxy, metrics) = proxy(scene).await?;
        let doors = [
            node.open(8443, metrics)?,
            node.open(9091, address(&pushgateway.url())?)?,
        ];
        Ok(Self {
            scene,
            pushgateway,
            proxy,
            _doors: doors,
        })
    }

    /// Applies an overlay of `tests/node`.
    pub(crate) async fn apply(&self, overlay: &str) -> Result<()> {
        let folder = shipped::root().join("e2e/tests/suites/node").join(overlay);
        let script = format!("kubectl kustomize '{}'", folder.display());
        let rendered = self.scene.shell(&script).await?;
        ensure!(rendered.contains(VAULT), "no {VAULT} in {rendered}");
        let address = format!("address: {}\n", self.scene.lab().vault().address());
        let rendered = rendered.replace(VAULT, &address);
        let arguments = ["apply", "--filename", "-"];
        self.scene.kubectl(&arguments, &rendered).await.map(drop)
    }

    /// Waits until no Pod is left.
    pub(crate) async fn is_empty(&self) -> Result<()> {
        eventually("end of the Pods", PATIENCE, async || {
            Ok(self.pods("").await?.is_empty().then_some(()))
        })
        .await
    }

    /// The Pods with these labels.
    pub(crate) async fn pods(&self, labels: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.scene.lab().client(), NAMESPACE);
        Ok(pods
            .list(&ListParams::default().labels(labels))
            .await?
            .items)
    }

    /// What is known of the Pods: for who reads of a failure.
    pub(crate) async fn state(&self) -> String {
        let script = format!(
            "kubectl -n {NAMESPACE} get jobs,pods; kubectl -n {NAMESPACE} get events | tail -n 20"
        );
        let mut state = self.scene.shell(&script).await.unwrap_or_default();
        for pod in self.pods("").await.unwrap_or_default() {
            let name = pod.name_any();
            let script = format!("kubectl -n {NAMESPACE} logs --tail 40 {name}");
            let log = self.scene.shell(&script).await;
            let log = log.unwrap_or_else(|error| format!("{error:#}"));
            let _ = write!(state, "\nthe log of {name}:\n{log}");
        }
        state
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

pub(crate) fn node(scene: &Scene) -> Result<&Node> {
    scene.lab().node().context("this lab has a node")
}

/// Puts the image of this build on the node, as `make image` makes it.
async fn image(scene: &Scene, node: &Node) -> Result<()> {
    let archive = scene.lab().folder().join("image.tar");
    if archive.exists() {
        return Ok(());
    }
    let program = env!("CARGO_BIN_EXE_image");
    let binary = std::path::Path::new(program).with_file_name("vso-prober");
    let made = Command::new(program)
        .arg(binary)
        .arg("--output")
        .arg(&archive)
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    let imported = node.import(&archive).await;
    if imported.is_err() {
        fs::remove_file(&archive)?;
    }
    imported
}

fn address(url: &str) -> Result<SocketAddr> {
    let address = url.trim_start_matches("http://").split('/').next();
    Ok(address.unwrap_or_default().parse()?)
}

/// Stands before the operator's metrics as the proxy of its chart does, with a certificate of no one's.
async fn proxy(scene: &Scene) -> Result<(JoinHandle<()>, SocketAddr)> {
    let metrics = address(&scene.lab().metrics_url().await)?;
    let acceptor = tls::acceptor(scene)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut near = acceptor.accept(stream).await?;
                copy_bidirectional(&mut near, &mut TcpStream::connect(metrics).await?).await
            });
        }
    });
    Ok((task, address))
}

/// Where a Pod is reached from the machine. It may hold the Lease before its kubelet has told its address.
pub(crate) async fn reach(scene: &Scene, pod: &Pod, port: u16) -> Result<Door> {
    let pods: Api<Pod> = Api::namespaced(scene.lab().client(), NAMESPACE);
    let ip = eventually("address of the Pod", PATIENCE, async || {
        Ok(pods
            .get(&pod.name_any())
            .await?
            .status
            .and_then(|status| status.pod_ip))
    });
    let ip = ip.await?.parse::<Ipv4Addr>()?;
    ensure!(ip != NODE_ADDRESS, "a Pod has an address of its own");
    node(scene)?.reach((ip, port).into()).await
}
