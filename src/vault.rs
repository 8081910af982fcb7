//! Vault, as the prober reaches it: its session, KV, health, and errors told apart.

pub mod inquiry;
mod kv;
pub mod lease;
mod login;
mod own;
mod pki;

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;

use crate::config;
use crate::model::record::{Hindrance, Obstacle, Peer, VaultHealth};
use crate::wire::{self, causes};

pub use own::OwnLease;

/// How long one request to Vault may take, unless the step ends before.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the end of a session may hold up the end of the program.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);

/// A client of Vault that keeps itself logged in.
#[derive(Debug)]
pub struct Vault {
    config: config::Vault,
    http: reqwest::Client,
    session: Mutex<Option<login::Session>>,
}

impl Vault {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// The CA file can't be read or understood.
    pub fn new(config: &config::Vault) -> Result<Self, Obstacle> {
        let unusable = |text: String| Obstacle {
            at: Peer::Vault,
            how: Hindrance::Unreachable,
            text: text.into(),
        };
        let ca_file = config.ca_file.as_deref();
        let http = wire::http::builder(&config.address, ca_file.map(|file| ("vault.caFile", file)))
            .map_err(unusable)?
            .timeout(REQUEST_LIMIT)
            .connect_timeout(CONNECT_LIMIT);
        let http = http
            .build()
            .map_err(|error| unusable(format!("can't make an HTTP client: {}", causes(&error))))?;
        Ok(Self {
            config: config.clone(),
            http,
            session: Mutex::new(None),
        })
    }

    /// Logs in or renews if need be, so that the next request finds a token that lives.
    pub async fn ready(&self) -> Result<(), Obstacle> {
        self.client().await.map(drop)
    }

    /// Revokes the token, if this client got it by a login of its own.
    pub async fn log_out(&self) {
        let session = self.session.lock().await.take();
        let Some(session) = session.filter(|session| session.own) else {
            return;
        };
        let revoked = vaultrs::token::revoke_self(&*session.client);
        let error = match tokio::time::timeout(FAREWELL_LIMIT, revoked).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => detail(&error),
            Err(_) => format!("no answer within {} s", FAREWELL_LIMIT.as_secs()),
        };
        tracing::debug!(error, "the token could not be revoked; it ends by itself");
    }

    async fn client(&self) -> Result<Arc<VaultClient>, Obstacle> {
        let mut session = self.session.lock().await;
        if let Some(current) = session.as_mut()
            && login::keep(current).await
        {
            return Ok(current.client.clone());
        }
        let fresh = login::login(self).await?;
        Ok(session.insert(fresh).client.clone())
    }

    /// A `vaultrs` client with this token.
    fn with_token(&self, token: &str) -> VaultClient {
        let settings = VaultClientSettingsBuilder::default()
            .address(&self.config.address)
            .token(token)
            .namespace(self.config.namespace.clone())
            .ca_certs(Vec::new())
            .verify(true)
            .identity(None)
            .build()
            .expect("the address was checked with the configuration");
        let middle = vaultrs::api::EndpointMiddleware {
            token: settings.token.clone(),
            version: "v1".to_owned(),
            wrap: None,
            namespace: settings.namespace.clone(),
        };
        let http = rustify::Client::new(settings.address.as_str(), self.http.clone());
        VaultClient {
            http,
            middle,
            settings,
        }
    }

    /// Asks for Vault's health; needs no token.
    pub async fn health(&self) -> Result<VaultHealth, Obstacle> {
        let url = format!("{}/v1/sys/health?perfstandbyok=true", self.config.address);
        let answer = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|error| self.no_answer("ask for its health", &error))?;
        Ok(match answer.status() {
            StatusCode::OK => VaultHealth::Active,
            StatusCode::SERVICE_UNAVAILABLE => VaultHealth::Sealed,
            other => VaultHealth::Other(other.as_u16()),
        })
    }

    /// Sends a request for which `vaultrs` has no words; `path` without `/v1/`.
    async fn put(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<reqwest::Response, Obstacle> {
        let client = self.client().await?;
        let mut request = self
            .http
            .put(format!("{}/v1/{path}", self.config.address))
            .header("X-Vault-Request", "true")
            .header("X-Vault-Token", login::header(&client))
            .json(body);
        if let Some(namespace) = &self.config.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        request
            .send()
            .await
            .map_err(|error| self.no_answer(&format!("write `{path}`"), &error))
    }

    fn no_answer(&self, what: &str, error: &reqwest::Error) -> Obstacle {
        Obstacle {
            at: Peer::Vault,
            how: Hindrance::Unreachable,
            text: format!(
                "tried to {what} on Vault at {}: no answer: {}",
                self.config.address,
                causes(error)
            )
            .into(),
        }
    }

    /// Says what stopped a request.
    fn obstacle(&self, what: &str, error: &ClientError) -> Obstacle {
        let address = &self.config.address;
        match error {
            ClientError::APIError { code, errors } => refusal(address, what, *code, errors),
            other => Obstacle {
                at: Peer::Vault,
                how: Hindrance::Unreachable,
                text: format!("tried to {what} on Vault at {address}: {}", detail(other)).into(),
            },
        }
    }
}

/// Says what an answer with an error status means.
fn refusal(address: &str, what: &str, code: u16, errors: &[String]) -> Obstacle {
    let said = errors
        .join("; ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let sealed = said.to_lowercase().contains("vault is sealed");
    let how = match code {
        503 if sealed => Hindrance::Sealed,
        500.. => Hindrance::Failed,
        _ => Hindrance::Denied,
    };
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    Obstacle {
        at: Peer::Vault,
        how,
        text: format!("tried to {what} on Vault at {address}: it answered {code}{said}").into(),
    }
}

/// The text of an error of `vaultrs` with its causes. Its types hold no request body.
fn detail(error: &ClientError) -> String {
    use rustify::errors::ClientError as Rest;
    match error {
        ClientError::APIError { code, errors } => {
            format!("it answered {code}: {}", errors.join("; "))
        }
        ClientError::RestClientError {
            source: Rest::RequestError { source, .. },
        } => causes(source.as_ref()),
        ClientError::RestClientError {
            source: Rest::ServerResponseError { code, .. },
        } => {
            format!("it answered {code} with something else than Vault's JSON")
        }
        // These hold the answer, which may hold a secret.
        ClientError::RestClientError {
            source: Rest::ResponseParseError { .. } | Rest::ResponseConversionError { .. },
        } => "the answer is not Vault's JSON".to_owned(),
        other => causes(other),
    }
}

/// A token or another value that must not be printed.
type SecretString = secrecy::SecretString;

fn expose(secret: &SecretString) -> &str {
    secret.expose_secret()
}
