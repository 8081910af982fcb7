//! The login to Vault, and the request that renews its token.

use std::path::Path;

use http::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest};

use super::answer::Said;
use super::session::Session;
use super::{Vault, expose};
use crate::config::{Auth, TokenSource};
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::wire::fits_header;
use crate::wire::http::{credential_aside, one_line};

/// How the request is called that logs in.
pub(super) const WHAT: &str = "log in";

/// What Vault grants a token.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    /// How long it lives, in seconds.
    pub(super) ttl: u64,
    /// Whether that can be prolonged.
    pub(super) renewable: bool,
    /// Whether Vault does not store it.
    pub(super) batch: bool,
}

/// What a login or a renewal grants.
#[derive(Deserialize)]
struct Granted {
    client_token: SecretString,
    lease_duration: u64,
    renewable: bool,
    #[serde(default)]
    token_type: String,
}

impl Granted {
    fn grant(&self) -> Grant {
        Grant {
            ttl: self.lease_duration,
            renewable: self.renewable,
            batch: self.token_type == BATCH,
        }
    }
}

/// What Vault tells of a token to whoever bears it.
#[derive(Deserialize)]
struct Told {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
    #[serde(default, rename = "type")]
    kind: String,
}

/// What a login is asked for with.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Credentials<'a> {
    Jwt {
        role: &'a str,
        jwt: &'a str,
    },
    AppRole {
        role_id: &'a str,
        secret_id: &'a str,
    },
}

/// How Vault calls a token that it does not store.
const BATCH: &str = "batch";

/// Renews the token.
pub(super) async fn renew(vault: &Vault, token: &SecretString) -> Result<Grant, Obstacle> {
    let what = "renew the prober's own token";
    let request = vault.words(what, RenewTokenSelfRequest { increment: None })?;
    let answer = vault.send(what, request, Some(token)).await?;
    let granted: Granted = answer.granted(answer.auth()?)?;
    let ttl_seconds = granted.lease_duration;
    tracing::debug!(ttl_seconds, "renewed the token for Vault");
    Ok(granted.grant())
}

/// Logs in.
pub(super) async fn login(vault: &Vault) -> Result<Session, Obstacle> {
    let auth = &vault.config.auth;
    let method = method(auth);
    let what = format!("{WHAT} ({method})");
    let ask = |mount: &str, with: &Credentials<'_>| {
        let path = format!("auth/{mount}/login");
        vault.plain(&what, Method::POST, &path, Some(with))
    };
    let request = match auth {
        Auth::Token(source) => return use_token(vault, token(source).await?).await,
        Auth::Kubernetes {
            mount,
            role,
            token_file,
        } => {
            let jwt = read("the ServiceAccount's token", token_file).await?;
            let jwt = expose(&jwt);
            ask(mount, &Credentials::Jwt { role, jwt })
        }
        Auth::AppRole {
            mount,
            role_id_file,
            secret_id_file,
        } => {
            let role_id = read("the role ID", role_id_file).await?;
            let secret_id = read("the secret ID", secret_id_file).await?;
            let (role_id, secret_id) = (expose(&role_id), expose(&secret_id));
            ask(mount, &Credentials::AppRole { role_id, secret_id })
        }
        Auth::Jwt {
            mount,
            role,
            token_file,
        } => {
            let jwt = read("the JWT", token_file).await?;
            let jwt = expose(&jwt);
            ask(mount, &Credentials::Jwt { role, jwt })
        }
    };
    let answer = vault.send(&what, request?, None).await?;
    let granted: Granted = match answer.auth()? {
        Said::Yes(granted) => granted,
        Said::No(no) => {
            let mut obstacle = answer.refused(&no);
            if obstacle.how == Hindrance::Denied {
                obstacle.text = obstacle
                    .text
                    .and("; check the role, its bound names and the audience");
            }
            return Err(obstacle);
        }
    };
    if !fits_header(expose(&granted.client_token)) {
        return Err(answer.foreign());
    }
    tracing::debug!(method, "logged in to Vault");
    let grant = granted.grant();
    Ok(Session::by_login(granted.client_token, grant))
}

/// Takes a token that is there already, and asks Vault how long it lives.
async fn use_token(vault: &Vault, token: SecretString) -> Result<Session, Obstacle> {
    let what = "look up the prober's own token";
    let request = vault.words(what, LookupTokenSelfRequest {})?;
    let answer = vault.send(what, request, Some(&token)).await?;
    let told: Told = match answer.data()? {
        Said::Yes(told) => told,
        Said::No(no) => {
            let mut obstacle = answer.refused(&no);
            if no.code == 403 {
                obstacle.text = obstacle
                    .text
                    .and("; the token is wrong, expired or revoked");
            }
            return Err(obstacle);
        }
    };
    let grant = Grant {
        ttl: told.ttl,
        renewable: told.renewable,
        batch: told.kind == BATCH,
    };
    Ok(Session::with_token(token, grant))
}

fn method(auth: &Auth) -> &'static str {
    match auth {
        Auth::Token(_) => "token",
        Auth::Kubernetes { .. } => "kubernetes",
        Auth::AppRole { .. } => "appRole",
        Auth::Jwt { .. } => "jwt",
    }
}

async fn token(source: &TokenSource) -> Result<SecretString, Obstacle> {
    match source {
        TokenSource::File(file) => read("the token", file).await,
        TokenSource::Env(name) => match std::env::var(name) {
            Ok(token) if !token.trim().is_empty() => {
                one_line(&token, &format!("the token for Vault in `{name}`")).map_err(denied)
            }
            Ok(_) | Err(_) => Err(denied(format!(
                "tried to read the token for Vault from the environment: `{name}` is not set"
            ))),
        },
    }
}

async fn read(what: &str, file: &Path) -> Result<SecretString, Obstacle> {
    let read = credential_aside(&format!("{what} for Vault"), file).await;
    read.map_err(denied)
}

fn denied(text: String) -> Obstacle {
    Obstacle::new(Peer::Vault, Hindrance::Denied, text)
}
