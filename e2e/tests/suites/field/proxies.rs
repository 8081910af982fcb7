//! Proxies on the way to Vault and to Kubernetes, and kubeconfigs as kubectl takes them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use e2e::scenario::{Proxy, Scene};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::way::{prober, works};
use crate::security::tls::{Authority, Front};

/// A name that nobody but the proxy resolves.
const HIDDEN: &str = "vault.corp.example";
/// A proxy where none listens.
const NOBODY: &str = "http://127.0.0.1:9";

/// An HTTP proxy, as companies have one: it knows some names, and forwards to these. Dropping it closes it.
struct Forward {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Forward {
    async fn start(names: &[(&str, SocketAddr)]) -> Result<Self> {
        let names: HashMap<_, _> = names
            .iter()
            .map(|(name, to)| ((*name).to_owned(), *to))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (names, log) = (Arc::new(names), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, names.clone(), log.clone()));
            }
        });
        Ok(Self {
            address,
            asked,
            task,
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked for, each by its first line.
    fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut near: TcpStream,
    names: Arc<HashMap<String, SocketAddr>>,
    log: Arc<Mutex<Vec<String>>>,
) -> Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        ensure!(near.read_buf(&mut head).await? > 0, "cut off");
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let first = text.lines().next().unwrap_or_default().to_owned();
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(first.clone());
    let mut words = first.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let rest = target.strip_prefix("http://").unwrap_or(target);
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    let Some(to) = names.get(host) else {
        near.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            .await?;
        return Ok(());
    };
    let mut far = TcpStream::connect(to).await?;
    if method == "CONNECT" {
        near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
    } else {
        far.write_all(&head).await?;
    }
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

fn socket(url: &str) -> Result<SocketAddr> {
    let (_, address) = url.split_once("://").context("no URL")?;
    Ok(address.parse()?)
}

/// Vault that only a proxy reaches, by name: `probe` and `doctor` go through it, and `doctor` says so.
pub(super) async fn vault(scene: &Scene) -> Result<()> {
    let address = scene.lab().vault().address();
    let authority = Authority::of("ca", &[HIDDEN])?;
    let front = Front::start(address, &authority).await?;
    let proxy = Forward::start(&[(HIDDEN, socket(address)?)]).await?;
    let plain = prober(scene)
        .vault(&format!("http://{HIDDEN}:8200"))
        .env("HTTP_PROXY", proxy.url());
    works(&plain).await?;
    let told = plain.run(&["doctor"]).await?.exits(0)?;
    let through = format!("through the proxy {} (HTTP_PROXY)", proxy.url());
    ensure!(told.stdout.contains(&through), "{told}");
    ensure!(!proxy.asked().is_empty(), "{told}");

    let proxy = Forward::start(&[(HIDDEN, ([127, 0, 0, 1], front.port).into())]).await?;
    let file = scene.file(&authority.pem)?;
    let tls = prober(scene)
        .vault(&format!("https://{HIDDEN}:8200"))
        .edit(|config| config["vault"]["caFile"] = json!(file))
        .env("HTTPS_PROXY", proxy.url());
    works(&tls).await?;
    let tunnel = format!("CONNECT {HIDDEN}:8200");
    ensure!(
        proxy.asked().iter().all(|line| line.starts_with(&tunnel)),
        "{:?}",
        proxy.asked()
    );
    // By another name than the address, behind the proxy too.
    let proxy = Forward::start(&[("other.example", ([127, 0, 0, 1], front.port).into())]).await?;
    let renamed = tls
        .vault("https://other.example:8200")
        .edit(|config| config["vault"]["tlsServerName"] = json!(HIDDEN))
        .env("HTTPS_PROXY", proxy.url());
    works(&renamed).await
}

/// A proxy that is down is named by all who meet it; who excludes Vault from it does not.
pub(super) async fn down(scene: &Scene) -> Result<()> {
    let prober = prober(scene)
        .vault("http://10.255.255.1:8200")
        .env("HTTP_PROXY", NOBODY);
    let run = prober.probe(&[]).await?.exits(3)?;
    ensure!(
        run.stdout.contains("through the proxy http://127.0.0.1:9"),
        "{run}"
    );
    let told = prober.run(&["doctor"]).await?.exits(1)?;
    for words in ["127.0.0.1:9 (proxy)", "add 10.255.255.1 to NO_PROXY"] {
        ensure!(told.stdout.contains(words), "{words}: {told}");
    }
    // This machine is reached without, whatever is set.
    let near = prober.vault(scene.lab().vault().address());
    works(&near).await
}

/// A workstation with `HTTPS_PROXY` set, whose `NO_PROXY` has the API server, in a list as people write it.
pub(super) async fn none_to_kubernetes(scene: &Scene) -> Result<()> {
    let kubeconfig = scene.kubeconfig(|cluster, _| {
        let server = cluster["server"].as_str().unwrap_or_default();
        cluster["server"] = server.replace("127.0.0.1", "localhost").into();
        cluster["tls-server-name"] = "127.0.0.1".into();
    })?;
    let prober = prober(scene).env("HTTPS_PROXY", NOBODY);
    works(&prober).await?;
    let listed = prober
        .kubeconfig(&kubeconfig)
        .env("NO_PROXY", ".svc, 10.0.0.0/8,localhost:1,");
    works(&listed).await
}

/// The API server by a proxy of the environment, or by the kubeconfig's own.
pub(super) async fn kubernetes(scene: &Scene) -> Result<()> {
    let server = scene.lab().api_server()?;
    let kubeconfig = scene.kubeconfig(|cluster, _| {
        let port = server.rsplit(':').next().unwrap_or_default();
        cluster["server"] = format!("https://api.corp.example:{port}").into();
        cluster["tls-server-name"] = "127.0.0.1".into();
    })?;
    let proxy = Forward::start(&[("api.corp.example", socket(&server)?)]).await?;
    let prober = prober(scene).kubeconfig(&kubeconfig);
    works(&prober.clone().env("HTTPS_PROXY", proxy.url())).await?;
    let unreached = prober.clone().env("HTTPS_PROXY", NOBODY);
    let told = unreached.run(&["doctor"]).await?.exits(1)?;
    let through = "through the proxy http://127.0.0.1:9 (HTTPS_PROXY)";
    ensure!(told.stdout.contains(through), "{told}");
    let text = std::fs::read_to_string(&kubeconfig)?;
    let mut named: Value = serde_json::from_str(&text)?;
    named["clusters"][0]["cluster"]["proxy-url"] = proxy.url().into();
    let named = scene.file(&named.to_string())?;
    let own = prober
        .kubeconfig(&named)
        .env("HTTPS_PROXY", NOBODY)
        .env("NO_PROXY", "*");
    works(&own).await
}

/// `KUBECONFIG` as a list of which some are absent.
pub(super) async fn kubeconfigs(scene: &Scene) -> Result<()> {
    let file = scene.lab().prober_kubeconfig().display().to_string();
    let list = format!("/absent:{file}:/absent/too");
    works(&prober(scene).env("KUBECONFIG", list)).await?;
    let run = prober(scene)
        .env("KUBECONFIG", "/absent:/absent/too")
        .probe(&[])
        .await?;
    ensure!(run.stdout.contains("/absent:/absent/too"), "{run}");
    Ok(())
}

/// A kubeconfig as Rancher writes it: the API server is under a path.
pub(super) async fn kubernetes_under_a_path(scene: &Scene) -> Result<()> {
    let path = "/k8s/clusters/c-m-x7k2p";
    let text = std::fs::read_to_string(scene.lab().prober_kubeconfig())?;
    let config: Value = serde_json::from_str(&text)?;
    let front = Proxy::watching_under(&config["clusters"][0]["cluster"], path).await?;
    let kubeconfig = scene.kubeconfig(|cluster, _| {
        *cluster = json!({"server": format!("{}{path}", front.address())});
    })?;
    works(&prober(scene).kubeconfig(&kubeconfig)).await
}

/// A kubeconfig whose token a program gives, as those of the clouds do.
pub(super) async fn plugin(scene: &Scene) -> Result<()> {
    let mut token = Value::Null;
    scene.kubeconfig(|_, user| token = user["token"].clone())?;
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token},
    });
    let credential = scene.file(&credential.to_string())?;
    let kubeconfig = scene.kubeconfig(|_, user| {
        *user = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [credential],
            "interactiveMode": "Never",
        }});
    })?;
    works(&prober(scene).kubeconfig(&kubeconfig)).await
}
