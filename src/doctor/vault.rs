//! The checks of Vault: connection, state, login, rights, and what the probes request.

mod audit;
mod engine;
mod login;

use std::time::Duration;

use url::Url;

use super::fix::{Command, Fix, Input, Plain, Script};
use super::network::Place;
use super::trust::advice;
use super::{Cluster, Known, Ledger, Topic};
use crate::config::Config;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::reply::{Distrust, Reply};
use crate::rights::{Need, Rights, policy_name};
use crate::vault::Vault;
use crate::vault::introspect::State;
use crate::wire;
use crate::wire::proxy::{Proxies, Proxy};

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Looks at everything of Vault. Returns its state, if it told one.
pub(super) async fn look(
    config: &Config,
    rights: &Rights,
    cluster: &Cluster,
    ledger: &mut Ledger,
) -> Option<State> {
    let state = reach(config, cluster, ledger).await;
    let serves = state
        .as_ref()
        .ok_or("Vault is unreachable")
        .and_then(|(_, state)| {
            let serves = state.initialized && !state.sealed;
            serves.then_some(()).ok_or("Vault does not serve")
        });
    let let_in = match (serves, &state) {
        (Ok(()), Some((vault, _))) => login::look(vault, config, rights, ledger).await,
        (Err(why), _) => {
            ledger.skipped(Topic::VaultLogin, login::method(config), why);
            false
        }
        (Ok(()), None) => false,
    };
    match &state {
        Some((vault, _)) if let_in => {
            capabilities(vault, config, rights, ledger).await;
            engine::look(vault, config, ledger).await;
            audit::look(vault, config, ledger).await;
            vault.log_out().await;
        }
        _ => {
            let audit = config.audit.as_ref().map(|_| Topic::AuditDevice);
            for topic in [Topic::VaultPolicy, Topic::VaultMount]
                .into_iter()
                .chain(audit)
            {
                ledger.skipped(topic, &config.vault.address, "there was no login to Vault");
            }
        }
    }
    state.map(|(_, state)| state)
}

/// A question to Vault that is not waited for too long.
async fn ask<T>(
    what: &str,
    question: impl Future<Output = Result<T, Obstacle>>,
) -> Result<T, Obstacle> {
    wire::limited(Peer::Vault, what, LIMIT, question).await
}

/// Name, connection, TLS, and whether it serves: of Vault, or of the proxy that requests to it go through.
async fn reach(config: &Config, cluster: &Cluster, ledger: &mut Ledger) -> Option<(Vault, State)> {
    let address = &config.vault.address;
    let proxies = Proxies::of_environment();
    let url = Url::parse(address).ok()?;
    let proxy = proxies.on_the_way_to(&url);
    for variable in proxies.unusable() {
        let text = format!("`{variable}` does not name an HTTP proxy; it is passed over");
        ledger.warning(Topic::VaultTcp, address, text, None);
    }
    let place = Place::of(proxy.map_or(&url, Proxy::url).as_str())?;
    let elsewhere = |why: &str| match proxy {
        Some(proxy) => detour(proxy, &url),
        None => elsewhere(why, address, cluster),
    };
    let subject = |name: &str| match proxy {
        Some(_) => format!("{name} (proxy)"),
        None => name.to_owned(),
    };
    let skip = |ledger: &mut Ledger, topics: &[Topic], why: &str| {
        for topic in topics {
            ledger.skipped(*topic, address, why);
        }
    };
    let host = subject(&place.host);
    let addresses = match place.resolve().await {
        Ok(addresses) => addresses,
        Err(text) => {
            let fix = elsewhere("make the name resolve");
            ledger.finding(Topic::VaultName, &host, told(text, proxy), fix);
            let why = "the name does not resolve";
            skip(ledger, &[Topic::VaultTcp, Topic::VaultState], why);
            return None;
        }
    };
    let shown: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
    let shown = told(shown.join(", "), proxy);
    ledger.good(Topic::VaultName, &host, shown);
    let name = subject(&place.name());
    match place.connect(&addresses).await {
        Ok(at) => ledger.good(Topic::VaultTcp, &name, format!("{at} listens")),
        Err(text) => {
            let fix = elsewhere(
                "start Vault, or allow the traffic through network policies and firewalls",
            );
            ledger.finding(Topic::VaultTcp, &name, told(text, proxy), fix);
            skip(ledger, &[Topic::VaultState], "there is no connection");
            return None;
        }
    }
    let vault = match Vault::open(&config.vault).await {
        Ok(vault) => vault,
        Err(obstacle) => {
            skip(ledger, &[Topic::VaultState], &obstacle.text);
            return None;
        }
    };
    let tls = address.starts_with("https://");
    let state = ask("read its health", vault.state()).await;
    match &state {
        Err(obstacle) if tls && let Some(fault) = obstacle.distrust() => {
            let fix = authority(config, cluster, fault);
            ledger.finding(Topic::VaultTls, address, obstacle.text.clone(), fix);
            skip(ledger, &[Topic::VaultState], "there is no TLS");
            return None;
        }
        Ok(_) if tls => ledger.good(Topic::VaultTls, address, "the certificate is trusted"),
        _ if tls => {}
        _ if let Some(proxy) = proxy => {
            let text = format!(
                "the address is `http`, and requests go {proxy}: the prober's token and the canaries pass it in clear text"
            );
            ledger.warning(Topic::VaultTls, address, text, None);
        }
        _ if local(&addresses) => {}
        _ => {
            let text = "the address is `http`: the prober's token and the canaries cross the network in clear text";
            ledger.warning(Topic::VaultTls, address, text, None);
        }
    }
    match state {
        Ok(state) => {
            serves(config, &state, ledger);
            Some((vault, state))
        }
        Err(obstacle) => {
            let fix = if speaks_tls(address, &obstacle) {
                Fix::words(format!(
                    "if Vault serves TLS there, set `vault.address` to {}, and `vault.caFile`",
                    address.replacen("http://", "https://", 1)
                ))
            } else {
                elsewhere("make sure that Vault itself answers there")
            };
            ledger.finding(Topic::VaultState, address, obstacle.text, fix);
            None
        }
    }
}

