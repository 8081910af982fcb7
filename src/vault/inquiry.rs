//! What Vault tells of itself and of the prober: questions that change nothing.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Vault, login, refusal};
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::wire::causes;

/// What Vault says of its own state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
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
    /// Its options; of KV the version.
    pub options: Option<BTreeMap<String, String>>,
}

/// What a request was answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// What Vault said was wrong.
    pub errors: Vec<String>,
    data: Value,
}

impl Reply {
    /// The answer itself; `None` if it is not of this form, or refuses.
    fn read<T: for<'de> Deserialize<'de>>(&self) -> Option<T> {
        let good = self.status < 300;
        good.then(|| serde_json::from_value(self.data.clone()).ok())?
    }
}

impl Vault {
    /// Asks for its state; needs no token.
    ///
    /// # Errors
    /// No answer came back, or not that of Vault.
    pub async fn state(&self) -> Result<State, Obstacle> {
        let url = format!("{}/v1/sys/health", self.config.address);
        let what = "ask for its health";
        let answer = self.http.get(url).send().await;
        let answer = answer.map_err(|error| self.no_answer(what, &error))?;
        let status = answer.status();
        answer.json().await.map_err(|error| Obstacle {
            at: Peer::Vault,
            how: Hindrance::Failed,
            text: format!(
                "tried to {what} on Vault at {}: it answered {status} with something else than Vault's JSON: {}",
                self.config.address,
                causes(&error.without_url())
            ).into(),
        })
    }

    /// What may be done with the prober's token on each of these paths; `None` if it may not ask.
    pub async fn capabilities(
        &self,
        paths: &[String],
    ) -> Result<Option<BTreeMap<String, Vec<String>>>, Obstacle> {
        let body = json!({ "paths": paths });
        let reply = self
            .request(Method::POST, "sys/capabilities-self", Some(&body))
            .await?;
        let all: Option<BTreeMap<String, Value>> = reply.read();
        let told = |value: Value| serde_json::from_value(value).ok();
        Ok(all.map(|all| {
            let of = |path: &String| Some((path.clone(), told(all.get(path)?.clone())?));
            paths.iter().filter_map(of).collect()
        }))
    }

    /// The prober's own token; `None` if it may not ask.
    pub async fn own_token(&self) -> Result<Option<Token>, Obstacle> {
        let path = "auth/token/lookup-self";
        Ok(self.request(Method::GET, path, None).await?.read())
    }

    /// The secrets engine at `mount`; `None` if there is none that the prober may do anything with.
    pub async fn mount(&self, mount: &str) -> Result<Option<Mount>, Obstacle> {
        let path = format!("sys/internal/ui/mounts/{mount}");
        Ok(self.request(Method::GET, &path, None).await?.read())
    }

    /// What a read of `path` is answered, without what was read.
    pub async fn try_read(&self, path: &str) -> Result<Reply, Obstacle> {
        let reply = self.request(Method::GET, path, None).await?;
        Ok(Reply {
            data: Value::Null,
            ..reply
        })
    }

    /// Sends a request with the prober's token, and takes whatever answer comes but that of a server error.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, Obstacle> {
        let client = self.client().await?;
        let what = format!("{} `{path}`", method.as_str().to_lowercase());
        let url = format!("{}/v1/{path}", self.config.address);
        let mut request = self
            .http
            .request(method, url)
            .header("X-Vault-Request", "true")
            .header("X-Vault-Token", login::header(&client));
        if let Some(namespace) = &self.config.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| self.no_answer(&what, &error))?;
        let status = answer.status().as_u16();
        let mut whole: Value = answer.json().await.unwrap_or_default();
        let errors: Vec<String> =
            serde_json::from_value(whole["errors"].take()).unwrap_or_default();
        if status >= 500 {
            return Err(refusal(&self.config.address, &what, status, &errors));
        }
        Ok(Reply {
            status,
            errors,
            data: whole["data"].take(),
        })
    }
}
