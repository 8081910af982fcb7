//! A proxy that a scenario puts before Vault or the API server, to give answers of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// No request of a prober or of an operator is longer.
const LONGEST: usize = 4 * 1024 * 1024;

/// Forwards requests, but for those that it answers itself. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    expired: watch::Sender<u32>,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What a proxy answers itself, if it does.
type Teaching = Arc<dyn Fn(&Parts) -> Option<Response> + Send + Sync>;

#[derive(Clone)]
struct Way {
    to: String,
    /// The path that it all lies under.
    under: String,
    client: Client,
    teaching: Teaching,
    /// How often the watches that are open were told that they are too old.
    expired: watch::Receiver<u32>,
    answered: Arc<AtomicUsize>,
}

impl Proxy {
    /// To Vault at `address`, an `http://` URL; every second request is answered 500.
    pub async fn failing(address: &str) -> Result<Self> {
        let count = AtomicUsize::default();
        let failing = move |_: &Parts| {
            let fails = count.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            let body = json!({"errors": ["every second request fails"]});
            fails.then(|| (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response())
        };
        Self::taught(address, failing).await
    }

    /// To Vault at `address`, an `http://` URL; requests to which `teaching` has an answer get that.
    pub async fn taught(
        address: &str,
        teaching: impl Fn(&Parts) -> Option<Response> + Send + Sync + 'static,
    ) -> Result<Self> {
        let client = Client::builder().redirect(Policy::none()).build()?;
        Self::start(address, "", client, Arc::new(teaching)).await
    }

    /// To Vault at `address`, an `http://` URL, under this path of a host that has nothing else.
    pub async fn under(address: &str, path: &str) -> Result<Self> {
        let client = Client::builder().redirect(Policy::none()).build()?;
        Self::start(address, path, client, Arc::new(|_| None)).await
    }

    /// To the API server of this `cluster` of a kubeconfig.
    pub async fn watching(cluster: &Value) -> Result<Self> {
        Self::watching_under(cluster, "").await
    }

    /// The same, under this path of a host that has nothing else.
    pub async fn watching_under(cluster: &Value, path: &str) -> Result<Self> {
        let text = |key: &str| cluster[key].as_str().with_context(|| format!("no `{key}`"));
        let ca = STANDARD.decode(text("certificate-authority-data")?)?;
        let client = Client::builder().tls_certs_only([Certificate::from_pem(&ca)?]);
        Self::start(text("server")?, path, client.build()?, Arc::new(|_| None)).await
    }

    async fn start(to: &str, under: &str, client: Client, teaching: Teaching) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (expired, receiver) = watch::channel(0);
        let answered: Arc<AtomicUsize> = Arc::default();
        let way = Way {
            to: to.trim_end_matches('/').to_owned(),
            under: under.to_owned(),
            client,
            teaching,
            expired: receiver,
            answered: answered.clone(),
        };
        let router = Router::new().fallback(pass).with_state(way);
        let task = tokio::spawn(async move {
            // It ends with the task alone.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            expired,
            answered,
            task,
        })
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends each watch that is open as the API server does whose history does not reach back so far: 410.
    pub fn expire(&self) {
        self.expired.send_modify(|times| *times += 1);
    }

    /// How many answers were its own.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(way): State<Way>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(answer) = (way.teaching)(&parts) {
        way.answered.fetch_add(1, Ordering::Relaxed);
        return answer;
    }
    way.forward(Request::from_parts(parts, body))
        .await
        .unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response())
}

impl Way {
    async fn forward(mut self, request: Request) -> Result<Response> {
        self.expired.mark_unchanged();
        let (parts, body) = request.into_parts();
        let query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let Some(query) = query.strip_prefix(&self.under) else {
            return Ok((StatusCode::NOT_FOUND, "nothing is here").into_response());
        };
        let query = query.to_owned();
        let answer = self
            .client
            .request(parts.method, format!("{}{query}", self.to))
            .headers(end_to_end(parts.headers))
            .body(to_bytes(body, LONGEST).await?)
            .send()
            .await?;
        let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
        let watches = query.contains("watch=true");
        let body = Body::from_stream(stream::unfold(Some((self, answer)), move |open| {
            next(open, watches)
        }));
        Ok((status, headers, body).into_response())
    }
}

type Open = Option<(Way, reqwest::Response)>;

/// The next piece of an answer; of a watch that has expired the last.
async fn next(open: Open, watches: bool) -> Option<(Result<Bytes, Infallible>, Open)> {
    let (mut way, mut answer) = open?;
    tokio::select! {
        chunk = answer.chunk() => {
            let chunk = chunk.ok().flatten()?;
            Some((Ok(chunk), Some((way, answer))))
        }
        Ok(()) = way.expired.changed(), if watches => {
            way.answered.fetch_add(1, Ordering::Relaxed);
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410,
            });
            let event = json!({"type": "ERROR", "object": status});
            Some((Ok(format!("{event}\n").into()), None))
        }
    }
}

/// Without what concerns one connection only.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        header::HOST,
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
    ] {
        headers.remove(name);
    }
    headers
}
