//! The login to Vault, and the renewal of its token.

use std::path::Path;

use http::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest};

use super::answer::Said;
use super::{Vault, expose, seconds};
use crate::config::{Auth, TokenSource};
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::time::Moment as _;
use crate::wire::fits_header;
use crate::wire::http::{credential_aside, one_line};

/// A token in use.
pub(super) struct Session {
    pub(super) token: SecretString,
    /// Whether the prober got it by a login of its own, and so may revoke it.
    pub(super) own: bool,
    /// When it was got.
    pub(super) made: Instant,
    /// When it is to be renewed, or replaced, and when it ends; `None` if it never does.
    life: Option<Life>,
}

struct Life {
    renew: Instant,
    end: Instant,
    renewable: bool,
}

/// What a login or a renewal grants.
#[derive(Deserialize)]
struct Granted {
    client_token: SecretString,
    lease_duration: u64,
    renewable: bool,
}

/// What Vault tells of a token to whoever bears it.
#[derive(Deserialize)]
struct Told {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// What a login is asked for with.
#[derive(Serialize)]
#[serde(untagged)]
enum Credentials<'a> {
    Jwt {
        role: &'a str,
        jwt: &'a str,
    },
    AppRole {
        role_id: &'a str,
        secret_id: &'a str,
    },
}

impl Life {
    /// A token is renewed after two thirds of its time, as Vault's own agents do.
    fn new(ttl: u64, renewable: bool) -> Self {
        let (now, ttl) = (Instant::now(), seconds(ttl));
        Self {
            renew: now.later(ttl * 2 / 3),
            end: now.later(ttl),
            renewable,
        }
    }
}

impl Session {
    /// Whether it can be used as it is.
    pub(super) fn fresh(&self) -> bool {
        let now = Instant::now();
        self.life.as_ref().is_none_or(|life| now < life.renew)
    }

    /// Whether it can still be used, though it is time to renew it.
    pub(super) fn lives(&self) -> bool {
        let now = Instant::now();
        self.life.as_ref().is_none_or(|life| now < life.end)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Renews the token. `None` if a new login is needed.
pub(super) async fn keep(vault: &Vault, session: &Session) -> Option<Session> {
    let life = session.life.as_ref()?;
    let with = |life| Session {
        token: session.token.clone(),
        own: session.own,
        made: session.made,
        life: Some(life),
    };
    if life.renewable {
        match renew(vault, &session.token).await {
            Ok(fresh) => {
                // A renewal that adds nothing has met the token's maximum. A token that came from
                // elsewhere is used until its end; there is no other to be had.
                let prolonged = fresh.end > life.end;
                let usable = prolonged || (!session.own && session.lives());
                return usable.then(|| with(fresh));
            }
            Err(obstacle) => {
                let error = obstacle.text;
                tracing::warn!(%error, "the token for Vault could not be renewed");
            }
        }
    }
    let Life { renew, end, .. } = *life;
    (!session.own && session.lives()).then(|| {
        with(Life {
            renew,
            end,
            renewable: life.renewable,
        })
    })
}

async fn renew(vault: &Vault, token: &SecretString) -> Result<Life, Obstacle> {
    let what = "renew the prober's own token";
    let request = vault.words(what, RenewTokenSelfRequest { increment: None })?;
    let answer = vault.send(what, request, Some(token)).await?;
    let granted: Granted = answer.granted(answer.auth()?)?;
    let ttl_seconds = granted.lease_duration;
    tracing::debug!(ttl_seconds, "renewed the token for Vault");
    Ok(Life::new(ttl_seconds, granted.renewable))
}

/// Logs in.
pub(super) async fn login(vault: &Vault) -> Result<Session, Obstacle> {
    let auth = &vault.config.auth;
    let method = method(auth);
    let what = format!("log in ({method})");
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
    Ok(Session {
        token: granted.client_token,
        own: true,
        made: Instant::now(),
        life: Some(Life::new(granted.lease_duration, granted.renewable)),
    })
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
    Ok(Session {
        token,
        own: false,
        made: Instant::now(),
        // A root token has no time to live, and no end.
        life: (told.ttl > 0).then(|| Life::new(told.ttl, told.renewable)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_be_said_to_live_for_ever() {
        let life = Life::new(u64::MAX, true);
        assert!(Instant::now() < life.renew && life.renew < life.end);
        let life = Life::new(0, false);
        assert!(life.end <= Instant::now());
    }
}
