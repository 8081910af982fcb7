//! Requests that an intruder would make, for a drill: they harm nobody.

use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use vaultrs::api::kv2::requests::ReadSecretRequest;

use super::Vault;
use super::login::Credentials;
use crate::config::KvPath;
use crate::model::record::Obstacle;
use crate::wire::fits_header;

/// What a login grants, as far as a drill needs it.
#[derive(Deserialize)]
struct Granted {
    client_token: SecretString,
}

impl Vault {
    /// Asks for a secret of a KV engine, version 2, without a token, which Vault refuses and writes to its audit log. Returns the
    /// status of the answer.
    ///
    /// # Errors
    /// No answer came back, or not that of Vault.
    pub async fn ask_as_nobody(&self, at: &KvPath) -> Result<u16, Obstacle> {
        let what = format!("read `{at}` without a token");
        let (mount, path) = (at.mount.clone(), at.path.clone());
        let read = ReadSecretRequest {
            mount,
            path,
            version: None,
        };
        let request = self.within(&what, self.words(&what, read)?, at.namespace.as_deref())?;
        let answer = self.send(&what, request, None).await?;
        Ok(answer.status().as_u16())
    }

    /// Logs in by the method `kubernetes` as whoever `token` is of, and gives the token that Vault grants back at once. Returns the
    /// ID of the login, as the audit log has it.
    ///
    /// # Errors
    /// Vault refuses, or no answer came back.
    pub async fn visit(
        &self,
        mount: &str,
        role: &str,
        token: &SecretString,
    ) -> Result<String, Obstacle> {
        let what = format!("log in to `auth/{mount}` with the role `{role}`");
        let jwt = token.expose_secret();
        let with = Credentials::Jwt { role, jwt };
        let path = format!("auth/{mount}/login");
        let request = self.plain(&what, Method::POST, &path, Some(&with))?;
        let answer = self.send(&what, request, None).await?;
        let granted: Granted = answer.granted(answer.auth()?)?;
        if !fits_header(granted.client_token.expose_secret()) {
            return Err(answer.foreign());
        }
        let id = answer.granted(answer.request_id()?)?;
        self.revoke(&granted.client_token).await?;
        Ok(id)
    }
}
