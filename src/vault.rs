//! The client of Vault: session, KV, health, and errors told apart.

mod answer;
pub mod introspect;
mod kv;
pub mod lease;
mod login;
mod misuse;
mod own;
mod pki;
mod send;
mod session;
mod static_role;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, OnceCell, watch};
use url::Url;
use vaultrs::api::EndpointMiddleware;
use vaultrs::api::token::requests::RevokeTokenSelfRequest;

use crate::config;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::reply::Reply;
use crate::model::time;
use crate::wire;
use session::Session;

pub use own::OwnLease;

/// How long one request to Vault may take, unless the step ends before.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the end of a session may hold up the end of the program.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);

/// A client of Vault that keeps itself logged in.
pub struct Vault {
    config: config::Vault,
    /// The path of Vault's address, without a slash at its end.
    under: String,
    /// Vault's address as it is told, with the proxy on the way there.
    place: String,
    http: reqwest::Client,
    /// For redirects from plain HTTP to TLS.
    https: OnceCell<reqwest::Client>,
    /// What requests in the words of `vaultrs` bear, which is no token.
    middle: EndpointMiddleware,
    session: watch::Sender<Option<Arc<Session>>>,
    /// The CAs that were read, by their Vault namespace and path: they never change.
    issuers: std::sync::Mutex<HashMap<(String, String), String>>,
    /// Held by whoever logs in: why the last login failed, if it did.
    entrance: Mutex<Option<Obstacle>>,
    /// How many logins came to an end.
    logins: AtomicU64,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    fn new(config: &config::Vault) -> Result<Self, Obstacle> {
        let http = send::client(&config.address, config).map_err(unmade)?;
        let under = Url::parse(&config.address).map_err(|error| unmade(error.to_string()))?;
        Ok(Self {
            http,
            under: under.path().trim_end_matches('/').to_owned(),
            place: format!("{}{}", config.address, wire::proxy::told(&config.address)),
            https: OnceCell::new(),
            middle: EndpointMiddleware {
                token: String::new(),
                version: "v1".to_owned(),
                wrap: None,
                namespace: config.namespace.clone(),
            },
            config: config.clone(),
            session: watch::Sender::default(),
            issuers: std::sync::Mutex::default(),
            entrance: Mutex::default(),
            logins: AtomicU64::default(),
        })
    }

    /// Makes a client, for which files are read. Nothing is sent yet.
    ///
    /// # Errors
    /// A file with a CA or a header can't be read or understood.
    pub async fn open(config: &config::Vault) -> Result<Self, Obstacle> {
        let config = config.clone();
        let made = tokio::task::spawn_blocking(move || Self::new(&config)).await;
        made.unwrap_or_else(|error| Err(unmade(error.to_string())))
    }

    /// Logs in if need be, so that the next request finds a token that lives.
    pub async fn ready(&self) -> Result<(), Obstacle> {
        Box::pin(self.session()).await.map(drop)
    }

    /// Revokes the token, if this client got it by a login of its own.
    pub async fn log_out(&self) {
        let session = self.session.send_replace(None);
        let Some(session) = session.filter(|session| session.own && !session.batch) else {
            return;
        };
        let revoked = tokio::time::timeout(FAREWELL_LIMIT, self.revoke(&session.token)).await;
        let error = match revoked {
            Ok(Ok(())) => return,
            Ok(Err(obstacle)) => obstacle.text,
            Err(_) => format!("no answer within {} s", FAREWELL_LIMIT.as_secs()).into(),
        };
        tracing::debug!(%error, "the token could not be revoked; it expires by itself");
    }

    async fn revoke(&self, token: &SecretString) -> Result<(), Obstacle> {
        let what = "revoke the prober's own token";
        let request = self.words(what, RevokeTokenSelfRequest {})?;
        let answer = self.send(what, request, Some(token)).await?;
        answer.granted(answer.done()?)
    }
}

/// The obstacle that there is no client.
fn unmade(text: String) -> Obstacle {
    Obstacle::new(Peer::Vault, Hindrance::Unreachable, text)
}

/// Seconds that Vault tells, which may be any number.
fn seconds(told: u64) -> Duration {
    time::clamped(Duration::from_secs(told))
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
        429 => Hindrance::Limited,
        // A login is refused so, too.
        400 | 405 | 412 | 422 if !what.starts_with(login::WHAT) => Hindrance::Rejected,
        _ => Hindrance::Denied,
    };
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    Obstacle::new(
        Peer::Vault,
        how,
        format!("tried to {what} on Vault at {address}: it answered {code}{said}"),
    )
    .with(Reply::http(code))
}

fn expose(secret: &SecretString) -> &str {
    secret.expose_secret()
}
