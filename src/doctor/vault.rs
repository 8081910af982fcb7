//! Vault: whether it is found, serves, lets the prober in and do what it must, and has what the probes ask for.

mod engine;
mod login;

use std::time::Duration;

use super::fix::{Fix, namespace, word};
use super::network::Place;
use super::{Cluster, Ledger, Topic};
use crate::config::Config;
use crate::model::record::{Obstacle, Peer};
use crate::rights::{Need, Rights, policy, policy_name};
use crate::vault::Vault;
use crate::vault::inquiry::State;
use crate::wire;

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
        .ok_or("Vault is not reached")
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
            vault.log_out().await;
        }
        _ => {
            for topic in [Topic::VaultPolicy, Topic::VaultMount] {
                ledger.skipped(topic, &config.vault.address, "there is no login to Vault");
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

/// Name, connection, TLS, and whether it serves.
async fn reach(config: &Config, cluster: &Cluster, ledger: &mut Ledger) -> Option<(Vault, State)> {
    let address = &config.vault.address;
    let place = Place::of(address)?;
    let elsewhere = |why: &str| match cluster
        .vault_addresses
        .iter()
        .find(|other| *other != address)
    {
        Some(other) => Fix::set(&["vault", "address"], other.as_str()),
        None => Fix::Do(format!(
            "{why}, or set `vault.address`; `kubectl get services -A` tells where Vault is in the cluster"
        )),
    };
    let skip = |ledger: &mut Ledger, topics: &[Topic], why: &str| {
        for topic in topics {
            ledger.skipped(*topic, address, why);
        }
    };
    let addresses = match place.resolve().await {
        Ok(addresses) => addresses,
        Err(text) => {
            ledger.finding(
                Topic::VaultName,
                &place.host,
                text,
                elsewhere("have the name resolved"),
            );
            skip(
                ledger,
                &[Topic::VaultTcp, Topic::VaultState],
                "the name does not resolve",
            );
            return None;
        }
    };
    let shown: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
    ledger.good(Topic::VaultName, &place.host, shown.join(", "));
    match place.connect(&addresses).await {
        Ok(at) => ledger.good(Topic::VaultTcp, &place.name(), format!("{at} listens")),
        Err(text) => {
            let fix = elsewhere("start Vault, open the way through network policies and firewalls");
            ledger.finding(Topic::VaultTcp, &place.name(), text, fix);
            skip(ledger, &[Topic::VaultState], "there is no connection");
            return None;
        }
    }
    let vault = match Vault::new(&config.vault) {
        Ok(vault) => vault,
        Err(obstacle) => {
            skip(ledger, &[Topic::VaultState], &obstacle.text);
            return None;
        }
    };
    let tls = address.starts_with("https://");
    let state = ask("ask for its health", vault.state()).await;
    match &state {
        Err(obstacle) if tls && is_tls(&obstacle.text) => {
            let fix = authority(config, cluster, &place);
            ledger.finding(Topic::VaultTls, address, obstacle.text.clone(), fix);
            skip(ledger, &[Topic::VaultState], "there is no TLS");
            return None;
        }
        _ if tls => ledger.good(Topic::VaultTls, address, "the certificate is trusted"),
        _ if local(&addresses) => {}
        _ => {
            let text = "the address is `http`: the prober's token and the canaries go over the network in the clear";
            ledger.warning(Topic::VaultTls, address, text, None);
        }
    }
    match state {
        Ok(state) => {
            serves(config, &state, ledger);
            Some((vault, state))
        }
        Err(obstacle) => {
            let fix = elsewhere("have Vault itself answer there");
            ledger.finding(Topic::VaultState, address, obstacle.text, fix);
            None
        }
    }
}

fn local(addresses: &[std::net::SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().is_loopback())
}

/// Whether it was TLS that failed, by the words of the libraries for it.
fn is_tls(text: &str) -> bool {
    let text = text.to_lowercase();
    ["certificate", "tls", "handshake", "corrupt message"]
        .iter()
        .any(|word| text.contains(word))
}

/// How to get at the CA of Vault's certificate.
fn authority(config: &Config, cluster: &Cluster, place: &Place) -> Fix {
    let Some(file) = &config.vault.ca_file else {
        let text = "the file that a CA's certificate is put into, e.g. from the Secret that the VaultConnection's \
                    `caCertSecretRef` names";
        return Fix::Do(format!("set `vault.caFile` to {text}"));
    };
    let file = word(&file.display().to_string());
    Fix::Run(match &cluster.vault_ca {
        Some((namespace, name)) => format!(
            "kubectl get secret {name} -n {namespace} -o 'jsonpath={{.data.ca\\.crt}}' | base64 -d > {file}\n"
        ),
        None => format!(
            "# compare the fingerprint with that of your CA before you trust it\n\
             openssl s_client -showcerts -connect {} </dev/null | sed -n '/BEGIN CERT/,/END CERT/p' > {file}\n\
             openssl x509 -noout -fingerprint -sha256 -in {file}\n",
            place.name()
        ),
    })
}

fn serves(config: &Config, state: &State, ledger: &mut Ledger) {
    let address = &config.vault.address;
    if !state.initialized {
        let text = format!("asked Vault at {address} for its state: it is not initialised");
        let fix = Fix::Run("vault operator init\nvault operator unseal\n".to_owned());
        ledger.finding(Topic::VaultState, address, text, fix);
    } else if state.sealed {
        let text = format!("asked Vault at {address} for its state: it is sealed");
        let fix = "vault operator unseal    # once a share of the key, until it is unsealed\n";
        ledger.finding(Topic::VaultState, address, text, Fix::Run(fix.to_owned()));
    } else {
        let text = format!("version {}, unsealed", state.version);
        ledger.good(Topic::VaultState, address, text);
    }
}

/// What gives the prober the least policy. Where its token has none of that name, its role is given it too.
pub(super) fn grant(config: &Config, rights: &Rights, policies: Option<&[String]>) -> Fix {
    let name = policy_name(&config.vault.auth);
    let namespace = namespace(config);
    let command = format!("vault policy write{namespace} {} -", word(name));
    let mut text = super::fix::here(&command, &policy(&rights.paths));
    // What it has beside is kept, so it must be known.
    if let Some(policies) =
        policies.filter(|policies| !policies.iter().any(|policy| policy == name))
    {
        text.push_str(&login::attach(config, name, policies));
    }
    Fix::Run(text)
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
    let what = "ask what its token may do";
    let (allowed, token) = tokio::join!(
        ask(what, vault.capabilities(&paths)),
        ask(what, vault.own_token())
    );
    let policies = token.ok().flatten().map(|token| token.policies);
    let fix = grant(config, rights, policies.as_deref());
    let allowed = match allowed {
        Ok(Some(allowed)) => allowed,
        Ok(None) => {
            let text = "asked Vault what the prober's token may do: it may not ask `sys/capabilities-self`, so that its rights can't be checked";
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
                let text =
                    format!("{text}; no run needs that, but without it not all can be looked at");
                ledger.warning(Topic::VaultPolicy, &path.path, text, Some(fix.clone()));
            }
        }
    }
}
