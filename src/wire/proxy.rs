//! The proxy on the way to a URL, by the environment's variables, as Go's programs read them.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

/// The proxies that the environment names, and what is reached without.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// The variables that name something that can't be asked.
    unusable: Vec<&'static str>,
    without: Vec<Rule>,
}

/// A proxy, and the variable that names it.
#[derive(Clone, PartialEq)]
pub struct Proxy {
    /// Where it is, with the credentials for it.
    url: Url,
    /// What names it, e.g. `HTTPS_PROXY`.
    named: &'static str,
}

/// What is reached without a proxy, as `NO_PROXY` has it.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    All,
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// The end of hosts' names, with its dot; and whether the name without the dot is meant too.
    Domain(String, bool, Option<u16>),
}

impl Proxies {
    /// Those of this process' environment.
    pub fn of_environment() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Those that `variable` tells.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let set =
                |name: &&'static str| Some((*name, variable(name).filter(|v| !v.is_empty())?));
            names.iter().find_map(set)
        };
        let mut unusable = Vec::new();
        let mut named = |names: &[&'static str]| {
            let (named, value) = first(names)?;
            let proxy = Proxy::parse(&value, named);
            if proxy.is_none() {
                unusable.push(named);
            }
            proxy
        };
        // Under a web server, a client's header `Proxy` would be taken for the variable.
        let served = variable("REQUEST_METHOD").is_some_and(|value| !value.is_empty());
        let http = named(&["HTTP_PROXY", "http_proxy"]).filter(|_| !served);
        let https = named(&["HTTPS_PROXY", "https_proxy"]);
        let all = named(&["ALL_PROXY", "all_proxy"]);
        let without = first(&["NO_PROXY", "no_proxy"]);
        Self {
            http: http.or_else(|| all.clone()),
            https: https.or(all),
            unusable,
            without: without.map(|(_, list)| rules(&list)).unwrap_or_default(),
        }
    }

    /// The variables that name something that can't be asked, as a proxy of another kind than HTTP's: they are passed over.
    pub fn unusable(&self) -> &[&'static str] {
        &self.unusable
    }

    /// The proxy by which `url` is asked for, if it is by one. This machine is always reached without.
    pub fn on_the_way_to(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        }?;
        let port = url.port_or_known_default();
        let ip = match url.host()? {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain(_) => None,
        };
        let name = url.host_str()?.to_lowercase();
        if name == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return None;
        }
        let excluded = self.without.iter().any(|rule| rule.fits(&name, ip, port));
        (!excluded).then_some(proxy)
    }
}

impl Proxy {
    fn parse(text: &str, named: &'static str) -> Option<Self> {
        let of_a_proxy = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let url = Url::parse(text).ok().filter(of_a_proxy);
        let url = url.or_else(|| {
            // `proxy:3128`, without a scheme; what has another scheme is none that can be asked.
            let bare = !text.contains("://");
            bare.then(|| Url::parse(&format!("http://{text}")).ok())?
        })?;
        Some(Self { url, named })
    }

    /// Where it is, with the credentials for it, which are to be shown to nobody.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The proxy that a kubeconfig names.
    pub fn of_kubeconfig(text: &str) -> Option<Self> {
        Self::parse(text, "`proxy-url` of the kubeconfig")
    }

    /// What names it.
    pub const fn named(&self) -> &'static str {
        self.named
    }

    /// Scheme, host and port.
    pub fn place(&self) -> String {
        super::http::redirect::place(&self.url)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `through the proxy http://proxy:3128 (HTTPS_PROXY)`, without the credentials for it.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "through the proxy {} ({})", self.place(), self.named)
    }
}

/// What stands in a text after a URL that is asked for by a proxy: nothing if it is not.
pub fn told(url: &str) -> String {
    let url = Url::parse(url).ok();
    let proxies = Proxies::of_environment();
    let proxy = url.as_ref().and_then(|url| proxies.on_the_way_to(url));
    proxy.map_or_else(String::new, |proxy| format!(" {proxy}"))
}

impl Rule {
    fn fits(&self, name: &str, ip: Option<IpAddr>, port: Option<u16>) -> bool {
        let at = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        match self {
            Self::All => true,
            Self::Network(network, length) => ip.is_some_and(|ip| within(ip, *network, *length)),
            Self::Address(address, wanted) => ip == Some(*address) && at(wanted),
            Self::Domain(end, itself, wanted) => {
                let fits = name.ends_with(end.as_str()) || (*itself && name == &end[1..]);
                fits && at(wanted)
            }
        }
    }
}

fn rules(list: &str) -> Vec<Rule> {
    list.split(',')
        .filter_map(|item| rule(&item.trim().to_lowercase()))
        .collect()
}

