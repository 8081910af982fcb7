//! The monitoring of a prober: Prometheus, Pushgateway, Alertmanager, and the tool that checks metrics and rules. Apart
//! from any lab.

mod alertmanager;
mod rules;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::options::Options;
use super::part::Process;
use super::port;
use super::site::Site;
use super::tools::Tools;
use super::watchdog::Watchdog;
pub use alertmanager::Alertmanager;
pub use rules::{Rules, yaml};

/// How long one may take to start.
const START: Duration = Duration::from_secs(30);

/// What Prometheus scrapes, every second.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The label `job`.
    pub job: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Whether what is scraped says of itself which job and instance it is.
    pub honor_labels: bool,
}

/// A running Prometheus. Dropping it ends it and removes its folder, as does the end of its process.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
}

/// A running Pushgateway. Dropping it ends it and removes its folder, as does the end of its process.
#[derive(Debug)]
pub struct Pushgateway {
    server: Server,
}

/// Series: the labels of each, and its value.
pub type Vector = Vec<(BTreeMap<String, String>, f64)>;

/// Which histograms a Prometheus stores. One that stores native ones asks for protobuf, and in this version drops the
/// classic twin of each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Histograms {
    /// Those with edges.
    Classic,
    /// Those of the protobuf form.
    Native,
}

impl Prometheus {
    /// Starts one that takes remote writes and exemplars too.
    pub async fn start(scrapes: &[Scrape], histograms: Histograms) -> Result<Self> {
        Self::start_with(scrapes, histograms, None).await
    }

    /// Starts one that goes by these rules, and tells an Alertmanager of what they say.
    pub async fn with_rules(
        scrapes: &[Scrape],
        rules: &Rules,
        alertmanager: Option<&Alertmanager>,
    ) -> Result<Self> {
        Self::start_with(scrapes, Histograms::Classic, Some((rules, alertmanager))).await
    }

    async fn start_with(
        scrapes: &[Scrape],
        histograms: Histograms,
        rules: Option<(&Rules, Option<&Alertmanager>)>,
    ) -> Result<Self> {
        let features = match histograms {
            Histograms::Classic => "exemplar-storage",
            Histograms::Native => "exemplar-storage,native-histograms",
        };
        let server = Server::start("prometheus", async |site, address| {
            let mut config = configuration(scrapes);
            if let Some((rules, alertmanager)) = rules {
                rules.write(&site.folder)?;
                config.push_str("rule_files: ['*.yaml']\n");
                if let Some(alertmanager) = alertmanager {
                    let address = alertmanager.address();
                    let _ = writeln!(
                        config,
                        "alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}"
                    );
                }
            }
            let config = site.write("prometheus.yml", config)?;
            let mut command = Command::new(site.tools.prometheus()?);
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    site.folder.join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .arg("--web.enable-remote-write-receiver")
                .arg(format!("--enable-feature={features}"))
                .arg("--log.level=warn");
            Ok(command)
        })
        .await?;
        Ok(Self { server })
    }

    /// The URL that remote writes go to.
    pub fn remote_write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.server.address)
    }

    /// What a query gives now: a series a line. A scalar or a histogram is not a value of it.
    pub async fn query(&self, query: &str) -> Result<Vector> {
        let answer = self.ask("query", &[("query", query)]).await?;
        let series = answer["result"].as_array().context("no vector")?;
        let parse = |series: &Value| {
            let labels = serde_json::from_value(series["metric"].clone())?;
            let value = series["value"][1].as_str().context("no value")?;
            Ok((labels, value.parse()?))
        };
        series
            .iter()
            .map(parse)
            .collect::<Result<_>>()
            .with_context(|| format!("`{query}` gave {answer}"))
    }

    /// The only value that a query gives now, if it gives any.
    pub async fn value(&self, query: &str) -> Result<Option<f64>> {
        let vector = self.query(query).await?;
        ensure!(vector.len() < 2, "`{query}` gave {vector:?}");
        Ok(vector.first().map(|(_, value)| *value))
    }

    /// Asks its API, and has the `data` of the answer.
    pub async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let mut url =
            reqwest::Url::parse(&format!("http://{}/api/v1/{path}", self.server.address))?;
        url.query_pairs_mut().extend_pairs(query);
        let mut answer: Value = self.server.site.http.get(url).send().await?.json().await?;
        ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
        Ok(answer["data"].take())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.server.process.log()
    }
}

impl Pushgateway {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let server = Server::start("pushgateway", async |site, address| {
            let mut command = Command::new(site.tools.pushgateway()?);
            command.arg(format!("--web.listen-address={address}"));
            Ok(command)
        })
        .await?;
        Ok(Self { server })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What Prometheus is to scrape.
    pub fn scrape(&self) -> Scrape {
        Scrape {
            job: "pushgateway",
            address: self.server.address,
            honor_labels: true,
        }
    }

    /// What a scrape of it gives.
    pub async fn metrics(&self) -> Result<String> {
        let url = format!("{}/metrics", self.url());
        Ok(self.server.site.http.get(url).send().await?.text().await?)
    }
}

/// Runs promtool in a folder: whether it is content, and what it says.
pub async fn promtool(folder: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(Tools::find()?.promtool()?)
        .args(arguments)
        .current_dir(folder)
        .kill_on_drop(true)
        .output()
        .await
        .context("could not start promtool")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// Has `promtool check metrics` look at a text: what it says of it.
pub async fn check_metrics(text: &str) -> Result<String> {
    let mut promtool = Command::new(Tools::find()?.promtool()?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("could not start promtool")?;
    let mut stdin = promtool.stdin.take().context("its input is a pipe")?;
    stdin.write_all(text.as_bytes()).await?;
    drop(stdin);
    let output = promtool.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    let mut said = String::from_utf8_lossy(&said).into_owned();
    if !output.status.success() {
        let _ = write!(said, "({})", output.status);
    }
    Ok(said)
}

/// A server of its own, in a folder of its own.
#[derive(Debug)]
struct Server {
    site: Site,
    process: Process,
    address: SocketAddr,
    /// Ends the process when it drops.
    _watchdog: Watchdog,
}

impl Server {
    async fn start(
        name: &'static str,
        command: impl AsyncFn(&Site, SocketAddr) -> Result<Command>,
    ) -> Result<Self> {
        port::retry(async || {
            let site = Site::new(Options::default())?;
            let watchdog = Watchdog::start(&site.folder)?;
            let address = SocketAddr::from(([127, 0, 0, 1], port::free()?));
            let mut command = command(&site, address).await?;
            let process = Process::spawn(name, &site.folder, &mut command)?;
            let ready = format!("http://{address}/-/ready");
            process
                .ready(START, async || {
                    site.http.get(&ready).send().await?.error_for_status()?;
                    Ok(())
                })
                .await?;
            Ok(Self {
                site,
                process,
                address,
                _watchdog: watchdog,
            })
        })
        .await
    }
}

fn configuration(scrapes: &[Scrape]) -> String {
    let mut text =
        "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nscrape_configs:\n".to_owned();
    for Scrape {
        job,
        address,
        honor_labels,
    } in scrapes
    {
        let _ = writeln!(
            text,
            "- {{job_name: {job}, honor_labels: {honor_labels}, static_configs: [{{targets: ['{address}']}}]}}"
        );
    }
    text
}
