//! One request for metrics, with limits: of time, of size, and of where the token may go.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};

use super::Error;
use super::bearer::Bearer;
use crate::config::Access;
use crate::model::reply::{Distrust, Reply};
use crate::wire::{causes, failure, http as wire, proxy};

/// How long a scrape may take as a whole.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How large an answer may be, in bytes; the operator's own is about 130 KB.
const LARGEST: usize = 4 << 20;
/// How much of an error's text is told, in characters.
const EXCERPT: usize = 200;

/// A client that may read metrics, or why there is none.
pub(super) struct Fetch {
    client: Result<Client, String>,
    bearer: Bearer,
}

impl Fetch {
    /// A client of `url` and what lies beside it.
    pub(super) fn new(url: &str, access: &Access, bearer: Bearer) -> Self {
        let checked = !access.insecure_skip_verify;
        let ca_file = access.ca_file.as_deref().filter(|_| checked);
        let ca_file = ca_file.map(|file| ("operator.metrics.caFile", file));
        let client = wire::builder(url, ca_file).and_then(|builder| {
            builder
                .connect_timeout(CONNECT_LIMIT)
                .tls_danger_accept_invalid_certs(!checked)
                .build()
                .map_err(|error| format!("can't create an HTTP client: {}", causes(&error)))
        });
        Self { client, bearer }
    }

    /// The text at `url`, which is called `place` in errors.
    pub(super) async fn text(&self, url: &str, place: &str) -> Result<String, Error> {
        let failed = |reply: Option<Reply>, text: String| {
            let text = format!("tried to read the operator's metrics at {place}: {text}");
            Error::new(reply, text)
        };
        let client = self
            .client
            .as_ref()
            .map_err(|error| failed(None, error.clone()))?;
        let mut request = client.get(url).header(ACCEPT, "text/plain;version=0.0.4");
        let token = self.bearer.token().await?;
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, wire::bearer(token));
        }
        let no_answer = |error: reqwest::Error| {
            let connect = error.is_connect();
            let reply = failure::reply(&error);
            let text = causes(&error.without_url());
            let hint = match reply.distrust() {
                Some(Distrust::Protocol) | None if connect => {
                    "; is the address right, and is the operator up?"
                }
                Some(Distrust::Protocol) | None => "",
                Some(_) => {
                    "; set `operator.metrics.caFile`, or `insecureSkipVerify` for a self-signed certificate"
                }
            };
            failed(
                Some(reply),
                format!("no answer{}: {text}{hint}", proxy::told(url)),
            )
        };
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        if status.is_success() {
            let body = body(answer).await;
            return body.map_err(|text| failed(Some(Reply::Broken), text));
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.bearer.refused().await;
        }
        let said = said(answer, token.as_ref()).await;
        let text = format!("it answered {status}{said}{}", hint(status));
        Err(failed(Some(Reply::http(status.as_u16())), text))
    }
}

/// Says that nothing came back in time.
pub(super) fn silence(place: &str) -> Error {
    let text = format!(
        "tried to read the operator's metrics at {place}: the response did not end within {} s; the \
         endpoint is overloaded or never ends",
        LIMIT.as_secs()
    );
    Error::new(Some(Reply::Silence), text)
}

/// The body of an answer, if it is not too large.
async fn body(answer: Response) -> Result<String, String> {
    let body = wire::body(answer, LARGEST).await;
    let mut body = body.map_err(|error| match error {
        wire::body::Error::TooLong(_) => format!("{error}; is it the operator's metrics?"),
        wire::body::Error::BrokeOff(_) => error.to_string(),
    })?;
    Ok(String::from_utf8(std::mem::take(&mut *body))
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The first words of an answer that refuses; a server may say why. What it may repeat of the token is left out.
async fn said(answer: Response, token: Option<&SecretString>) -> String {
    let mut text = wire::beginning(answer).await;
    if let Some(token) = token {
        text = text.replace(token.expose_secret(), "…");
    }
    let text: String = text.chars().take(EXCERPT).collect();
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", words.join(" "))
    }
}

/// What to do about an answer that refuses.
fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "; set `operator.metrics.serviceAccount` to a ServiceAccount that may only get `/metrics`, or `operator.metrics.bearerTokenFile`"
        }
        StatusCode::FORBIDDEN => {
            "; allow the token's ServiceAccount to get the nonResourceURL `/metrics` (the chart's ClusterRole \
             `…-metrics-reader`)"
        }
        StatusCode::NOT_FOUND => "; is the path right?",
        status if status.is_redirection() => {
            "; it redirects to where a token must not go, or too often: set the final address"
        }
        _ => "",
    }
}
