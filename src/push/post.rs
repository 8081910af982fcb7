//! A POST that is retried where that may help.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

use super::Error;
use crate::model::text::Text;
use crate::model::time::Moment as _;
use crate::retry::Retry;
use crate::wire::{self, causes};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a receiver is left alone at the most, whatever it wants.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How much of an answer is told.
const ANSWER_LENGTH: usize = 200;

/// Where to post to.
#[derive(Debug)]
pub(super) struct Post {
    url: Url,
    token_file: Option<PathBuf>,
    http: reqwest::Client,
}

impl Post {
    /// A client for `url`. Nothing is sent yet.
    pub(super) fn new(url: &str, token_file: Option<PathBuf>) -> Result<Self, Error> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| url.has_host() && !url.cannot_be_a_base())
            .ok_or_else(|| Error::Url {
                url: url
                    .split(['?', '@'])
                    .next_back()
                    .unwrap_or_default()
                    .to_owned(),
                why: "it is not a URL".to_owned(),
            })?;
        let http = wire::http::builder(parsed.as_str(), None)
            .map_err(Error::Client)?
            .timeout(REQUEST_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            // Who answers elsewhere gets neither the token nor the samples.
            .redirect(reqwest::redirect::Policy::none());
        Ok(Self {
            url: parsed,
            token_file,
            http: http
                .build()
                .map_err(|error| Error::Client(causes(&error)))?,
        })
    }

    /// The URL below this one.
    pub(super) fn below(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// The URL itself.
    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// Posts `body`, until it is taken, refused for good, or `until` has come.
    pub(super) async fn send(
        &self,
        what: &str,
        url: &Url,
        headers: &HeaderMap,
        body: Vec<u8>,
        until: Instant,
    ) -> Result<(), Error> {
        let mut retry = Retry::default();
        loop {
            let tried = timeout_at(until, self.try_once(what, url, headers, &body)).await;
            let error = match tried {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => Error::Unreachable {
                    what: what.to_owned(),
                    url: shown(url),
                    why: "no answer in time".into(),
                },
            };
            let due = error.retry_after().map(|wait| Instant::now().later(wait));
            if !error.passes() || due.is_some_and(|due| due >= until) {
                return Err(error);
            }
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => retry.wait().await,
                }
            };
            if timeout_at(until, wait).await.is_err() {
                return Err(error);
            }
            tracing::debug!(error = %error, "trying again");
        }
    }

    /// Gets `url`, once, to see whether someone is there.
    pub(super) async fn look(&self, url: &Url) -> Result<(), Error> {
        let what = "an empty request, to check that the receiver is there,";
        let answer = self.http.get(url.clone()).send().await;
        let answer = answer.map_err(|error| Error::Unreachable {
            what: what.to_owned(),
            url: shown(url),
            why: causes(&error.without_url()).into(),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Error::Refused {
            what: what.to_owned(),
            url: shown(url),
            status,
            retry_after: None,
            answer: told(&wire::http::beginning(answer).await, None),
        })
    }

    async fn try_once(
        &self,
        what: &str,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Error> {
        let token = self.token().await?;
        let mut request = self.http.post(url.clone()).headers(headers.clone());
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, wire::http::bearer(token));
        }
        let unreachable = |error: reqwest::Error| Error::Unreachable {
            what: what.to_owned(),
            url: shown(url),
            why: causes(&error.without_url()).into(),
        };
        let answer = request
            .body(body.to_vec())
            .send()
            .await
            .map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Error::Refused {
            what: what.to_owned(),
            url: shown(url),
            status,
            retry_after: retry_after(answer.headers(), Timestamp::now()),
            answer: told(&wire::http::beginning(answer).await, token.as_ref()),
        })
    }

    /// The bearer token, read anew each time: it may be a projected one, which changes.
    async fn token(&self) -> Result<Option<SecretString>, Error> {
        let Some(file) = &self.token_file else {
            return Ok(None);
        };
        let read = wire::http::credential_aside("`push.remoteWrite.bearerTokenFile`", file);
        read.await.map(Some).map_err(Error::Credential)
    }
}

/// How long the receiver wants to be left alone: a number of seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = Duration::try_from(date.duration_since(now)).unwrap_or_default();
    Some(wait.min(LONGEST_WAIT))
}

/// A URL without what may be secret in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both are refused only by URLs that have no host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The first words of an answer, without the token that was sent, should it come back.
fn told(answer: &str, token: Option<&SecretString>) -> Text {
    let line = answer.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(line) = line else {
        return Text::default();
    };
    let line = match token {
        Some(token) => line.replace(token.expose_secret(), "…"),
        None => line.to_owned(),
    };
    let start: String = line.chars().take(ANSWER_LENGTH).collect();
    format!(": `{start}`").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_without_the_token() {
        let token = SecretString::from("hvs.secret");
        assert_eq!(
            told("\n bad token hvs.secret here \nmore", Some(&token)),
            ": `bad token … here`"
        );
        assert_eq!(told(" \n", None), "");
        assert_eq!(told(&"x".repeat(999), None).len(), ANSWER_LENGTH + 4);
    }

    #[test]
    fn a_receiver_says_how_long_it_wants_to_be_left_alone() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let said = |text: &'static str| {
            let value = reqwest::header::HeaderValue::from_static(text);
            let wait = retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]), now);
            wait.map(|wait| wait.as_secs())
        };
        assert_eq!(said("7"), Some(7));
        assert_eq!(said("18446744073709551615"), Some(300));
        assert_eq!(said("Thu, 01 Jan 2026 00:01:00 GMT"), Some(60));
        assert_eq!(said("Wed, 31 Dec 2025 00:01:00 GMT"), Some(0));
        assert_eq!(said("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_url_is_shown_without_credentials() {
        let url =
            Url::parse("https://user:word@host/api/v1/write?X-Key=secret#part").expect("a URL");
        assert_eq!(shown(&url), "https://host/api/v1/write");
    }
}
