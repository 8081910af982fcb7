//! Requests to Vault, with the retries and the error texts of the client that the operator uses.

mod answer;
mod error;

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value;

use super::transport::USER_AGENT;
pub(crate) use answer::{Answer, Auth};
pub(crate) use error::Error;

const RETRIES: u32 = 2;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A Vault at an address.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    client: Client,
    address: String,
    namespace: Option<String>,
}

/// How to reach it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// Its URL.
    pub(crate) address: String,
    /// A CA certificate, PEM.
    pub(crate) ca: Option<Vec<u8>>,
    /// Whether its certificate goes unchecked.
    pub(crate) skip_verify: bool,
    /// How long one attempt may take.
    pub(crate) timeout: Option<Duration>,
    /// The Vault namespace.
    pub(crate) namespace: Option<String>,
}

impl Vault {
    /// A client for it.
    pub(crate) fn new(reach: Reach) -> Result<Self, Error> {
        let mut client = Client::builder()
            .user_agent(USER_AGENT)
            .timeout(reach.timeout.unwrap_or(TIMEOUT))
            .danger_accept_invalid_certs(reach.skip_verify);
        if let Some(ca) = &reach.ca {
            let ca = reqwest::Certificate::from_pem(ca)
                .map_err(|error| Error::Other(error.to_string()))?;
            client = client.add_root_certificate(ca);
        }
        Ok(Self {
            client: client
                .build()
                .map_err(|error| Error::Other(error.to_string()))?,
            address: reach.address.trim_end_matches('/').to_owned(),
            namespace: reach.namespace,
        })
    }

    /// The same in another Vault namespace.
    #[must_use]
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Asks for `path`; `None` where Vault has nothing there.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Option<Answer>, Error> {
        let url = format!("{}/v1/{}", self.address, path.trim_start_matches('/'));
        let parsed: Url = url
            .parse()
            .map_err(|error| Error::Other(format!("parse \"{url}\": {error}")))?;
        let mut attempt = 0;
        loop {
            let mut request = self
                .client
                .request(method.clone(), parsed.clone())
                .header("X-Vault-Request", "true");
            if let Some(token) = token {
                request = request.header("X-Vault-Token", token);
            }
            if let Some(namespace) = &self.namespace {
                request = request.header("X-Vault-Namespace", namespace);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let result = match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    response.bytes().await.map(|body| (status, body))
                }
                Err(error) => Err(error),
            };
            let again = match &result {
                Ok((status, _)) => {
                    status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                }
                Err(_) => true,
            };
            if again && attempt < RETRIES {
                attempt += 1;
                // Linear with jitter: 1 to 1.5 s times the number of the attempt.
                tokio::time::sleep(Duration::from_secs_f64(
                    f64::from(attempt) * rand::random_range(1.0..1.5),
                ))
                .await;
                continue;
            }
            return match result {
                Ok((status, body)) => answer::read(&method, &url, status, &body),
                Err(error) => Err(Error::Transport {
                    method: error::capitalised(&method),
                    cause: error::cause(&error, &parsed),
                    url,
                }),
            };
        }
    }
}

/// Joins and cleans a path, so that `..` goes up.
pub(crate) fn join(parts: &[&str]) -> String {
    let mut clean: Vec<&str> = Vec::new();
    for part in parts.iter().flat_map(|part| part.split('/')) {
        match part {
            "" | "." => {}
            ".." if clean.last().is_some_and(|last| *last != "..") => _ = clean.pop(),
            other => clean.push(other),
        }
    }
    clean.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(join(&["kvv2", "data", "../../sys/x"]), "sys/x");
        assert_eq!(join(&["kv/", "/a//b/./c"]), "kv/a/b/c");
    }

    #[tokio::test]
    async fn a_refused_connection_reads_as_in_go() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reach = Reach {
            address: "http://127.0.0.1:1/".into(),
            ..Reach::default()
        };
        tokio::time::pause();
        let vault = Vault::new(reach).expect("plain http");
        let error = vault
            .request(Method::PUT, "auth/kubernetes/login", None, None)
            .await
            .expect_err("nobody listens");
        assert_eq!(
            error.to_string(),
            "Put \"http://127.0.0.1:1/v1/auth/kubernetes/login\": dial tcp 127.0.0.1:1: connect: connection refused"
        );
    }
}
