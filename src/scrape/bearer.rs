//! The bearer token for metrics: from a file, or of a ServiceAccount that may do nothing else.

use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Error;
use crate::config::Access;
use crate::kubernetes;
use crate::model::name::ObjectRef;
use crate::wire::http;

/// How long a token is used, of the ten minutes that it is good for, so that one that is on its way never ends there.
const USED: Duration = Duration::from_secs(300);

/// Where the token comes from.
pub(super) enum Bearer {
    /// None is sent.
    None,
    /// It is replaced while the prober runs, so it is read each time.
    File(PathBuf),
    /// The API server issues it, and this keeps it for a while.
    Account(Account),
}

/// A ServiceAccount that tokens are asked for.
pub(super) struct Account {
    kube: Client,
    namespace: String,
    name: String,
    issued: Mutex<Option<(Instant, SecretString)>>,
}

impl Bearer {
    /// What `access` names; a ServiceAccount is in the namespace `home`.
    pub(super) fn new(access: &Access, kube: &Client, home: &str) -> Self {
        match (&access.service_account, &access.bearer_token_file) {
            (Some(name), _) => Self::Account(Account {
                kube: kube.clone(),
                namespace: home.to_owned(),
                name: name.clone(),
                issued: Mutex::default(),
            }),
            (None, Some(file)) => Self::File(file.clone()),
            (None, None) => Self::None,
        }
    }

    /// The token, if one is to be sent.
    pub(super) async fn token(&self) -> Result<Option<SecretString>, Error> {
        match self {
            Self::None => Ok(None),
            Self::File(file) => {
                let what = "`operator.metrics.bearerTokenFile`";
                let token = http::credential_aside(what, file).await;
                token.map(Some).map_err(|text| Error::new(None, text))
            }
            Self::Account(account) => account.token().await.map(Some),
        }
    }

    /// Forgets a token that was refused: the ServiceAccount may have been made anew.
    pub(super) async fn refused(&self) {
        if let Self::Account(account) = self {
            *account.issued.lock().await = None;
        }
    }
}

impl Account {
    async fn token(&self) -> Result<SecretString, Error> {
        let mut issued = self.issued.lock().await;
        if let Some((since, token)) = issued.as_ref()
            && since.elapsed() < USED
        {
            return Ok(token.clone());
        }
        let since = Instant::now();
        let token = token(&self.kube, &self.namespace, &self.name).await?;
        *issued = Some((since, token.clone()));
        Ok(token)
    }
}

/// Asks the API server for a token of a ServiceAccount, for itself.
///
/// # Errors
/// What was tried and what came back.
pub async fn token(kube: &Client, namespace: &str, name: &str) -> Result<SecretString, Error> {
    let token = kubernetes::account_token(kube, &ObjectRef::new(namespace, name), &[]).await;
    token.map_err(|obstacle| Error::token(obstacle.reply, obstacle.text))
}
