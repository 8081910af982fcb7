//! The CAs of a PKI mount, which Vault gives to anyone.

use http::Method;
use serde::Deserialize;

use super::Vault;
use super::answer::{Answer, Said};
use crate::model::record::Obstacle;

/// No mount has more CAs at work.
const ISSUERS: usize = 16;
/// No certificate is longer, in bytes of PEM.
const LONGEST: usize = 64 * 1024;

#[derive(Deserialize)]
struct Issuers {
    keys: Vec<String>,
}

impl Vault {
    /// The certificates of the CAs that a mount, in the prober's own namespace or another, may issue with, in PEM. Needs no token.
    ///
    /// # Errors
    /// There is no such mount, or Vault can't be reached.
    pub async fn pki_issuers(
        &self,
        mount: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<String>, Obstacle> {
        let what = format!("list the issuers of `{mount}`");
        let listed = self
            .public(&what, &format!("{mount}/issuers?list=true"), namespace)
            .await?;
        let paths = match listed.data::<Issuers>()? {
            Said::Yes(issuers) => {
                let keys = issuers.keys.into_iter().take(ISSUERS);
                keys.map(|id| format!("{mount}/issuer/{id}/pem")).collect()
            }
            // A Vault before 1.11 knows one CA a mount.
            Said::No(no) if matches!(no.code, 403 | 404) => vec![format!("{mount}/ca/pem")],
            Said::No(no) => return Err(listed.refused(&no)),
        };
        let mut issuers = Vec::with_capacity(paths.len());
        for path in paths {
            let answer = self
                .public(&format!("read `{path}`"), &path, namespace)
                .await?;
            let pem = answer.granted(answer.pem()?)?;
            issuers.extend((pem.len() <= LONGEST).then_some(pem));
        }
        Ok(issuers)
    }

    /// Asks for what needs no token; `path` without `/v1/`.
    async fn public(
        &self,
        what: &str,
        path: &str,
        namespace: Option<&str>,
    ) -> Result<Answer, Obstacle> {
        let request = self.plain(what, Method::GET, path, None::<&()>)?;
        let request = self.within(what, request, namespace)?;
        self.send(what, request, None).await
    }
}
