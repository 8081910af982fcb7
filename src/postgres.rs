//! The login to PostgreSQL with a credential, to check that it is good.

mod tls;
mod wary;

use std::time::Duration;

use futures::FutureExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;
use tokio_postgres::error::{DbError, SqlState};

use crate::config::{PostgresTarget, SslMode};
use crate::model::record::{Hindrance, Login, Obstacle, Peer};
use crate::wire::{self, causes};
use tls::Connector;
use wary::Wary;

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
        let connected = async {
            let farewell = match self.target.ssl_mode {
                SslMode::Disable => {
                    let address = (self.target.host.as_str(), self.target.port);
                    let stream = TcpStream::connect(address).await;
                    let stream = stream.map_err(|error| self.untold(&causes(&error)))?;
                    let connected = config.connect_raw(Wary::new(stream), NoTls).await;
                    connected.map(|(_, connection)| connection.map(drop).boxed())
                }
                SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                    let connected = config.connect(self.tls.clone()).await;
                    connected.map(|(_, connection)| connection.map(drop).boxed())
                }
            };
            farewell.map_err(|error| self.told(&error))
        };
        match tokio::time::timeout(LOGIN_LIMIT, connected).await {
            Ok(Ok(farewell)) => {
                // Without a client it says goodbye and ends.
                let _ = tokio::time::timeout(FAREWELL_LIMIT, farewell).await;
                Login::In
            }
            Ok(Err(login)) => login,
            Err(_) => self.untold(&format!("no answer within {} s", LOGIN_LIMIT.as_secs())),
        }
    }

    /// What can't be told of the credential, as the server was not got to.
    fn untold(&self, why: &str) -> Login {
        Login::Untold(obstacle(&self.target, Hindrance::Unreachable, why))
    }

    /// What an error says of the credential. The server's message names the user, so only its code is told.
    fn told(&self, error: &tokio_postgres::Error) -> Login {
        let Some(said) = error.as_db_error() else {
            return self.untold(&causes(error));
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
    Obstacle::new(
        Peer::Postgres,
        how,
        format!(
            "tried to log in to PostgreSQL at {}:{}, database `{}`, sslMode {}: {why}",
            target.host,
            target.port,
            target.database,
            target.ssl_mode.as_str()
        ),
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that asks for the password like this. Returns how the login came out, and what it was given.
    async fn asked(question: &[u8]) -> (Login, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = PostgresTarget {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().expect("an address").port(),
            database: "postgres".to_owned(),
            ssl_mode: SslMode::Disable,
        };
        let credential = Credential {
            user: "canary".to_owned().into(),
            password: "s3cret".to_owned().into(),
        };
        let server = Server::new(&target).expect("nothing is verified");
        let answers = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let _ = stream.read(&mut [0; 1024]).await;
            stream.write_all(question).await.expect("it listens");
            let mut given = Vec::new();
            let _ = stream.read_to_end(&mut given).await;
            given
        };
        tokio::join!(server.login(&credential), answers)
    }

    #[tokio::test]
    async fn a_password_in_clear_is_not_given_to_whoever_asks() {
        let (login, given) = asked(b"R\0\0\0\x08\0\0\0\x03").await;
        let Login::Untold(obstacle) = login else {
            panic!("{login:?}");
        };
        assert!(obstacle.text.contains("in clear"), "{}", obstacle.text);
        assert!(
            !String::from_utf8_lossy(&given).contains("s3cret"),
            "{given:?}"
        );
    }
}
