//! The CAs of a PKI mount, which Vault tells to anyone.

use reqwest::StatusCode;
use serde::Deserialize;

use super::{Vault, refusal};
use crate::model::record::{Hindrance, Obstacle, Peer};

/// No mount has more CAs at work.
const ISSUERS: usize = 16;
/// No certificate is longer, in bytes of PEM.
const LONGEST: usize = 64 * 1024;

#[derive(Deserialize)]
struct Issuers {
    data: IssuersData,
}

#[derive(Deserialize)]
struct IssuersData {
    keys: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

impl Vault {
    /// The certificates of the CAs that a mount may issue with, in PEM. Needs no token.
    ///
    /// # Errors
    /// There is no such mount, or Vault can't be reached.
    pub async fn pki_issuers(&self, mount: &str) -> Result<Vec<String>, Obstacle> {
        let listed = self.public(&format!("{mount}/issuers?list=true")).await?;
        let paths = match listed.status() {
            StatusCode::OK => {
                let what = format!("list the issuers of `{mount}`");
                let issuers: Issuers = listed.json().await.map_err(|_| self.no_json(&what))?;
                let keys = issuers.data.keys.into_iter().take(ISSUERS);
                keys.map(|id| format!("{mount}/issuer/{id}/pem")).collect()
            }
            // A Vault before 1.11 knows one CA a mount.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => vec![format!("{mount}/ca/pem")],
            _ => {
                return Err(self
                    .refused(&format!("list the issuers of `{mount}`"), listed)
                    .await);
            }
        };
        let mut issuers = Vec::with_capacity(paths.len());
        for path in paths {
            let answer = self.public(&path).await?;
            if !answer.status().is_success() {
                return Err(self.refused(&format!("read `{path}`"), answer).await);
            }
            let pem = answer.text().await.unwrap_or_default();
            issuers.extend((pem.len() <= LONGEST).then_some(pem));
        }
        Ok(issuers)
    }

    /// Asks for what needs no token; `path` without `/v1/`.
    async fn public(&self, path: &str) -> Result<reqwest::Response, Obstacle> {
        let mut request = self.http.get(format!("{}/v1/{path}", self.config.address));
        if let Some(namespace) = &self.config.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        request
            .send()
            .await
            .map_err(|error| self.no_answer(&format!("read `{path}`"), &error))
    }

    async fn refused(&self, what: &str, answer: reqwest::Response) -> Obstacle {
        let code = answer.status().as_u16();
        let Errors { errors } = answer.json().await.unwrap_or_default();
        refusal(&self.config.address, what, code, &errors)
    }

    fn no_json(&self, what: &str) -> Obstacle {
        Obstacle {
            at: Peer::Vault,
            how: Hindrance::Failed,
            text: format!(
                "tried to {what} on Vault at {}: the answer is not Vault's JSON",
                self.config.address
            )
            .into(),
        }
    }
}
