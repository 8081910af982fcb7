//! The guard against browsers: the senders of a POST, and the headers of answers.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use url::{Host, Url};

use super::error;

/// The names under which the server may be asked to do something, beside `localhost` and addresses.
#[derive(Clone, Debug, Default)]
pub struct Names(Option<Url>);

impl Names {
    /// The host of this URL, where one is configured.
    pub const fn new(external: Option<Url>) -> Self {
        Self(external)
    }

    /// Whether a host is the server's own. A name that is not may lead a browser here (DNS rebinding); an address
    /// can't.
    fn own(&self, host: &str) -> bool {
        let external = self.0.as_ref().and_then(Url::host_str);
        match Host::parse(host) {
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Ok(Host::Domain(name)) => name == "localhost" || external == Some(name.as_str()),
            Err(_) => host.parse::<IpAddr>().is_ok(),
        }
    }
}

/// Answers a POST only if it comes from no page of others', and says of every answer what a browser may do with it.
pub(super) async fn watch(State(names): State<Names>, request: Request, next: Next) -> Response {
    let refused = (request.method() == Method::POST)
        .then(|| foreign(&names, request.uri(), request.headers()))
        .flatten();
    let mut response = match refused {
        Some(why) => error(StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    };
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is taken for one that a page of others' had a browser send.
fn foreign(names: &Names, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or(""))
    };
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Some("refused: a page of another site sent this request (`Sec-Fetch-Site`)");
    }
    let asked = uri.authority().map(ToString::to_string);
    let asked = asked
        .or_else(|| text(header::HOST).map(ToOwned::to_owned))
        .unwrap_or_default();
    if !host(&asked).is_some_and(|host| names.own(host)) {
        return Some(
            "refused: `Host` is not an address, `localhost`, or the host of `server.externalURL`",
        );
    }
    let own = |origin: &str| {
        let rest = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        let external = names
            .0
            .as_ref()
            .map(|url| url.origin().ascii_serialization());
        rest == Some(asked.as_str()) || external.as_deref() == Some(origin)
    };
    match text(header::ORIGIN) {
        Some(origin) if !own(origin) => {
            Some("refused: a page of another origin sent this request (`Origin`)")
        }
        Some(_) | None => None,
    }
}

/// The host of `host:port`.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    (!host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&'static str, &str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let name = header::HeaderName::from_static(name);
                (name, HeaderValue::from_str(value).expect("a header"))
            })
            .collect();
        let external = Url::parse("https://prober.example/").expect("a URL");
        let uri = Uri::from_static("/-/reload");
        foreign(&Names::new(Some(external)), &uri, &headers).is_some()
    }

    #[test]
    fn a_page_of_others_has_nothing_done() {
        for host in [
            "127.0.0.1:9465",
            "[::1]:9465",
            "localhost:9465",
            "10.1.2.3",
            "prober.example",
        ] {
            assert!(!refused(&[("host", host)]), "{host}");
            assert!(
                refused(&[("host", host), ("origin", "http://evil.example")]),
                "{host}"
            );
            assert!(refused(&[("host", host), ("origin", "null")]), "{host}");
            let origin = format!("http://{host}");
            assert!(!refused(&[("host", host), ("origin", &origin)]), "{host}");
            for (site, wrong) in [
                ("cross-site", true),
                ("same-site", true),
                ("none", false),
                ("same-origin", false),
            ] {
                assert_eq!(
                    refused(&[("host", host), ("sec-fetch-site", site)]),
                    wrong,
                    "{site}"
                );
            }
        }
        assert!(!refused(&[
            ("host", "localhost:80"),
            ("origin", "https://prober.example")
        ]));
        assert!(refused(&[
            ("host", "localhost:80"),
            ("origin", "http://localhost:81")
        ]));
        for host in [
            "evil.example",
            "evil.example:9465",
            "localhost.evil.example",
            "",
            ":80",
            "prober.example@evil.example",
        ] {
            assert!(refused(&[("host", host)]), "{host}");
        }
        assert!(refused(&[]), "nobody is asked");
    }
}
