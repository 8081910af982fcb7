//! The rule for redirects: one, never to a weaker scheme, in the clear never to another host.

use thiserror::Error;
use url::Url;

/// Why a redirect is not followed. Each names the place that it leads to.
#[derive(Debug, Error, PartialEq)]
pub enum Refused {
    /// It leads out of TLS.
    #[error("it redirects to {0} without TLS, where no credential may go")]
    Weaker(String),
    /// It leads to a host that nothing vouches for.
    #[error("it redirects to {0}, another host")]
    Elsewhere(String),
    /// It leads on from where the first one led.
    #[error("it redirects again, to {0}; only one redirect is followed")]
    Again(String),
    /// It leads to no URL.
    #[error("it redirects to an invalid URL")]
    Nowhere,
}

/// Whether a request to `from` may be sent to `to` instead.
///
/// By `https` it may go to any host, whose certificate is checked then, by `http` to the same host alone. If
/// `hosts` are given, they are what other hosts it may go to, by either scheme: names, or `*.` and the end of names.
///
/// # Errors
/// It may not.
pub fn allowed(from: &Url, to: &Url, hosts: Option<&[String]>) -> Result<(), Refused> {
    let (Some(old), Some(new)) = (from.host_str(), to.host_str()) else {
        return Err(Refused::Nowhere);
    };
    let secure = to.scheme() == "https";
    if !to.username().is_empty() || to.password().is_some() || !(secure || to.scheme() == "http") {
        return Err(Refused::Nowhere);
    }
    if from.scheme() == "https" && !secure {
        return Err(Refused::Weaker(place(to)));
    }
    let named = match hosts {
        Some(hosts) => hosts.iter().any(|host| fits(host, new)),
        None => secure,
    };
    if named || old == new {
        Ok(())
    } else {
        Err(Refused::Elsewhere(place(to)))
    }
}

/// Scheme, host and port alone: a path may hold what is secret.
pub fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", url.scheme())
}

fn fits(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_lowercase();
    let bare = host.trim_matches(['[', ']']);
    match pattern.strip_prefix('*') {
        Some(end) => bare.len() > end.len() && bare.ends_with(end),
        None => bare == pattern.trim_matches(['[', ']']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, hosts: Option<&[&str]>) -> Result<(), Refused> {
        let hosts: Option<Vec<String>> =
            hosts.map(|hosts| hosts.iter().map(|&host| host.to_owned()).collect());
        let url = |text: &str| Url::parse(text).unwrap();
        allowed(&url(from), &url(to), hosts.as_deref())
    }

    #[test]
    fn by_tls_to_any_host_in_the_clear_to_the_same_alone() {
        let https = "https://vault.example:8200/v1/x";
        let http = "http://vault.example:8200/v1/x";
        assert_eq!(check(https, "https://10.0.0.7:8200/v1/x", None), Ok(()));
        assert_eq!(check(http, "https://active.example/v1/x", None), Ok(()));
        assert_eq!(check(http, "http://VAULT.example:8201/v1/x", None), Ok(()));
        let weaker = Refused::Weaker("http://vault.example:8200".to_owned());
        assert_eq!(check(https, http, Some(&["vault.example"])), Err(weaker));
        let elsewhere = Refused::Elsewhere("http://evil.example:81".to_owned());
        assert_eq!(
            check(http, "http://evil.example:81/v1?token=x", None),
            Err(elsewhere)
        );
        assert_eq!(
            check(http, "ftp://vault.example/", None),
            Err(Refused::Nowhere)
        );
        assert_eq!(
            check(http, "http://a:b@vault.example/", None),
            Err(Refused::Nowhere)
        );
    }

    #[test]
    fn named_hosts_widen_and_narrow() {
        let named: Option<&[&str]> = Some(&["*.vault-internal", "Other.example", "::1"]);
        for (host, may) in [
            ("vault-0.vault-internal", true),
            ("vault-internal", false),
            ("evilvault-internal", false),
            (".vault-internal", false),
            ("other.example", true),
            ("an.other.example", false),
            ("[::1]", true),
            ("vault", true),
        ] {
            let to = format!("//{host}:8200/v1/x");
            for scheme in ["http:", "https:"] {
                let to = format!("{scheme}{to}");
                assert_eq!(check("http://vault:8200/", &to, named).is_ok(), may, "{to}");
            }
        }
        assert!(check("https://vault/", "https://other/", Some(&[])).is_err());
    }
}
