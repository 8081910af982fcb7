//! The CAs of a PKI mount, which Vault gives to anyone.

use std::sync::PoisonError;

use http::Method;
use serde::Deserialize;

use super::Vault;
use super::answer::{Answer, Said};
use crate::model::record::{Hindrance, Obstacle, Peer};

/// How many CAs of a mount are read at most: one a day for years. Where there are more, that is told and nothing is judged
/// by a part of them.
const ISSUERS: usize = 2000;
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
        let issuers = match listed.data::<Issuers>()? {
            Said::Yes(issuers) => issuers.keys,
            // A Vault before 1.11 knows one CA a mount.
            Said::No(no) if matches!(no.code, 403 | 404) => {
                let pem = self.pem(&format!("{mount}/ca/pem"), namespace).await?;
                return Ok(pem.into_iter().collect());
            }
            Said::No(no) => return Err(listed.refused(&no)),
        };
        if issuers.len() > ISSUERS {
            let text = format!(
                "`{mount}` has {} issuers, and the prober reads {ISSUERS} at most: delete those that have ended",
                issuers.len()
            );
            return Err(Obstacle::new(Peer::Vault, Hindrance::Unfit, text));
        }
        let mut read = Vec::with_capacity(issuers.len());
        for id in issuers {
            read.extend(
                self.issuer(format!("{mount}/issuer/{id}/pem"), namespace)
                    .await?,
            );
        }
        Ok(read)
    }

    /// The certificate of an issuer, which never changes, so that it is asked for once; none if it is too long to be one.
    async fn issuer(
        &self,
        path: String,
        namespace: Option<&str>,
    ) -> Result<Option<String>, Obstacle> {
        let lock = || self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.unwrap_or_default().to_owned(), path);
        if let Some(known) = lock().get(&key) {
            return Ok(Some(known.clone()));
        }
        let pem = self.pem(&key.1, namespace).await?;
        if let Some(pem) = &pem {
            let mut known = lock();
            if known.len() >= ISSUERS {
                known.clear();
            }
            known.insert(key, pem.clone());
        }
        Ok(pem)
    }

    async fn pem(&self, path: &str, namespace: Option<&str>) -> Result<Option<String>, Obstacle> {
        let answer = self
            .public(&format!("read `{path}`"), path, namespace)
            .await?;
        let pem = answer.granted(answer.pem()?)?;
        Ok(Some(pem).filter(|pem| pem.len() <= LONGEST))
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