fn rule(item: &str) -> Option<Rule> {
    if item.is_empty() {
        return None;
    }
    if item == "*" {
        return Some(Rule::All);
    }
    if let Some((network, length)) = item.split_once('/')
        && let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u8>())
    {
        let longest = if network.is_ipv4() { 32 } else { 128 };
        return (length <= longest).then_some(Rule::Network(network, length));
    }
    let (host, port) = split_port(item);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(Rule::Address(ip, port));
    }
    let host = host
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(host);
    match host.strip_prefix('.') {
        Some("") => None,
        Some(_) => Some(Rule::Domain(host.to_owned(), false, port)),
        None if host.is_empty() => None,
        None => Some(Rule::Domain(format!(".{host}"), true, port)),
    }
}

/// `host:port` apart; an IPv6 address with a port has brackets.
fn split_port(item: &str) -> (&str, Option<u16>) {
    let apart = item.rsplit_once(':').and_then(|(host, port)| {
        let whole = !host.contains(':') || host.ends_with(']');
        Some((host, port.parse().ok()?)).filter(|_| whole)
    });
    apart.map_or((item, None), |(host, port)| (host, Some(port)))
}

fn within(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    let shared = |ip: u128, network: u128, unused: u32| {
        ip.checked_shr(unused).unwrap_or(0) == network.checked_shr(unused).unwrap_or(0)
    };
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let (ip, network) = (u128::from(ip.to_bits()), u128::from(network.to_bits()));
            shared(ip, network, 32 - u32::from(length))
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            shared(ip.to_bits(), network.to_bits(), 128 - u32::from(length))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    fn check(variables: &[(&str, &str)], url: &str, expected: Option<&str>) {
        let found = proxies(variables);
        let url = Url::parse(url).unwrap();
        let found = found.on_the_way_to(&url).map(Proxy::place);
        assert_eq!(found.as_deref(), expected, "{variables:?} {url}");
    }

    #[test]
    fn each_scheme_has_its_proxy_and_this_machine_has_none() {
        let (plain, tls) = (("HTTP_PROXY", "http://p:1"), ("https_proxy", "q:2"));
        let both = [plain, tls];
        check(&both, "http://vault:8200", Some("http://p:1"));
        check(&both, "https://vault:8200", Some("http://q:2"));
        check(&[plain], "https://vault:8200", None);
        for near in [
            "http://localhost:1",
            "http://127.0.0.9",
            "https://[::1]:8200",
        ] {
            check(&both, near, None);
        }
        let all = [("ALL_PROXY", "http://r:3"), tls];
        check(&all, "http://vault", Some("http://r:3"));
        check(&all, "https://vault", Some("http://q:2"));
        let served = [plain, ("REQUEST_METHOD", "GET")];
        check(&served, "http://vault", None);
        let socks = [("HTTP_PROXY", "socks5://p:1")];
        check(&socks, "http://vault", None);
        assert_eq!(proxies(&socks).unusable(), ["HTTP_PROXY"]);
        assert!(proxies(&all).unusable().is_empty());
        check(&[("HTTP_PROXY", "")], "http://vault", None);
    }

    #[test]
    fn every_form_of_no_proxy_is_heeded() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("*", &["http://vault", "https://10.0.0.1"], &[]),
            (
                "corp.example",
                &["http://corp.example", "http://a.b.Corp.example:8200"],
                &["http://notcorp.example", "http://example"],
            ),
            (
                ".corp.example",
                &["http://a.corp.example"],
                &["http://corp.example"],
            ),
            (
                "*.corp.example",
                &["http://a.corp.example"],
                &["http://corp.example"],
            ),
            (
                " vault:8200 , other",
                &["http://vault:8200", "http://other:1"],
                &["http://vault:8201", "http://vault"],
            ),
            ("vault:80", &["http://vault"], &["https://vault"]),
            (
                "10.0.0.0/8,fd00::/8",
                &["http://10.255.0.1:8200", "http://[fd12::1]"],
                &["http://11.0.0.1", "http://[fe80::1]", "http://ten"],
            ),
            (
                "10.0.0.1,[fd00::1]:8200",
                &["http://10.0.0.1:9", "http://[fd00::1]:8200"],
                &["http://10.0.0.2", "http://[fd00::1]:8201"],
            ),
            ("0.0.0.0/0", &["http://8.8.8.8"], &["http://[fd00::1]"]),
            (
                ".svc,.cluster.local",
                &["http://vault.vault.svc"],
                &["http://vault"],
            ),
            (
                ",, .,:80,10.0.0.0/99",
                &[],
                &["http://vault", "http://10.0.0.1"],
            ),
        ];
        for (list, without, by) in cases {
            let variables = [
                ("HTTP_PROXY", "http://p:1"),
                ("HTTPS_PROXY", "http://p:1"),
                ("NO_PROXY", list),
            ];
            for url in *without {
                check(&variables, url, None);
            }
            for url in *by {
                check(&variables, url, Some("http://p:1"));
            }
        }
    }

    #[test]
    fn its_credentials_are_not_told() {
        let found = proxies(&[("HTTP_PROXY", "http://me:hidden@p:1")]);
        let url = Url::parse("http://vault").unwrap();
        let told = found.on_the_way_to(&url).map(Proxy::to_string);
        assert_eq!(
            told.as_deref(),
            Some("through the proxy http://p:1 (HTTP_PROXY)")
        );
    }
}
