//! A request to Vault: its namespace, its token, and the redirects that it may follow.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Request, Response};
use rustify::Endpoint;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;
use vaultrs::api::token::requests::LookupTokenSelfRequest;
use zeroize::Zeroizing;

use super::answer::{Answer, unusable};
use super::session::Session;
use super::{CONNECT_LIMIT, REQUEST_LIMIT, Vault};
use crate::config;
use crate::model::record::Obstacle;
use crate::model::reply::Reply;
use crate::wire::http::redirect::{self, Refused};
use crate::wire::{self, causes};

/// What a body is written into: one that is larger leaves a copy behind as it grows.
const ROOM: usize = 16 * 1024;
/// How old a token is at least that is taken for dead: so often may the prober log in for want of rights.
const RELOGIN: std::time::Duration = std::time::Duration::from_secs(5);

impl Vault {
    /// A request in the words of `vaultrs`, which bear no token.
    pub(super) fn words(&self, what: &str, endpoint: impl Endpoint) -> Result<Request, Obstacle> {
        let unspeakable = |error: &dyn std::error::Error| {
            let why = format!("there are no words for it: {}", causes(error));
            unusable(&self.place, what, &why)
        };
        let mutated = endpoint.with_middleware(&self.middle);
        // `vaultrs` would put `/v1` before the path of the address.
        let address = self.config.address.strip_suffix(&self.under);
        let request = mutated.request(address.unwrap_or(&self.config.address));
        let (parts, body) = request.map_err(|error| unspeakable(&error))?.into_parts();
        let request = http::Request::from_parts(parts, wiped(Zeroizing::new(body)));
        let mut request = Request::try_from(request).map_err(|error| unspeakable(&error))?;
        if !self.under.is_empty() {
            let path = format!("{}{}", self.under, request.url().path());
            request.url_mut().set_path(&path);
        }
        Ok(request)
    }

