//! The real binary as it serves: its HTTP interface, and its configuration file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use rustix::process::Signal;
use serde_json::Value;
use vso_prober::model::run::Run;

use super::{Outcome, Prober, Running, eventually};
use crate::lab::free_port;

/// No request takes this long, one that runs a probe included.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a run that is under way is waited for.
const UNDER_WAY: Duration = Duration::from_secs(60);

/// The binary while it serves. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    running: Running,
    address: SocketAddr,
    file: PathBuf,
    http: Client,
}

impl Prober {
    /// Starts `serve` with these further arguments, and waits until it answers.
    pub async fn serve(&self, arguments: &[&str]) -> Result<Server> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let prober = self
            .clone()
            .edit(|config| config["server"]["listen"] = address.to_string().into());
        let server = Server {
            running: prober.start(&[&["serve"], arguments].concat())?,
            address,
            file: prober.file,
            http: Client::builder().timeout(LIMIT).build()?,
        };
        eventually("answer of `serve`", Duration::from_secs(10), async || {
            Ok(server.get("/healthz").await.ok())
        })
        .await?;
        Ok(server)
    }

    /// Has its configuration in this file.
    #[must_use]
    pub fn config_file(mut self, file: &Path) -> Self {
        file.clone_into(&mut self.file);
        self
    }

    /// The configuration, as JSON, which is YAML.
    pub fn text(&self) -> String {
        self.config.to_string()
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file that it reads its configuration from.
    pub fn file(&self) -> &PathBuf {
        &self.file
    }

    /// Changes what the file says. The change shows at once or not at all.
    pub fn rewrite(&self, text: &str) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.file).context("could not replace the configuration")
    }

    /// Keeps it listening where it does, in the configuration of `prober`.
    pub fn configuration(&self, prober: &Prober) -> String {
        let address = self.address.to_string();
        let prober = prober.clone();
        prober
            .edit(|config| config["server"]["listen"] = address.into())
            .text()
    }

    /// Asks for a path: the status and the text.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String)> {
        self.send(self.http.get(self.url(path))).await
    }

    /// Posts nothing to a path: the status and the text.
    pub async fn post(&self, path: &str) -> Result<(StatusCode, String)> {
        self.send(self.http.post(self.url(path))).await
    }

    /// Asks for a path that answers in JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        let (status, text) = self.get(path).await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{path} answers `{text}`"))
    }

    /// Has it run a probe now, after the run that may be under way. This takes `--web.enable-lifecycle`.
    pub async fn run_now(&self, probe: &str) -> Result<Run> {
        let path = format!("/api/v1/probes/{probe}/run");
        let what = format!("end of the run of `{probe}` that is under way");
        let (status, text) = eventually(&what, UNDER_WAY, async || {
            let (status, text) = self.post(&path).await?;
            Ok((status != StatusCode::CONFLICT).then_some((status, text)))
        })
        .await?;
        ensure!(status.is_success(), "{probe}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("`{text}` is not a run"))
    }

    /// The runs that it tells of, the latest first.
    pub async fn runs(&self) -> Result<Vec<Run>> {
        let mut answer = self.json("/api/v1/runs?limit=1000").await?;
        Ok(serde_json::from_value(answer["runs"].take())?)
    }

    /// The value of a series in `/metrics`, written as there.
    pub async fn metric(&self, series: &str) -> Result<Option<f64>> {
        let (_, text) = self.get("/metrics").await?;
        let value = text.lines().find_map(|line| {
            let rest = line.strip_prefix(series)?.strip_prefix(' ')?;
            rest.split(' ').next()?.parse().ok()
        });
        Ok(value)
    }

    /// How many bytes of memory it used at most so far, if that is limited.
    pub fn peak(&self) -> Result<u64> {
        self.running.peak()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.running.signal(signal)
    }

    /// Waits for its end.
    pub async fn ended(self) -> Result<Outcome> {
        self.running.ended().await
    }

    /// Ends it as a rollout would.
    pub async fn stop(self) -> Result<Outcome> {
        self.signal(Signal::TERM)?;
        self.ended().await?.exits(0)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, String)> {
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }
}
