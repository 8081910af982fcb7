//! Logging in to Vault, and staying so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vaultrs::client::VaultClient;
use vaultrs::error::ClientError;

use super::{SecretString, Vault, detail, expose};
use crate::config::{Auth, TokenSource};
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::time::{self, Moment as _};
use crate::wire::http::{credential, one_line};

/// A token in use.
pub(super) struct Session {
    pub(super) client: Arc<VaultClient>,
    /// Whether the prober got it by a login of its own, and so may revoke it.
    pub(super) own: bool,
    /// When it is to be renewed, or replaced, and when it ends; `None` if it never does.
    life: Option<Life>,
}

struct Life {
    renew: Instant,
    end: Instant,
    renewable: bool,
}

impl Life {
    /// A token is renewed after two thirds of its time, as Vault's own agents do.
    fn new(ttl: Duration, renewable: bool) -> Self {
        let now = Instant::now();
        let ttl = time::clamped(ttl);
        Self {
            renew: now.later(time::share(ttl, 2.0 / 3.0)),
            end: now.later(ttl),
            renewable,
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// The value of the header that carries the token.
pub(super) fn header(client: &VaultClient) -> http::HeaderValue {
    let mut value = http::HeaderValue::from_str(&client.settings.token)
        .unwrap_or_else(|_| http::HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Renews the token if its time has come. `false` if a new login is needed.
pub(super) async fn keep(session: &mut Session) -> bool {
    let Some(life) = &session.life else {
        return true;
    };
    let now = Instant::now();
    if now < life.renew {
        return true;
    }
    if life.renewable {
        match vaultrs::token::renew_self(&*session.client, None).await {
            Ok(auth) => {
                tracing::debug!(
                    ttl_seconds = auth.lease_duration,
                    "renewed the token for Vault"
                );
                let fresh = Life::new(Duration::from_secs(auth.lease_duration), auth.renewable);
                // A renewal that adds nothing has met the token's maximum. A token that came from
                // elsewhere is used until its end; there is no other to be had.
                let prolonged = fresh.end > life.end;
                let usable = prolonged || (!session.own && now < life.end);
                session.life = Some(fresh);
                return usable;
            }
            Err(error) => {
                tracing::warn!(error = %detail(&error), "the token for Vault could not be renewed");
            }
        }
    }
    !session.own && now < life.end
}

/// Logs in.
pub(super) async fn login(vault: &Vault) -> Result<Session, Obstacle> {
    let anonymous = vault.with_token("");
    let logged_in = match &vault.config.auth {
        Auth::Token(source) => return use_token(vault, &token(source)?).await,
        Auth::Kubernetes {
            mount,
            role,
            token_file,
        } => {
            let jwt = read("the ServiceAccount's token", token_file)?;
            vaultrs::auth::kubernetes::login(&anonymous, mount, role, expose(&jwt)).await
        }
        Auth::AppRole {
            mount,
            role_id_file,
            secret_id_file,
        } => {
            let role_id = read("the role ID", role_id_file)?;
            let secret_id = read("the secret ID", secret_id_file)?;
            vaultrs::auth::approle::login(&anonymous, mount, expose(&role_id), expose(&secret_id))
                .await
        }
        Auth::Jwt {
            mount,
            role,
            token_file,
        } => {
            let jwt = read("the JWT", token_file)?;
            vaultrs::auth::oidc::login(&anonymous, mount, expose(&jwt), Some(role.clone())).await
        }
    };
    let auth = logged_in.map_err(|error| {
        let mut obstacle =
            vault.obstacle(&format!("log in ({})", method(&vault.config.auth)), &error);
        if obstacle.how == Hindrance::Denied {
            obstacle.text = obstacle
                .text
                .and("; check the role, its bound names and the audience");
        }
        obstacle
    })?;
    tracing::debug!(method = method(&vault.config.auth), "logged in to Vault");
    Ok(Session {
        client: Arc::new(vault.with_token(&auth.client_token)),
        own: true,
        life: Some(Life::new(
            Duration::from_secs(auth.lease_duration),
            auth.renewable,
        )),
    })
}

/// Takes a token that is there already, and asks Vault how long it lives.
async fn use_token(vault: &Vault, token: &SecretString) -> Result<Session, Obstacle> {
    let client = vault.with_token(expose(token));
    let life = match vaultrs::token::lookup_self(&client).await {
        // A root token has no time to live, and no end.
        Ok(token) => (token.ttl > 0).then(|| {
            Life::new(
                Duration::from_secs(token.ttl),
                token.renewable.unwrap_or_default(),
            )
        }),
        Err(error @ ClientError::APIError { code: 403, .. }) => {
            let mut obstacle = vault.obstacle("look up the prober's own token", &error);
            obstacle.text = obstacle
                .text
                .and("; the token is wrong, expired or revoked");
            return Err(obstacle);
        }
        Err(error) => return Err(vault.obstacle("look up the prober's own token", &error)),
    };
    Ok(Session {
        client: Arc::new(client),
        own: false,
        life,
    })
}

fn method(auth: &Auth) -> &'static str {
    match auth {
        Auth::Token(_) => "token",
        Auth::Kubernetes { .. } => "kubernetes",
        Auth::AppRole { .. } => "appRole",
        Auth::Jwt { .. } => "jwt",
    }
}

fn token(source: &TokenSource) -> Result<SecretString, Obstacle> {
    match source {
        TokenSource::File(file) => read("the token", file),
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

fn read(what: &str, file: &Path) -> Result<SecretString, Obstacle> {
    credential(&format!("{what} for Vault"), file).map_err(denied)
}

fn denied(text: String) -> Obstacle {
    Obstacle {
        at: Peer::Vault,
        how: Hindrance::Denied,
        text: text.into(),
    }
}
