//! Another process of this program, asked over HTTP for what its audit tells.

use std::time::Duration;

use reqwest::{Client, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use super::causes;
use super::http::{body, builder};
use crate::model::text::Text;

/// No answer is larger, in bytes.
const LARGEST: usize = 16 << 20;

/// A prober that judges audit logs.
pub struct Sibling {
    client: Client,
    url: Url,
}

/// Why it did not tell.
#[derive(Debug, thiserror::Error)]
#[error("tried to {tried} {url}: {why}")]
pub struct Untold {
    /// What was tried on it: to `read` it, or to `post to` it.
    pub tried: &'static str,
    /// What was asked for.
    pub url: Box<str>,
    /// What came back.
    pub why: String,
}

#[derive(Deserialize)]
struct Sources {
    sources: Vec<Source>,
}

/// What it tells of a source of audit lines.
#[derive(Debug, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: Text,
    /// Why it can't be relied on, if it can't.
    pub reason: Option<Text>,
    /// The rules that are off.
    pub off: Vec<Off>,
}

/// A rule that is off.
#[derive(Debug, Deserialize)]
pub struct Off {
    /// Which.
    pub rule: Text,
    /// Why.
    pub reason: Text,
}

impl Sibling {
    /// The one at `url`, each answer of which may take `limit`.
    ///
    /// # Errors
    /// There can be no client.
    pub fn at(url: Url, limit: Duration) -> Result<Self, String> {
        let client = builder(url.as_str(), None)?.timeout(limit).build();
        let client = client.map_err(|error| causes(&error))?;
        Ok(Self { client, url })
    }

    /// Its address.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// What it tells of its sources.
    ///
    /// # Errors
    /// As those of [`Self::tells`].
    pub async fn sources(&self) -> Result<Vec<Source>, Untold> {
        let told: Sources = self.tells("sources", &[]).await?;
        Ok(told.sources)
    }

    /// What it tells at `/api/v1/audit/WHAT?QUERY`.
    ///
    /// # Errors
    /// It does not answer, or not with that.
    pub async fn tells<T: DeserializeOwned>(
        &self,
        what: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Untold> {
        let (url, body) = self.ask(Method::GET, what, query).await?;
        serde_json::from_slice(&body).map_err(|error| Untold {
            tried: "read",
            url: url.as_str().into(),
            why: format!("its answer is another's: {error}"),
        })
    }

    /// Tells it something, at `/api/v1/audit/WHAT?QUERY`.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn tell(&self, what: &str, query: &[(&str, &str)]) -> Result<(), Untold> {
        self.ask(Method::POST, what, query).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        what: &str,
        query: &[(&str, &str)],
    ) -> Result<(Url, Zeroizing<Vec<u8>>), Untold> {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1", "audit", what]);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let untold = |why| Untold {
            tried: if method == Method::GET {
                "read"
            } else {
                "post to"
            },
            url: url.as_str().into(),
            why,
        };
        let request = self.client.request(method.clone(), url.clone());
        let answer = request.send().await;
        let answer = answer.map_err(|error| untold(causes(&error)))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(untold(format!("it answered {status}")));
        }
        let body = body(answer, LARGEST).await;
        let body = body.map_err(|error| untold(error.to_string()))?;
        Ok((url, body))
    }
}
