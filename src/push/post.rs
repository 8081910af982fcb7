//! A POST that is retried where that may help.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::RequestBuilder;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

use super::Error;
use super::client::{Client, Granted};
use crate::config::Receiver;
use crate::model::text::Text;
use crate::model::time::Moment as _;
use crate::retry::Retry;
use crate::wire::{self, causes};

/// How long a receiver is left alone at the most, whatever it wants.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How much of an answer is told.
const ANSWER_LENGTH: usize = 200;

/// Where to post to.
#[derive(Debug)]
pub(super) struct Post {
    url: Url,
    client: Client,
}

impl Post {
    /// A client of the receiver that is configured under `key`. Nothing is sent yet.
    pub(super) fn new(key: &'static str, receiver: &Receiver) -> Result<Self, Error> {
        let url = receiver.url.as_str();
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
        Ok(Self {
            url: parsed,
            client: Client::new(key, receiver)?,
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
        let granted = self.client.grant().await?;
        let request = granted.http.get(url.clone());
        self.ask(what, url, request, &granted).await
    }

    async fn try_once(
        &self,
        what: &str,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), Error> {
        let granted = self.client.grant().await?;
        let request = granted.http.post(url.clone()).headers(headers.clone());
        let request = request.body(body.to_vec());
        self.ask(what, url, request, &granted).await
    }

    async fn ask(
        &self,
        what: &str,
        url: &Url,
        request: RequestBuilder,
        granted: &Granted,
    ) -> Result<(), Error> {
        let unreachable = |error: reqwest::Error| Error::Unreachable {
            what: what.to_owned(),
            url: shown(url),
            why: causes(&error.without_url()).into(),
        };
        let request = granted.admit(request).map_err(unreachable)?;
        let sent = request.headers().clone();
        let answer = granted.http.execute(request).await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Error::Refused {
            what: what.to_owned(),
            url: shown(url),
            status,
            retry_after: retry_after(answer.headers(), Timestamp::now()),
            answer: told(&granted.concealed(&wire::http::beginning(answer).await, &sent)),
        })
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

/// The first words of an answer.
fn told(answer: &str) -> Text {
    let line = answer.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(line) = line else {
        return Text::default();
    };
    let start: String = line.chars().take(ANSWER_LENGTH).collect();
    format!(": `{start}`").into()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_is_told_by_its_first_words() {
        assert_eq!(told("\n bad token \nmore"), ": `bad token`");
        assert_eq!(told(" \n"), "");
        assert_eq!(told(&"x".repeat(999)).len(), ANSWER_LENGTH + 4);
    }

    #[test]
    fn a_receiver_says_how_long_it_wants_to_be_left_alone() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let said = |text: &'static str| {
            let value = HeaderValue::from_static(text);
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