    /// A request for which `vaultrs` has no words; `path` without `/v1/`.
    pub(super) fn plain(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Request, Obstacle> {
        let unspeakable = |why: &str| unusable(&self.place, what, why);
        let url = format!("{}/v1/{path}", self.config.address);
        let url = Url::parse(&url).map_err(|error| unspeakable(&error.to_string()))?;
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert("X-Vault-Request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.config.namespace {
            let namespace = HeaderValue::try_from(namespace);
            let namespace = namespace.map_err(|error| unspeakable(&error.to_string()))?;
            headers.insert("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
            serde_json::to_writer(&mut *text, body)
                .map_err(|error| unspeakable(&error.to_string()))?;
            *request.body_mut() = Some(wiped(text));
        }
        Ok(request)
    }

    /// The same request in another namespace of Vault's, if one is given.
    pub(super) fn within(
        &self,
        what: &str,
        mut request: Request,
        namespace: Option<&str>,
    ) -> Result<Request, Obstacle> {
        if let Some(namespace) = namespace {
            let value = HeaderValue::try_from(namespace);
            let value = value.map_err(|error| unusable(&self.place, what, &error.to_string()))?;
            request.headers_mut().insert("X-Vault-Namespace", value);
        }
        Ok(request)
    }

    /// Sends a request with the prober's token, and once more after a new login if the token turns out to be dead.
    pub(super) async fn ask(&self, what: &str, request: Request) -> Result<Answer, Obstacle> {
        let again = request.try_clone();
        let (session, answer) = self.ask_in_session(what, request).await?;
        match again {
            Some(again)
                if answer.status() == StatusCode::FORBIDDEN && self.dismiss(&session).await =>
            {
                self.ask_in_session(what, again)
                    .await
                    .map(|(_, answer)| answer)
            }
            _ => Ok(answer),
        }
    }

    /// The same for a request whose moment counts, which is not repeated.
    pub(super) async fn ask_once(&self, what: &str, request: Request) -> Result<Answer, Obstacle> {
        let (session, answer) = self.ask_in_session(what, request).await?;
        if answer.status() == StatusCode::FORBIDDEN {
            self.dismiss(&session).await;
        }
        Ok(answer)
    }

    async fn ask_in_session(
        &self,
        what: &str,
        request: Request,
    ) -> Result<(Arc<Session>, Answer), Obstacle> {
        let session = Box::pin(self.session()).await?;
        let answer = self.send(what, request, Some(&session.token)).await?;
        Ok((session, answer))
    }

    /// Ends a session whose token Vault knows no more. Returns whether it did, so that it is worth another try.
    async fn dismiss(&self, session: &Arc<Session>) -> bool {
        let replaced = |current: Arc<Session>| !Arc::ptr_eq(&current, session);
        if self.current().is_none_or(replaced) {
            // Another request has found it dead already.
            return true;
        }
        if session.made.elapsed() < RELOGIN {
            return false;
        }
        let what = "look up the prober's own token";
        let Ok(request) = self.words(what, LookupTokenSelfRequest {}) else {
            return false;
        };
        match self.send(what, request, Some(&session.token)).await {
            Ok(answer) if answer.status() == StatusCode::FORBIDDEN => {
                tracing::warn!("Vault does not know the prober's token any more: logging in again");
                self.forget(session);
                true
            }
            _ => false,
        }
    }

    /// Sends a request, follows a redirect if it may, and reads the answer.
    pub(super) async fn send(
        &self,
        what: &str,
        request: Request,
        token: Option<&SecretString>,
    ) -> Result<Answer, Obstacle> {
        // Every request of the prober's to Vault holds one of these futures, which are large.
        Box::pin(self.send_on(what, request, token)).await
    }

    async fn send_on(
        &self,
        what: &str,
        mut request: Request,
        token: Option<&SecretString>,
    ) -> Result<Answer, Obstacle> {
        if let Some(token) = token {
            request.headers_mut().insert("X-Vault-Token", header(token));
        }
        let again = request.try_clone();
        let from = request.url().clone();
        let no_answer = |error: &reqwest::Error| {
            let why = format!("no answer: {}", causes(error));
            unusable(&self.place, what, &why).with(wire::failure::reply(error))
        };
        let answer = self.http.execute(self.by_its_name(request)).await;
        let mut answer = answer.map_err(|error| no_answer(&error))?;
        if let (Some(to), Some(mut again)) = (self.led_to(what, &from, &answer, false)?, again) {
            *again.url_mut() = to.clone();
            let client = self.client_of(&to).await;
            let client = client.map_err(|why| unusable(&self.place, what, &why))?;
            answer = client
                .execute(again)
                .await
                .map_err(|error| no_answer(&error))?;
            self.led_to(what, &to, &answer, true)?;
        }
        Answer::read(answer, what, &self.place).await
    }

    /// The same request for the name that Vault's certificate has, so that TLS asks for that one; [`Renamed`] leads it to
    /// Vault's address all the same. Behind a proxy the name alone is checked: the proxy must be told the address.
    fn by_its_name(&self, mut request: Request) -> Request {
        let url = request.url();
        let renamed = self.config.tls_server_name.as_deref().filter(|name| {
            let direct = self.place == self.config.address;
            direct && url.scheme() == "https" && name.parse::<IpAddr>().is_err()
        });
        let Some(name) = renamed else {
            return request;
        };
        let host = HeaderValue::try_from(url.authority());
        if let (Ok(host), Ok(())) = (host, request.url_mut().set_host(Some(name))) {
            request.headers_mut().insert(HOST, host);
        }
        request
    }

    /// Where an answer sends the prober on to, if it does and may.
    fn led_to(
        &self,
        what: &str,
        from: &Url,
        answer: &Response,
        again: bool,
    ) -> Result<Option<Url>, Obstacle> {
        let refused = |refused: Refused| {
            let hint = match &refused {
                Refused::Elsewhere(place) => format!(
                    ": add its host to `vault.redirectHosts` if it is Vault too, or set `vault.address` to {place}"
                ),
                Refused::Weaker(_) | Refused::Nowhere => {
                    "; set `vault.address` to Vault's own address".to_owned()
                }
                Refused::Again(place) => format!("; set `vault.address` to {place}"),
            };
            unusable(&self.place, what, &format!("{refused}{hint}"))
                .with(Reply::http(answer.status().as_u16()))
        };
        let Some(to) = location(from, answer.status(), answer.headers()) else {
            return Ok(None);
        };
        let to = to.ok_or(Refused::Nowhere).map_err(refused)?;
        if again {
            return Err(refused(Refused::Again(redirect::place(&to))));
        }
        redirect::allowed(from, &to, self.config.redirect_hosts.as_deref()).map_err(refused)?;
        Ok(Some(to))
    }

    /// The client for a place: one that was made for plain HTTP trusts no CA.
    async fn client_of(&self, url: &Url) -> Result<&reqwest::Client, String> {
        let trusts = self.config.ca_file.is_some() || self.config.address.starts_with("https://");
        if trusts || url.scheme() != "https" {
            return Ok(&self.http);
        }
        let made = self.https.get_or_try_init(|| async {
            let config = self.config.clone();
            let made = tokio::task::spawn_blocking(move || client("https://", &config)).await;
            made.map_err(|error| error.to_string())?
        });
        made.await
    }
}

/// A client for Vault at `url`. It follows no redirect by itself.
pub(super) fn client(url: &str, config: &config::Vault) -> Result<reqwest::Client, String> {
    let ca_file = config.ca_file.as_deref();
    let name = config.tls_server_name.as_deref();
    let builder = wire::http::builder_for(url, ca_file.map(|file| ("vault.caFile", file)), name)?;
    let headers: Result<HeaderMap, _> = config.headers.iter().map(wire::http::header).collect();
    let host = Url::parse(&config.address).ok();
    let host = host.and_then(|url| Some(url.host_str()?.trim_matches(['[', ']']).to_owned()));
    let renamed = name.zip(host).map(|(name, host)| Renamed {
        name: name.to_lowercase(),
        host,
    });
    let builder = match renamed {
        Some(renamed) => builder.dns_resolver(Arc::new(renamed)),
        None => builder,
    };
    builder
        .default_headers(headers?)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(REQUEST_LIMIT)
        .connect_timeout(CONNECT_LIMIT)
        .build()
        .map_err(|error| format!("can't create an HTTP client: {}", causes(&error)))
}

/// Resolves the name in Vault's certificate to Vault's address.
struct Renamed {
    name: String,
    host: String,
}

impl Resolve for Renamed {
    fn resolve(&self, name: Name) -> Resolving {
        let renamed = name.as_str().eq_ignore_ascii_case(&self.name);
        let host = if renamed {
            self.host.as_str()
        } else {
            name.as_str()
        };
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Where an answer leads: `None` if it does not, and within if that is no URL.
#[expect(
    clippy::option_option,
    reason = "no redirect, one to nowhere, one to a URL"
)]
fn location(from: &Url, status: StatusCode, headers: &HeaderMap) -> Option<Option<Url>> {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308).then(|| {
        let location = headers.get(LOCATION)?.to_str().ok()?;
        let mut to = from.join(location).ok()?;
        to.set_fragment(None);
        Some(to)
    })
}

/// The value of the header that carries the token.
fn header(token: &SecretString) -> HeaderValue {
    let value = HeaderValue::from_str(token.expose_secret());
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// A body that is wiped once it is sent.
fn wiped(body: Zeroizing<Vec<u8>>) -> reqwest::Body {
    Bytes::from_owner(body).into()
}
