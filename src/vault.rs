//! The client of Vault: session, KV, health, and errors told apart.

mod answer;
pub mod inquiry;
mod kv;
pub mod lease;
mod login;
mod own;
mod pki;
mod send;

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, OnceCell};
use vaultrs::api::EndpointMiddleware;
use vaultrs::api::token::requests::RevokeTokenSelfRequest;

use crate::config;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::reply::Reply;
use crate::model::time;
use login::Session;

pub use own::OwnLease;

/// How long one request to Vault may take, unless the step ends before.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the end of a session may hold up the end of the program.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);

/// A client of Vault that keeps itself logged in.
pub struct Vault {
    config: config::Vault,
    http: reqwest::Client,
    /// For redirects from plain HTTP to TLS.
    https: OnceCell<reqwest::Client>,
    /// What requests in the words of `vaultrs` bear, which is no token.
    middle: EndpointMiddleware,
    session: std::sync::Mutex<Option<Arc<Session>>>,
    /// Held by whoever logs in or renews.
    entrance: Mutex<()>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    fn new(config: &config::Vault) -> Result<Self, Obstacle> {
        let http = send::client(&config.address, config.ca_file.as_deref());
        let http = http.map_err(unmade)?;
        Ok(Self {
            http,
            https: OnceCell::new(),
            middle: EndpointMiddleware {
                token: String::new(),
                version: "v1".to_owned(),
                wrap: None,
                namespace: config.namespace.clone(),
            },
            config: config.clone(),
            session: std::sync::Mutex::default(),
            entrance: Mutex::default(),
        })
    }

    /// Makes a client, for which files are read. Nothing is sent yet.
    ///
    /// # Errors
    /// The CA file can't be read or understood.
    pub async fn open(config: &config::Vault) -> Result<Self, Obstacle> {
        let config = config.clone();
        let made = tokio::task::spawn_blocking(move || Self::new(&config)).await;
        made.unwrap_or_else(|error| Err(unmade(error.to_string())))
    }

    /// Logs in or renews if need be, so that the next request finds a token that lives.
    pub async fn ready(&self) -> Result<(), Obstacle> {
        Box::pin(self.session()).await.map(drop)
    }

    /// Logs in with the credentials of now, if there is a session. That one goes on if it fails; else it ends by itself,
    /// for it may be in use.
    pub async fn log_in_anew(&self) -> Result<(), Obstacle> {
        let _entrance = self.entrance.lock().await;
        if self.current().is_some() {
            let next = login::login(self).await?;
            *self.current() = Some(Arc::new(next));
        }
        Ok(())
    }

    /// Revokes the token, if this client got it by a login of its own.
    pub async fn log_out(&self) {
        let session = self.current().take();
        let Some(session) = session.filter(|session| session.own) else {
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

    fn current(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, of which one at a time is begun or prolonged. Whoever has a token that lives need not wait for that.
    async fn session(&self) -> Result<Arc<Session>, Obstacle> {
        let current = self.current().clone();
        let _entrance = match (current, self.entrance.try_lock()) {
            (Some(session), _) if session.fresh() => return Ok(session),
            (Some(session), Err(_)) if session.lives() => return Ok(session),
            (_, Ok(entrance)) => entrance,
            (_, Err(_)) => self.entrance.lock().await,
        };
        // Another may have been here before.
        let current = self.current().clone();
        let kept = match &current {
            Some(session) if session.fresh() => return Ok(session.clone()),
            Some(session) => login::keep(self, session).await,
            None => None,
        };
        let next = match kept {
            Some(kept) => kept,
            None => login::login(self).await?,
        };
        let next = Arc::new(next);
        *self.current() = Some(next.clone());
        Ok(next)
    }

    /// Ends a session, unless another has taken its place.
    fn forget(&self, session: &Arc<Session>) {
        let mut current = self.current();
        if current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, session))
        {
            *current = None;
        }
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
