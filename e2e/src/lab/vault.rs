//! Vault: a dev server of OpenBao or of HashiCorp, and requests to it as root.

mod raft;
pub(crate) mod setup;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::part::{Part, Process};
use super::port;
use super::site::Site;

/// A running Vault and its root token.
#[derive(Clone, Debug)]
pub struct Vault {
    process: Process,
    http: reqwest::Client,
    address: String,
    token: String,
    audit: PathBuf,
    listeners: Option<Listeners>,
}

/// Where Vault listens besides, on ports of loopback.
#[derive(Clone, Copy, Debug)]
struct Listeners {
    six: u16,
    proxied: u16,
}

impl Listeners {
    fn new() -> Result<Self> {
        let (six, proxied) = (port::free()?, port::free()?);
        Ok(Self { six, proxied })
    }

    /// As they stand in Vault's configuration.
    fn configured(self) -> String {
        let Self { six, proxied } = self;
        format!(
            "listener \"tcp\" {{\n  address = \"[::1]:{six}\"\n  tls_disable = true\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{proxied}\"\n  tls_disable = true\n  proxy_protocol_behavior = \"use_always\"\n}}\n"
        )
    }
}

impl Vault {
    pub(crate) async fn start(site: &Site) -> Result<Self> {
        let port = port::free()?;
        let token = format!("root-{:032x}", rand::random::<u128>());
        let audit = site.folder.join("vault-audit.log");
        let mut command = program(site)?;
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={token}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", &site.folder);
        let listeners = site.options.listeners.then(Listeners::new).transpose()?;
        let mut config = listeners.map_or_else(String::new, Listeners::configured);
        if site.options.vault.is_none() {
            // OpenBao takes audit devices from its configuration, and others only where that says so.
            config.push_str(
                "unsafe_allow_api_audit_creation = true\nallow_audit_log_prefixing = true\n",
            );
            config.push_str(&device(&audit));
        }
        if !config.is_empty() {
            let file = site.write("vault.hcl", config)?;
            command.arg(format!("-config={}", file.display()));
        }
        let process = site.spawn(Part::Vault, &mut command)?;
        let address = format!("http://127.0.0.1:{port}");
        let vault = Self {
            process,
            http: site.http.clone(),
            address,
            token,
            audit,
            listeners,
        };
        // Only this server knows the token, so an answer can't be another's.
        let asked = async || vault.read("auth/token/lookup-self").await;
        vault.process.ready(Duration::from_secs(30), asked).await?;
        if site.options.vault.is_some() {
            vault.log_requests(&vault.audit).await?;
        }
        Ok(vault)
    }

    /// Has HashiCorp Vault log requests; OpenBao takes that from its configuration.
    async fn log_requests(&self, log: &Path) -> Result<()> {
        let device = json!({"type": "file", "options": {"file_path": log}});
        self.write("sys/audit/file", device).await.map(drop)
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its address, e.g. `http://127.0.0.1:8200`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its address by IPv6, if its lab has listeners.
    pub fn six(&self) -> Result<String> {
        Ok(format!("http://[::1]:{}", self.listeners()?.six))
    }

    /// Where it takes connections that begin with a header of the PROXY protocol, if its lab has listeners.
    pub fn proxied(&self) -> Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.listeners()?.proxied))
    }

    fn listeners(&self) -> Result<&Listeners> {
        self.listeners.as_ref().context("the lab has no listeners")
    }

    /// The root token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The file that its audit log is in.
    pub fn audit_log(&self) -> &Path {
        &self.audit
    }

    /// The same server, asked with another token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            ..self.clone()
        }
    }

    /// The same server, asked from another of the machine's addresses, e.g. 127.0.0.9.
    pub fn from(&self, address: IpAddr) -> Result<Self> {
        let http = reqwest::Client::builder().local_address(address).build();
        Ok(Self {
            http: http.context("could not make a client")?,
            ..self.clone()
        })
    }

    /// Sends a request to `path` under `/v1/` and returns whatever comes back; an empty body as null.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let url = format!("{}/v1/{path}", self.address);
        let mut request = self
            .http
            .request(method.clone(), &url)
            .header("X-Vault-Token", &self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let tried = || format!("{method} {url}");
        let response = request.send().await.with_context(tried)?;
        let status = response.status();
        let text = response.text().await.with_context(tried)?;
        if text.is_empty() {
            return Ok((status, Value::Null));
        }
        Ok((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.send(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} `{path}` in Vault was answered {status}: {answer}");
        }
        Ok(answer)
    }

    /// Reads a path.
    pub async fn read(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Writes to a path.
    pub async fn write(&self, path: &str, body: Value) -> Result<Value> {
        self.call(Method::PUT, path, Some(&body)).await
    }

    /// Deletes a path.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    /// The keys under a path; none if it does not exist.
    pub async fn list(&self, path: &str) -> Result<Vec<String>> {
        let (status, answer) = self
            .send(Method::GET, &format!("{path}?list=true"), None)
            .await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        ensure!(
            status.is_success(),
            "LIST `{path}` in Vault was answered {status}: {answer}"
        );
        Ok(serde_json::from_value(answer["data"]["keys"].clone())?)
    }

    /// Seals it: whatever is asked then is answered 503.
    pub async fn seal(&self) -> Result<()> {
        self.write("sys/seal", json!({})).await.map(drop)
    }

    /// Unseals it again, with the key that the dev server printed.
    pub async fn unseal(&self) -> Result<()> {
        let log = self.process.log();
        let key = log
            .lines()
            .find_map(|line| line.trim().strip_prefix("Unseal Key:"));
        let key = key
            .context("the dev server printed no `Unseal Key:`")?
            .trim();
        let answer = self.write("sys/unseal", json!({"key": key})).await?;
        ensure!(answer["sealed"] == false, "Vault stayed sealed: {answer}");
        Ok(())
    }
}

/// The server, to be given its arguments.
fn program(site: &Site) -> Result<Command> {
    Ok(match &site.options.vault {
        Some(vault) => Command::new(vault),
        None => Command::new(site.tools.bao()?),
    })
}

/// An audit device, as OpenBao's configuration has it.
fn device(log: &Path) -> String {
    format!(
        "audit \"file\" \"file\" {{\n  options {{\n    file_path = \"{}\"\n  }}\n}}\n",
        log.display()
    )
}
