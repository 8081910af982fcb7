//! The questions to Vault about itself and the prober, which change nothing.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Vault;
use super::answer::{Answer, Said};
use crate::model::record::{Obstacle, VaultHealth};

/// What Vault says of its own state.
#[derive(Clone, Debug, Deserialize)]
pub struct State {
    /// Whether it has ever been set up.
    pub initialized: bool,
    /// Whether it is sealed.
    pub sealed: bool,
    /// Its version.
    pub version: String,
    /// Its clock, in seconds of Unix time.
    pub server_time_utc: i64,
}

/// What a token may be used for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Token {
    /// Its policies.
    pub policies: Vec<String>,
    /// How long it lives, in seconds; 0 for ever.
    pub ttl: u64,
    /// Whether it can be prolonged.
    pub renewable: bool,
    /// How long it lives anew with each renewal, in seconds; 0 if it is not periodic.
    pub period: u64,
}

/// A secrets engine, where it is mounted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Its type, e.g. `kv`.
    #[serde(rename = "type")]
    pub engine: String,
    /// Where it is mounted, with a slash at the end.
    pub path: String,
    /// Its options; of KV the version.
    pub options: Option<BTreeMap<String, String>>,
}

/// An audit device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AuditDevice {
    /// Its type, e.g. `file`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its options, as they were set.
    pub options: Option<BTreeMap<String, String>>,
}

impl AuditDevice {
    /// An option, if it is set.
    pub fn option(&self, key: &str) -> Option<&str> {
        let value = self.options.as_ref()?.get(key)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }
}

/// What a request was answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// What Vault said was wrong.
    pub errors: Vec<String>,
}

impl Vault {
    /// Asks for its state; needs no token.
    ///
    /// # Errors
    /// No answer came back, or not that of Vault.
    pub async fn state(&self) -> Result<State, Obstacle> {
        self.tell_state("sys/health").await.map(|(_, state)| state)
    }

    /// Asks for Vault's health; needs no token.
    ///
    /// # Errors
    /// No answer came back, or not that of Vault.
    pub async fn health(&self) -> Result<VaultHealth, Obstacle> {
        let (status, state) = self.tell_state("sys/health?perfstandbyok=true").await?;
        Ok(match status {
            _ if state.sealed => VaultHealth::Sealed,
            200 => VaultHealth::Active,
            other => VaultHealth::Other(other),
        })
    }

    /// What it says of itself under one of the statuses that stand for its states.
    async fn tell_state(&self, path: &str) -> Result<(u16, State), Obstacle> {
        let what = "read its health";
        let request = self.plain(what, Method::GET, path, None::<&()>)?;
        let answer = self.send(what, request, None).await?;
        match answer.status().as_u16() {
            status @ (200 | 429 | 472 | 473 | 501 | 503) => Ok((status, answer.json()?)),
            _ => Err(answer.foreign()),
        }
    }

    /// What may be done with the prober's token on each of these paths; `None` if it may not ask.
    pub async fn capabilities(
        &self,
        paths: &[String],
    ) -> Result<Option<BTreeMap<String, Vec<String>>>, Obstacle> {
        let body = json!({ "paths": paths });
        let path = "sys/capabilities-self";
        let all: Option<BTreeMap<String, Value>> =
            self.inquire(Method::POST, path, Some(&body), None).await?;
        let told = |value: Value| serde_json::from_value(value).ok();
        Ok(all.map(|all| {
            let of = |path: &String| Some((path.clone(), told(all.get(path)?.clone())?));
            paths.iter().filter_map(of).collect()
        }))
    }

    /// The prober's own token; `None` if it may not ask.
    pub async fn own_token(&self) -> Result<Option<Token>, Obstacle> {
        let path = "auth/token/lookup-self";
        let token: Option<Token> = self.inquire(Method::GET, path, None, None).await?;
        Ok(token.map(|token| Token {
            ttl: super::seconds(token.ttl).as_secs(),
            ..token
        }))
    }

    /// Asks for the prober's own token, so that Vault's audit log has a line of it. Returns the ID of the request; `None` if
    /// Vault refuses.
    ///
    /// # Errors
    /// No answer came back, or not that of Vault.
    pub async fn leave_line(&self) -> Result<Option<String>, Obstacle> {
        let path = "auth/token/lookup-self";
        let answer = self.request(Method::GET, path, None, None).await?;
        Ok(match answer.request_id()? {
            Said::Yes(id) => Some(id),
            Said::No(_) => None,
        })
    }

    /// The audit devices by their paths, with a slash at the end; `None` if the prober may not ask.
    ///
    /// # Errors
    /// No answer came back, or not that of Vault.
    pub async fn audit_devices(&self) -> Result<Option<BTreeMap<String, AuditDevice>>, Obstacle> {
        self.inquire(Method::GET, "sys/audit", None, None).await
    }

    /// The secrets engine at `mount`; `None` if there is none that the prober may do anything with.
    pub async fn mount(
        &self,
        mount: &str,
        namespace: Option<&str>,
    ) -> Result<Option<Mount>, Obstacle> {
        let path = format!("sys/internal/ui/mounts/{mount}");
        self.inquire(Method::GET, &path, None, namespace).await
    }

    /// What a read of `path` is answered, without what was read.
    pub async fn try_read(&self, path: &str, namespace: Option<&str>) -> Result<Reply, Obstacle> {
        let answer = self.request(Method::GET, path, None, namespace).await?;
        Ok(match answer.done()? {
            Said::Yes(()) => Reply {
                status: answer.status().as_u16(),
                errors: Vec::new(),
            },
            Said::No(no) => Reply {
                status: no.code,
                errors: no.errors,
            },
        })
    }

    /// What Vault answers with the prober's token; `None` if it refuses.
    async fn inquire<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        namespace: Option<&str>,
    ) -> Result<Option<T>, Obstacle> {
        let answer = self.request(method, path, body, namespace).await?;
        Ok(match answer.data()? {
            Said::Yes(value) => Some(value),
            Said::No(_) => None,
        })
    }

    /// Sends a request with the prober's token, and takes whatever answer comes but that of a server error.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        namespace: Option<&str>,
    ) -> Result<Answer, Obstacle> {
        let what = format!("{} `{path}`", method.as_str().to_lowercase());
        let request = self.plain(&what, method, path, body)?;
        let request = self.within(&what, request, namespace)?;
        let answer = self.ask(&what, request).await?;
        if answer.status().is_server_error() {
            answer.granted(answer.done()?)?;
        }
        Ok(answer)
    }
}
