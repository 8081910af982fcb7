//! A POST that is retried where that may help.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::Error;
use crate::model::text::Text;
use crate::retry::Retry;
use crate::wire::{self, causes, fits_header};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
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
            if !error.passes() || timeout_at(until, retry.wait()).await.is_err() {
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
            answer: told(&wire::http::beginning(answer).await, token.as_ref()),
        })
    }

    /// The bearer token, read anew each time: it may be a projected one, which changes.
    async fn token(&self) -> Result<Option<SecretString>, Error> {
        let Some(file) = &self.token_file else {
            return Ok(None);
        };
        let text = tokio::fs::read_to_string(file)
            .await
            .map(SecretString::from)
            .map_err(|error| self.bad_token(&error.to_string()))?;
        let token = text.expose_secret().trim();
        if token.is_empty() {
            return Err(self.bad_token("it is empty"));
        }
        if !fits_header(token) {
            return Err(self.bad_token("it holds characters that a header can't carry"));
        }
        Ok(Some(token.into()))
    }

    fn bad_token(&self, why: &str) -> Error {
        Error::Token {
            file: self.token_file.clone().unwrap_or_default(),
            why: why.to_owned(),
        }
    }
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
    fn a_url_is_shown_without_credentials() {
        let url =
            Url::parse("https://user:word@host/api/v1/write?X-Key=secret#part").expect("a URL");
        assert_eq!(shown(&url), "https://host/api/v1/write");
    }
}
