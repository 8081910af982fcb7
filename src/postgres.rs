//! Logs in to PostgreSQL with a credential, to tell whether it is good.

mod tls;

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::error::{DbError, SqlState};

use crate::config::{PostgresTarget, SslMode};
use crate::model::record::{Hindrance, Login, Obstacle, Peer};
use crate::wire::{self, causes};
use tls::Connector;

/// How long one login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
/// How long the farewell may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// Who logs in. Never printed, and kept nowhere else.
pub struct Credential {
    /// The role's name.
    pub user: SecretString,
    /// Its password.
    pub password: SecretString,
}

/// A server to log in to.
#[derive(Clone)]
pub struct Server {
    target: PostgresTarget,
    tls: Connector,
}

impl Server {
    /// Makes ready to log in. Nothing is sent yet.
    ///
    /// # Errors
    /// A certificate is to be verified, and there is no CA to verify it by.
    pub fn new(target: &PostgresTarget) -> Result<Self, Obstacle> {
        let tls = Connector::new(target.ssl_mode)
            .map_err(|why| obstacle(target, Hindrance::Failed, &why))?;
        Ok(Self {
            target: target.clone(),
            tls,
        })
    }

    /// Logs in, and leaves again.
    pub async fn login(&self, credential: &Credential) -> Login {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.target.host)
            .port(self.target.port)
            .dbname(&self.target.database)
            .user(credential.user.expose_secret())
            .password(credential.password.expose_secret())
            .application_name(wire::USER_AGENT)
            .ssl_mode(match self.target.ssl_mode {
                SslMode::Disable => tokio_postgres::config::SslMode::Disable,
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                    tokio_postgres::config::SslMode::Require
                }
            });
        let connected = config.connect(self.tls.clone());
        match tokio::time::timeout(LOGIN_LIMIT, connected).await {
            Ok(Ok((client, connection))) => {
                drop(client);
                // Without a client it says goodbye and ends.
                let _ = tokio::time::timeout(FAREWELL_LIMIT, connection).await;
                Login::In
            }
            Ok(Err(error)) => self.told(&error),
            Err(_) => {
                let why = format!("no answer within {} s", LOGIN_LIMIT.as_secs());
                Login::Untold(obstacle(&self.target, Hindrance::Unreachable, &why))
            }
        }
    }

    /// What an error says of the credential. The server's message names the user, so only its code is told.
    fn told(&self, error: &tokio_postgres::Error) -> Login {
        let Some(said) = error.as_db_error() else {
            return Login::Untold(obstacle(
                &self.target,
                Hindrance::Unreachable,
                &causes(error),
            ));
        };
        let code = said.code();
        if refuses(said) {
            Login::Refused(code.code().into())
        } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            // Who he is was accepted before what he may do was looked at.
            Login::In
        } else {
            let why = format!("it answered {}", code.code());
            Login::Untold(obstacle(&self.target, Hindrance::Denied, &why))
        }
    }
}

/// Whether it is the credential that is refused, and not where it comes from.
fn refuses(said: &DbError) -> bool {
    let code = said.code();
    *code == SqlState::INVALID_PASSWORD
        || (*code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            && !said.message().starts_with("no pg_hba.conf entry"))
}

fn obstacle(target: &PostgresTarget, how: Hindrance, why: &str) -> Obstacle {
    Obstacle {
        at: Peer::Postgres,
        how,
        text: format!(
            "tried to log in to PostgreSQL at {}:{}, database `{}`, sslMode {}: {why}",
            target.host,
            target.port,
            target.database,
            target.ssl_mode.as_str()
        )
        .into(),
    }
}
