//! The session with Vault: the token in use, the one login that all wait for, and the task that keeps the token alive.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use secrecy::SecretString;
use tokio::time::{Instant, sleep_until};

use super::login::{self, Grant};
use super::{Vault, seconds};
use crate::model::record::{Hindrance, Obstacle};
use crate::model::time::Moment as _;
use crate::retry::Retry;

/// When a token is renewed, in percent of its life: Vault's own agents do it after two thirds. It is drawn, so that
/// probers that logged in together don't renew together.
const RENEWED: std::ops::Range<u32> = 60..70;
/// A renewal that adds less has met the token's maximum: Vault tells whole seconds.
const GRAIN: Duration = Duration::from_secs(1);

/// A token in use.
pub(super) struct Session {
    pub(super) token: SecretString,
    /// Whether the prober got it by a login of its own, and so may replace and revoke it.
    pub(super) own: bool,
    /// Whether it is of the kind that Vault does not store: it can be neither renewed nor revoked.
    pub(super) batch: bool,
    /// When it was got.
    pub(super) made: Instant,
    /// `None` if it never ends.
    life: Option<Life>,
}

/// The life of a token.
#[derive(Clone, Copy)]
struct Life {
    /// When it is to be renewed or replaced.
    renew: Instant,
    end: Instant,
    renewable: bool,
}

impl Life {
    fn new(grant: Grant) -> Self {
        let (now, ttl) = (Instant::now(), seconds(grant.ttl));
        Self {
            renew: now.later(ttl / 100 * rand::rng().random_range(RENEWED)),
            end: now.later(ttl),
            renewable: grant.renewable && !grant.batch,
        }
    }
}

impl Session {
    /// A session by a login of the prober's own.
    pub(super) fn by_login(token: SecretString, grant: Grant) -> Self {
        Self {
            token,
            own: true,
            batch: grant.batch,
            made: Instant::now(),
            life: Some(Life::new(grant)),
        }
    }

    /// A session with a token that was there already. One without a time to live has no end.
    pub(super) fn with_token(token: SecretString, grant: Grant) -> Self {
        Self {
            token,
            own: false,
            batch: grant.batch,
            made: Instant::now(),
            life: (grant.ttl > 0).then(|| Life::new(grant)),
        }
    }

    /// The same token with another life.
    fn with(&self, life: Life) -> Self {
        Self {
            token: self.token.clone(),
            own: self.own,
            batch: self.batch,
            made: self.made,
            life: Some(life),
        }
    }

    /// Whether it can be used.
    fn lives(&self) -> bool {
        let now = Instant::now();
        self.life.as_ref().is_none_or(|life| now < life.end)
    }

