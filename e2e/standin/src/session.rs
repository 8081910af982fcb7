//! A client logged in to Vault: what is read and written with it, and how its token is kept alive.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::content::hex_digest;
use super::faults::{Place, Switchboard};
use super::metrics::{self, Operation};
use super::vault::{Answer, Auth, Error, Vault};

/// After a failed renewal, the next is tried this much later.
const RENEW_AGAIN: Duration = Duration::from_secs(10);

/// Where a client came from; it lives as long as these stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its key in the cache.
    pub(crate) key: String,
    /// The `VaultAuth`.
    pub(crate) auth: Ancestor,
    /// The `VaultConnection`.
    pub(crate) connection: Ancestor,
    /// `namespace/name` of the connection, as in the metrics.
    pub(crate) label: String,
}

/// A resource at a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ancestor {
    /// Its UID.
    pub(crate) uid: String,
    /// Its generation.
    pub(crate) generation: i64,
}

/// A client logged in to Vault.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Where it came from.
    pub(crate) origin: Origin,
    /// Told in a status: changes with every login.
    pub(crate) id: String,
    vault: Vault,
    token: Arc<Token>,
    series: metrics::Vault,
    faults: Switchboard,
}

struct Token {
    held: Mutex<Held>,
    tainted: AtomicBool,
    ended: AtomicBool,
}

#[derive(Clone)]
struct Held {
    auth: Auth,
    since: Instant,
}

impl Held {
    fn new(auth: &Auth) -> Self {
        Self {
            auth: auth.clone(),
            since: Instant::now(),
        }
    }

    fn lasts(&self) -> Duration {
        Duration::from_secs(self.auth.lease_duration)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Session {
    /// Logs in at `path` with `credentials`, then renews at once, as the operator does.
    pub(crate) async fn login(
        vault: Vault,
        origin: Origin,
        path: &str,
        credentials: &Value,
        series: metrics::Vault,
        faults: Switchboard,
    ) -> Result<Self, Error> {
        let answer = write(
            &vault,
            &series,
            &origin.label,
            path,
            None,
            Some(credentials),
        )
        .await?;
        let auth = answer.ok_or_else(|| Error::Empty(path.into()))?.auth;
        let auth = auth.ok_or_else(|| Error::Other("auth secret is nil".into()))?;
        let session = Self::restored(vault, origin, &auth, series, faults);
        if auth.renewable {
            let began = Instant::now();
            let renewed = session.write("auth/token/renew-self", None).await;
            session.series.operation(
                Operation::Renew,
                &session.origin.label,
                began,
                renewed.is_err(),
            );
            session.take_over(&renewed?);
        }
        Ok(session)
    }

    /// With a token that was kept.
    pub(crate) fn restored(
        vault: Vault,
        origin: Origin,
        auth: &Auth,
        series: metrics::Vault,
        faults: Switchboard,
    ) -> Self {
        let token = Token {
            held: Mutex::new(Held::new(auth)),
            tainted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        };
        Self {
            id: hex_digest(&auth.accessor, 32),
            vault,
            token: Arc::new(token),
            origin,
            series,
            faults,
        }
    }

    /// Its token, as Vault gave it.
    pub(crate) fn auth(&self) -> Auth {
        self.held().auth
    }

    /// Keeps the token alive; ends when Vault prolongs it no more.
    ///
    /// As Vault's own client does it: renews at once, then each time after about 2/3 of the lease;
    /// gives up when the next renewal would fall into the last tenth or two.
    pub(crate) async fn keep_alive(&self) {
        let mut prior = Duration::ZERO;
        let mut grace = Duration::ZERO;
        while self.auth().renewable {
            let held = self.held();
            let renewed = self
                .vault
                .request(
                    Method::PUT,
                    "auth/token/renew-self",
                    Some(&held.auth.client_token),
                    None,
                )
                .await;
            if let Err(error) = renewed.map(|answer| self.take_over(&answer.unwrap_or_default())) {
                tracing::info!(key = self.origin.key, %error, "token not renewed");
                if held.since.elapsed() + RENEW_AGAIN > held.lasts() {
                    break;
                }
                tokio::time::sleep(RENEW_AGAIN).await;
                continue;
            }
            let left = self.held().lasts();
            if left > prior {
                grace = left.mul_f64(rand::random_range(0.1..0.2));
            }
            prior = left;
            let pause = left.mul_f64(2.0 / 3.0) + grace.mul_f64(1.0 / 3.0);
            if left <= pause + grace {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        if !self.auth().renewable {
            return std::future::pending().await;
        }
        self.token.ended.store(true, Ordering::Relaxed);
    }

    fn take_over(&self, answer: &Answer) {
        if let Some(auth) = &answer.auth {
            *self.token.held.lock().expect("no holder panics") = Held::new(auth);
        }
    }

    fn held(&self) -> Held {
        self.token.held.lock().expect("no holder panics").clone()
    }

    /// The same session in another Vault namespace.
    #[must_use]
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        self.vault = self.vault.within(namespace);
        self
    }

    /// Has the session looked at before it is used again: Vault said 403.
    pub(crate) fn taint(&self) {
        self.token.tainted.store(true, Ordering::Relaxed);
    }

    /// Whether it can still be used.
    pub(crate) async fn is_valid(&self) -> bool {
        let held = self.held();
        if self.token.ended.load(Ordering::Relaxed) || held.since.elapsed() > held.lasts() {
            return false;
        }
        if self.token.tainted.load(Ordering::Relaxed) {
            let valid = self.read("auth/token/lookup-self").await.is_ok();
            self.token.tainted.store(false, Ordering::Relaxed);
            return valid;
        }
        true
    }

    /// Reads what must be there.
    pub(crate) async fn read(&self, path: &str) -> Result<Answer, Error> {
        let began = Instant::now();
        let result = self
            .vault
            .request(Method::GET, path, Some(&self.auth().client_token), None)
            .await;
        // Where nothing is, the real operator counts no error: it has had an answer.
        self.series
            .operation(Operation::Read, &self.origin.label, began, result.is_err());
        result?.ok_or_else(|| Error::Empty(path.into()))
    }

    /// Reads, slowly if so told.
    pub(crate) async fn read_slowly(&self, path: &str) -> Result<Answer, Error> {
        self.faults.pass(Place::Read).await;
        self.read(path).await
    }

    /// Writes.
    pub(crate) async fn write(&self, path: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let token = self.auth().client_token;
        let answer = write(
            &self.vault,
            &self.series,
            &self.origin.label,
            path,
            Some(&token),
            body,
        )
        .await?;
        Ok(answer.unwrap_or_default())
    }
}

async fn write(
    vault: &Vault,
    series: &metrics::Vault,
    label: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Option<Answer>, Error> {
    let began = Instant::now();
    let result = vault.request(Method::PUT, path, token, body).await;
    series.operation(Operation::Write, label, began, result.is_err());
    result
}