/// A text, with the proxy that it is about.
fn told(text: String, proxy: Option<&Proxy>) -> String {
    match proxy {
        Some(proxy) => format!("{text}; requests to Vault go {proxy}"),
        None => text,
    }
}

/// What a person can do about a proxy on the way to Vault.
fn detour(proxy: &Proxy, url: &Url) -> Fix {
    Fix::words(format!(
        "check the proxy {}, which `{}` names, or add {} to NO_PROXY if Vault is reached without",
        proxy.place(),
        proxy.named(),
        url.host_str().unwrap_or_default()
    ))
}

/// Whether what came back of plain HTTP is what a TLS port answers: a refusal that is not Vault's, or nothing.
fn speaks_tls(address: &str, obstacle: &Obstacle) -> bool {
    let plain = address.starts_with("http://");
    let refused = obstacle.how == Hindrance::Unreachable && obstacle.status() == Some(400);
    plain && (refused || obstacle.reply == Some(Reply::Broken))
}

fn local(addresses: &[std::net::SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().is_loopback())
}

/// Where Vault may be instead. Whatever is there gets the prober's login, so that is asked, and of no one but the
/// prober's and the operator's own namespaces; and what was to go over TLS is not to go without.
fn elsewhere(why: &str, address: &str, cluster: &Cluster) -> Fix {
    let weaker = |other: &str| address.starts_with("https://") && !other.starts_with("https://");
    let mut connections = cluster.connections.iter();
    let other = connections.find(|known| known.address != address && !weaker(&known.address));
    Fix::words(match other {
        Some(known) => format!(
            "{why}; or is Vault at {}, as in the VaultConnection `{}`? If Vault's administrators confirm it, set \
             `vault.address` to that",
            known.address, known.name
        ),
        None => format!(
            "{why}, or set `vault.address`; `kubectl get services -A` shows where Vault is in the cluster"
        ),
    })
}

/// What a person can do about a certificate of Vault's that is not trusted.
fn authority(config: &Config, cluster: &Cluster, fault: Distrust) -> Fix {
    let advice = advice(fault, "vault.caFile", config.vault.ca_file.as_deref());
    let of = |known: &Known| Some((known.name.clone(), known.ca.clone()?));
    let known = cluster.connections.iter().find_map(of);
    Fix::words(match known {
        Some((connection, secret)) if fault == Distrust::UnknownIssuer => format!(
            "{advice}; the operator has it under `ca.crt` in the Secret `{secret}` beside the VaultConnection `{connection}`"
        ),
        _ => advice,
    })
}

fn serves(config: &Config, state: &State, ledger: &mut Ledger) {
    let address = &config.vault.address;
    if !state.initialized {
        let text = format!("asked Vault at {address} for its state: it is not initialised");
        let fix = Script::default()
            .run(Command::new("vault operator init"))
            .run(Command::new("vault operator unseal"));
        ledger.finding(Topic::VaultState, address, text, fix.into());
    } else if state.sealed {
        let text = format!("asked Vault at {address} for its state: it is sealed");
        let fix = Script::default()
            .remark("once for each key share, until it is unsealed")
            .run(Command::new("vault operator unseal"));
        ledger.finding(Topic::VaultState, address, text, fix.into());
    } else {
        let text = format!("version {}, unsealed", state.version);
        ledger.good(Topic::VaultState, address, text);
    }
}

/// What gives the prober the least policy. Where its token has none of that name, its role is given it too.
pub(super) fn grant(config: &Config, rights: &Rights, policies: Option<&[String]>) -> Fix {
    granted(config, rights, policies).map_or_else(by_hand, Fix::from)
}

