//! The reader of the operator's metrics: at one URL, of all its pods, or from Prometheus.

mod bearer;
mod error;
mod fetch;
mod pods;
mod prometheus;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::Client;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::{Config, MetricsSource};
use crate::model::reply::Reply;
use crate::model::snapshot::Snapshot;
use crate::operator::exposition;
use bearer::Bearer;
use fetch::{Fetch, LIMIT};

pub use bearer::token;
pub use error::{Asked, Error};
pub use prometheus::{Prometheus, Sampled};

/// Reads the operator's metrics. Each reading costs the operator some work, so those who ask share.
pub struct Scraper {
    endpoint: Endpoint,
    last: Mutex<Option<Arc<Look>>>,
    /// Whether the last reading failed, which is then known to those who read the log.
    failing: AtomicBool,
}

/// Where metrics are read from that are of the moment.
enum Endpoint {
    Url(Box<Fetch>, String),
    Pods(Box<pods::Pods>),
}

/// A look at the operator's metrics, whatever came of it.
#[derive(Clone, Debug)]
pub struct Look {
    /// When it began: no number is older.
    pub begun: Instant,
    /// When it ended: no number is younger.
    pub ended: Instant,
    /// The numbers, or what was tried, on what, what came back, and what to do.
    pub what: Result<Snapshot, Error>,
}

/// How the operator's metrics are read, if they are.
pub enum Source {
    /// They are not.
    None,
    /// From the operator, whenever they are asked for.
    Direct(Box<Scraper>),
    /// From Prometheus, which has read them at times of its own.
    Prometheus(Box<Prometheus>),
}

impl Source {
    /// Reads them as it is configured. Nothing is sent yet.
    pub fn new(config: &Config, kube: &Client) -> Self {
        let operator = &config.operator;
        let fetch = |url: &str, access| {
            let bearer = Bearer::new(access, kube, &config.kubernetes.namespace);
            Fetch::new(url, access, bearer)
        };
        let endpoint = match &operator.metrics {
            None => return Self::None,
            Some(MetricsSource::Url { url, access }) => {
                Endpoint::Url(Box::new(fetch(url, access)), url.clone())
            }
            Some(MetricsSource::Pods {
                port,
                scheme,
                access,
            }) => {
                let fetch = fetch(&format!("{}://", scheme.as_str()), access);
                let pods = pods::Pods::new(operator, kube, fetch, *port, *scheme);
                Endpoint::Pods(Box::new(pods))
            }
            Some(MetricsSource::Prometheus {
                url,
                selector,
                access,
            }) => {
                return Self::Prometheus(Box::new(Prometheus::new(
                    fetch(url, access),
                    url,
                    selector,
                )));
            }
        };
        Self::Direct(Box::new(Scraper {
            endpoint,
            last: Mutex::new(None),
            failing: AtomicBool::new(false),
        }))
    }
}

impl Scraper {
    /// Looks at the metrics. A look that began before this was called is none for the caller, one that did
    /// later is shared: so it takes two at most, however many ask.
    pub async fn look(&self) -> Arc<Look> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(look) = last.as_ref().filter(|look| look.begun >= asked) {
            return look.clone();
        }
        let begun = Instant::now();
        let what = timeout(LIMIT, self.endpoint.read())
            .await
            .unwrap_or_else(|_| Err(fetch::silence(&self.endpoint.place())));
        self.note(&what);
        let look = Arc::new(Look {
            begun,
            ended: Instant::now(),
            what,
        });
        *last = Some(look.clone());
        look
    }

    /// Says once that the metrics can't be read, and once that they can again.
    fn note(&self, what: &Result<Snapshot, Error>) {
        let failed = self.failing.swap(what.is_err(), Ordering::Relaxed);
        match what {
            Err(error) if failed => tracing::debug!(%error, "no metrics of the operator"),
            Err(error) => tracing::warn!(%error, "no metrics of the operator"),
            Ok(_) if failed => tracing::info!("the operator's metrics can be read again"),
            Ok(_) => {}
        }
    }
}

impl Endpoint {
    async fn read(&self) -> Result<Snapshot, Error> {
        match self {
            Self::Url(fetch, url) => read(fetch, url, "").await,
            Self::Pods(pods) => pods.read().await,
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Url(_, url) => url.clone(),
            Self::Pods(pods) => pods.to_string(),
        }
    }
}

/// Reads the metrics of one process.
async fn read(fetch: &Fetch, url: &str, process: &str) -> Result<Snapshot, Error> {
    let text = fetch.text(url, url).await?;
    exposition::read(&text, process).ok_or_else(|| {
        let text = format!(
            "tried to read the operator's metrics at {url}: the response has none of them; is the address right?"
        );
        Error::new(Some(Reply::http(200)), text)
    })
}