    /// When something is to be done to keep it alive, if anything can be.
    fn due(&self) -> Option<Instant> {
        let life = self.life.as_ref()?;
        (self.lives() && (self.own || life.renewable)).then_some(life.renew)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Vault {
    /// The session in force, whether it lives or not.
    pub(super) fn current(&self) -> Option<Arc<Session>> {
        self.session.borrow().clone()
    }

    fn living(&self) -> Option<Arc<Session>> {
        self.current().filter(|session| session.lives())
    }

    /// A session that lives. Whoever needs a login that is under way already waits for that one, and shares its outcome.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Obstacle> {
        if let Some(session) = self.living() {
            return Ok(session);
        }
        let tried = self.logins.load(Ordering::Acquire);
        let mut failed = self.entrance.lock().await;
        if let Some(session) = self.living() {
            return Ok(session);
        }
        if tried != self.logins.load(Ordering::Acquire)
            && let Some(obstacle) = &*failed
        {
            return Err(obstacle.clone());
        }
        let outcome = login::login(self).await;
        self.logins.fetch_add(1, Ordering::AcqRel);
        *failed = outcome.as_ref().err().cloned();
        let session = Arc::new(outcome?);
        self.session.send_replace(Some(session.clone()));
        Ok(session)
    }

    /// Logs in with the credentials of now, if there is a session. That one goes on if it fails; else it ends by itself,
    /// for it may be in use.
    ///
    /// # Errors
    /// Vault is not reached, or does not let the prober in.
    pub async fn log_in_anew(&self) -> Result<(), Obstacle> {
        let _entrance = self.entrance.lock().await;
        if self.current().is_some() {
            let next = login::login(self).await?;
            self.session.send_replace(Some(Arc::new(next)));
        }
        Ok(())
    }

    /// Ends a session, unless another has taken its place.
    pub(super) fn forget(&self, session: &Arc<Session>) {
        self.exchange(session, None);
    }

    fn exchange(&self, old: &Arc<Session>, new: Option<Session>) {
        self.session.send_if_modified(|current| {
            let same = current
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, old));
            if same {
                *current = new.map(Arc::new);
            }
            same
        });
    }

    /// Keeps the token alive, for as long as it is polled: renews it in time, and logs in anew where that can't be done. No
    /// request waits for that.
    pub async fn keep_alive(&self) {
        let mut sessions = self.session.subscribe();
        let mut retry = Retry::default();
        let mut warned = false;
        loop {
            let session = sessions.borrow_and_update().clone();
            let Some((session, due)) = session.and_then(|session| {
                let due = session.due()?;
                Some((session, due))
            }) else {
                // The sender lives as long as this does.
                let _ = sessions.changed().await;
                continue;
            };
            tokio::select! {
                biased;
                _ = sessions.changed() => continue,
                () = sleep_until(due) => {}
            }
            match self.prolong(&session).await {
                Ok(next) => {
                    self.exchange(&session, Some(next));
                    retry.reset();
                    warned = false;
                }
                Err(obstacle) => {
                    if !warned {
                        let error = obstacle.text;
                        tracing::warn!(%error, "the session with Vault could not be prolonged; trying again until it ends");
                    }
                    warned = true;
                    tokio::select! {
                        _ = sessions.changed() => {}
                        () = retry.wait() => {}
                    }
                }
            }
        }
    }

    /// What takes the place of a session in time.
    async fn prolong(&self, session: &Session) -> Result<Session, Obstacle> {
        let Some(life) = session.life else {
            return login::login(self).await;
        };
        if life.renewable {
            match login::renew(self, &session.token).await {
                Ok(grant) => {
                    let next = Life::new(grant);
                    if next.end > life.end.later(GRAIN) {
                        return Ok(session.with(next));
                    }
                    tracing::debug!("the token for Vault has met its maximum life");
                }
                Err(obstacle) if obstacle.how == Hindrance::Denied => {
                    let error = obstacle.text;
                    tracing::warn!(%error, "the token for Vault may not renew itself; it is used until it ends");
                }
                Err(obstacle) => return Err(obstacle),
            }
        }
        if session.own {
            return login::login(self).await;
        }
        Ok(session.with(Life {
            renewable: false,
            ..life
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::check::{EXAMPLE, load};
    use crate::config::{Auth, TokenSource};

    fn grant(ttl: u64, renewable: bool, batch: bool) -> Grant {
        Grant {
            ttl,
            renewable,
            batch,
        }
    }

    #[test]
    fn a_token_may_be_said_to_live_for_ever() {
        let life = Life::new(grant(u64::MAX, true, false));
        assert!(Instant::now() < life.renew && life.renew < life.end);
        let life = Life::new(grant(0, false, false));
        assert!(life.end <= Instant::now());
    }

    /// A Vault that takes its time to refuse whoever logs in, and counts them.
    async fn refusing() -> (Vault, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let count = count.clone();
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    while near.read(&mut head).await.is_ok_and(|read| read > 0) {
                        count.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        let body = r#"{"errors": ["no"]}"#;
                        let answer = format!(
                            "HTTP/1.1 500 No\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        near.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let mut config = load(EXAMPLE, "prober.yaml", |_| None).unwrap().vault;
        config.address = address;
        config.auth = Auth::Token(TokenSource::Env("PATH".to_owned()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        (Vault::open(&config).await.unwrap(), asked)
    }

    #[tokio::test]
    async fn a_login_that_fails_fails_for_all_who_wait_for_it() {
        let (vault, asked) = refusing().await;
        let outcomes = futures::future::join_all((0..20).map(|_| vault.ready())).await;
        assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(vault.ready().await.is_err());
        assert_eq!(
            asked.load(Ordering::Relaxed),
            2,
            "who comes later asks again"
        );
    }

    #[test]
    fn a_token_is_prolonged_only_where_that_can_be_done() {
        let own = |grant| Session::by_login(String::new().into(), grant).due();
        let other = |grant| Session::with_token(String::new().into(), grant).due();
        assert!(own(grant(60, true, false)).is_some());
        assert!(own(grant(60, true, true)).is_some(), "a new login");
        assert!(other(grant(60, true, false)).is_some());
        assert!(other(grant(60, false, false)).is_none());
        assert!(other(grant(60, true, true)).is_none());
        assert!(other(grant(0, true, false)).is_none(), "it has no end");
    }
}