/// Where a name or path is of a form that no command may hold.
fn by_hand() -> Fix {
    Fix::words(
        "add the policy that `vso-prober doctor --print-policy` prints to the prober's login",
    )
}

fn granted(config: &Config, rights: &Rights, policies: Option<&[String]>) -> Option<Script> {
    let name = policy_name(&config.vault.auth);
    let write = Command::vault(config, "policy write")?
        .arg(&Plain::parse(name)?)
        .arg("-");
    let script = Script::default().give(write, Input::policy(&rights.paths)?);
    // What it has beside is kept, so it must be known.
    match policies.filter(|policies| !policies.iter().any(|policy| policy == name)) {
        Some(policies) => Some(script.and(login::attach(config, name, policies)?)),
        None => Some(script),
    }
}

/// Whether the token may do what is needed, path by path.
async fn capabilities(vault: &Vault, config: &Config, rights: &Rights, ledger: &mut Ledger) {
    let samples: Vec<_> = rights
        .paths
        .iter()
        .map(crate::rights::Path::samples)
        .collect();
    let paths: Vec<_> = samples
        .iter()
        .flatten()
        .map(|(path, _)| path.clone())
        .collect();
    let what = "read what its token may do";
    let (allowed, token) = tokio::join!(
        ask(what, vault.capabilities(&paths)),
        ask(what, vault.own_token())
    );
    let policies = token.ok().flatten().map(|token| token.policies);
    let fix = grant(config, rights, policies.as_deref());
    let allowed = match allowed {
        Ok(Some(allowed)) => allowed,
        Ok(None) => {
            let text = "asked Vault what the prober's token may do: it may not use `sys/capabilities-self`, so its rights can't be checked";
            ledger.warning(Topic::VaultPolicy, "sys/capabilities-self", text, Some(fix));
            return;
        }
        Err(obstacle) => {
            return ledger.unknown(Topic::VaultPolicy, &config.vault.address, obstacle.text);
        }
    };
    for (path, samples) in rights.paths.iter().zip(samples) {
        let missing: Vec<_> = samples
            .iter()
            .flat_map(|(sample, needed)| {
                let has = allowed.get(sample).map_or(&[][..], Vec::as_slice);
                let root = has.iter().any(|what| what == "root");
                let lacks = |what: &&&str| !root && !has.iter().any(|has| has == **what);
                needed.iter().filter(lacks).copied().collect::<Vec<_>>()
            })
            .collect();
        if missing.is_empty() {
            ledger.good(Topic::VaultPolicy, &path.path, path.capabilities.join(", "));
            continue;
        }
        let missing = missing.join(", ");
        let text = format!(
            "asked Vault what the prober's token may do on `{}`: it lacks {missing}",
            path.path
        );
        match path.need {
            Need::Run => ledger.finding(Topic::VaultPolicy, &path.path, text, fix.clone()),
            Need::Doctor => {
                let text = format!(
                    "{text}; no run needs that, but without it doctor can't check everything"
                );
                ledger.warning(Topic::VaultPolicy, &path.path, text, Some(fix.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{EXAMPLE, load};

    fn known(address: &str) -> Cluster {
        let known = Known {
            name: "vso-probe/probe".to_owned(),
            address: address.to_owned(),
            ca: Some("vault-ca".to_owned()),
        };
        Cluster {
            connections: vec![known],
            ..Cluster::default()
        }
    }

    /// Whoever is at an address gets the prober's login: it is asked, and never to leave TLS for it.
    #[test]
    fn another_vault_is_a_question_and_never_one_without_tls() {
        let told = |address, other| match elsewhere("start Vault", address, &known(other)) {
            Fix::Do(words) => words.to_string(),
            fix => panic!("{fix}"),
        };
        assert!(told("http://a:1", "http://b:1").contains("or is Vault at http://b:1"));
        assert!(told("http://a:1", "https://b:1").contains("https://b:1"));
        assert!(!told("https://a:1", "http://b:1").contains("http://b:1"));
        assert!(!told("http://a:1", "http://a:1").contains("VaultConnection"));
    }

    /// A CA that is trusted is never written over, whatever is wrong with the certificate.
    #[test]
    fn a_ca_file_is_left_as_it_is() {
        let mut config = load(EXAMPLE, "prober.yaml", |_| None).expect("the example is good");
        for file in [None, Some("/etc/vault/ca.crt".into())] {
            config.vault.ca_file = file;
            for fault in [
                Distrust::UnknownIssuer,
                Distrust::Name,
                Distrust::Certificate,
            ] {
                let fix = authority(&config, &known("https://b:1"), fault);
                let secret = fix.to_string().contains("the Secret `vault-ca`");
                assert!(matches!(fix, Fix::Do(_)), "{fix}");
                assert_eq!(secret, fault == Distrust::UnknownIssuer, "{fix}");
            }
        }
    }
}
