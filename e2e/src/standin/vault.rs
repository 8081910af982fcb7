//! Requests to Vault, with the retries and the error texts of the client that the operator uses.

use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::transport::USER_AGENT;

const RETRIES: u32 = 2;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A Vault at an address.
#[derive(Clone, Debug)]
pub struct Vault {
    client: Client,
    address: String,
    namespace: Option<String>,
}

/// How to reach it.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Its URL.
    pub address: String,
    /// A CA certificate, PEM.
    pub ca: Option<Vec<u8>>,
    /// Whether its certificate goes unchecked.
    pub skip_verify: bool,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// The Vault namespace.
    pub namespace: Option<String>,
}

/// What Vault answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The request's ID.
    pub request_id: String,
    /// The lease, if it comes with one.
    pub lease_id: String,
    /// Whether the lease can be prolonged.
    pub renewable: bool,
    /// The lease's duration, in seconds.
    pub lease_duration: i64,
    /// The data.
    pub data: Option<Map<String, Value>>,
    /// The token, after a login or a renewal of one.
    pub auth: Option<Auth>,
    /// Warnings.
    pub warnings: Option<Vec<String>>,
}

/// A token.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// The token itself.
    pub client_token: String,
    /// Its accessor.
    pub accessor: String,
    /// Its duration, in seconds.
    pub lease_duration: u64,
    /// Whether it can be prolonged.
    pub renewable: bool,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("lease_duration", &self.lease_duration)
            .finish_non_exhaustive()
    }
}

/// Why Vault did not give what was asked for; prints as the real client words it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It could not be reached.
    #[error("{method} \"{url}\": {cause}")]
    Transport {
        /// `Get`, `Put`.
        method: String,
        /// Whom.
        url: String,
        /// Why.
        cause: String,
    },
    /// It refused.
    #[error("{0}")]
    Refused(Refusal),
    /// It answered with nothing.
    #[error("empty response from Vault, path=\"{0}\"")]
    Empty(String),
    /// Something before or after the request.
    #[error("{0}")]
    Other(String),
}

/// An answer with an error's code.
#[derive(Clone, Debug)]
pub struct Refusal {
    method: Method,
    url: String,
    status: StatusCode,
    said: Said,
}

#[derive(Clone, Debug)]
enum Said {
    Errors(Vec<String>),
    Raw(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Error making API request.\n\nURL: {} {}\nCode: {}. ",
            self.method,
            self.url,
            self.status.as_u16()
        )?;
        match &self.said {
            Said::Raw(text) => write!(f, "Raw Message:\n\n{text}"),
            Said::Errors(errors) => {
                f.write_str("Errors:\n\n")?;
                errors.iter().try_for_each(|error| write!(f, "* {error}"))
            }
        }
    }
}

impl Error {
    /// Whether it is a 403.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == StatusCode::FORBIDDEN)
    }

    /// Whether a lease was asked for that is no more.
    pub fn is_lease_not_found(&self) -> bool {
        let Self::Refused(Refusal {
            status: StatusCode::BAD_REQUEST,
            said: Said::Errors(errors),
            ..
        }) = self
        else {
            return false;
        };
        errors.len() == 1 && errors[0] == "lease not found"
    }
}

impl Vault {
    /// A client for it.
    pub fn new(reach: Reach) -> Result<Self, Error> {
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
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Asks for `path`; `None` where Vault has nothing there.
    pub async fn request(
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
                Ok((status, body)) => read(&method, &url, status, &body),
                Err(error) => Err(Error::Transport {
                    method: capitalised(&method),
                    cause: cause(&error, &parsed),
                    url,
                }),
            };
        }
    }
}

fn read(
    method: &Method,
    url: &str,
    status: StatusCode,
    body: &[u8],
) -> Result<Option<Answer>, Error> {
    let answer = |body: &[u8]| serde_json::from_slice::<Answer>(body);
    if status == StatusCode::NOT_FOUND {
        // A deleted version of a KV v2 secret comes as a 404 that has data.
        let told = answer(body)
            .ok()
            .filter(|a| a.warnings.is_some() || a.data.as_ref().is_some_and(|d| !d.is_empty()));
        if told.is_some() || no_errors(body) {
            return Ok(told);
        }
    }
    if status.is_success() {
        if body.is_empty() {
            return Ok(None);
        }
        return answer(body)
            .map(Some)
            .map_err(|error| Error::Other(error.to_string()));
    }
    let said = match serde_json::from_slice::<Errors>(body) {
        Ok(Errors { errors }) => Said::Errors(errors),
        Err(_) => Said::Raw(String::from_utf8_lossy(body).into_owned()),
    };
    Err(Error::Refused(Refusal {
        method: method.clone(),
        url: url.into(),
        status,
        said,
    }))
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

fn no_errors(body: &[u8]) -> bool {
    serde_json::from_slice::<Errors>(body).is_ok_and(|said| said.errors.is_empty())
}

fn capitalised(method: &Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{}", rest.to_lowercase())
}

/// The cause at the bottom, in Go's words where they are known.
fn cause(error: &reqwest::Error, url: &Url) -> String {
    if error.is_timeout() {
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into();
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let mut bottom: &(dyn std::error::Error + 'static) = error;
    while let Some(deeper) = bottom.source() {
        bottom = deeper;
    }
    match bottom.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("dial tcp {host}:{port}: connect: connection refused")
        }
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".into(),
        Some(io::ErrorKind::UnexpectedEof) => "EOF".into(),
        _ => bottom.to_string(),
    }
}

/// Joins and cleans a path, so that `..` goes up.
pub fn join(parts: &[&str]) -> String {
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
    fn refusals_read_as_recorded() {
        let body = br#"{"errors":["invalid role name \"nope\""]}"#;
        let url = "http://127.0.0.1:8200/v1/auth/kubernetes/login";
        let error = read(&Method::PUT, url, StatusCode::BAD_REQUEST, body).expect_err("a 400");
        assert_eq!(
            error.to_string(),
            "Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/auth/kubernetes/login\nCode: 400. Errors:\n\n* invalid role name \"nope\""
        );
        let body = br#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        let error = read(
            &Method::GET,
            "http://127.0.0.1:8200/v1/sys/x",
            StatusCode::FORBIDDEN,
            body,
        )
        .expect_err("a 403");
        assert!(error.is_forbidden());
        assert_eq!(
            error.to_string(),
            "Error making API request.\n\nURL: GET http://127.0.0.1:8200/v1/sys/x\nCode: 403. Errors:\n\n* 1 error occurred:\n\t* permission denied\n\n"
        );
        assert_eq!(
            Error::Empty("kvv2/data/missing".into()).to_string(),
            "empty response from Vault, path=\"kvv2/data/missing\""
        );
        let error = read(&Method::GET, "u", StatusCode::BAD_GATEWAY, b"<html>").expect_err("a 502");
        assert!(
            error
                .to_string()
                .ends_with("Code: 502. Raw Message:\n\n<html>")
        );
    }

    #[test]
    fn nothing_and_deleted_are_told_apart() {
        let read =
            |body: &[u8]| read(&Method::GET, "u", StatusCode::NOT_FOUND, body).expect("no error");
        assert!(read(br#"{"errors":[]}"#).is_none());
        let deleted =
            read(br#"{"data":{"data":null,"metadata":{"version":1}}}"#).expect("has data");
        assert_eq!(deleted.data.expect("metadata")["data"], Value::Null);
    }

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
