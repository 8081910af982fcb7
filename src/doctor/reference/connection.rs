//! The check of the VaultConnection behind a VaultAuth, and its fix.

use kube::Client;
use kube::api::Api;

use super::super::ask::{Asked, get};
use super::super::fix::{Fix, Line, Manifest, Name, Patch};
use super::super::{Cluster, Known, Ledger, Topic};
use super::global::unseen;
use super::patched;
use crate::config::Config;
use crate::operator::DEFAULT;
use crate::operator::api::VaultConnection;

/// Looks at it.
pub(super) async fn look(
    client: &Client,
    config: &Config,
    namespace: &str,
    name: &str,
    cluster: &mut Cluster,
    ledger: &mut Ledger,
) {
    let topic = Topic::VaultConnection;
    let full = format!("{namespace}/{name}");
    if Name::parse(namespace).is_none() || Name::parse(name).is_none() {
        let text = format!(
            "looked at the VaultAuth's reference: `{full}` is not a valid name of a VaultConnection"
        );
        let fix = "set `spec.vaultConnectionRef` of the VaultAuth to the right VaultConnection";
        return ledger.finding(topic, &full, text, Fix::words(fix));
    }
    let api: Api<VaultConnection> = Api::namespaced(client.clone(), namespace);
    let what = format!("get VaultConnection `{full}`");
    let connection = match get(&api, &what, name).await {
        Asked::There(connection) => connection,
        Asked::Absent => {
            let text = format!("tried to {what}: it does not exist");
            return ledger.finding(topic, &full, text, connect(config, namespace, name));
        }
        Asked::Denied => {
            return unseen(config, "vaultconnections", &full, namespace, topic, ledger);
        }
        Asked::Failed(text) => return ledger.unknown(topic, &full, text),
    };
    let status = connection.status.unwrap_or_default();
    let spec = connection.spec;
    match status.valid {
        Some(true) => {
            ledger.good(topic, &full, format!("valid, {}", spec.address));
            // Another's is nothing to send the prober's login to.
            let own = [&config.kubernetes.namespace, &config.operator.namespace];
            if own.iter().any(|own| *own == namespace) {
                cluster.connections.push(Known {
                    name: full,
                    address: spec.address,
                    ca: spec.ca_cert_secret_ref,
                });
            }
        }
        Some(false) => {
            let said: Vec<_> = status
                .conditions
                .iter()
                .filter(|condition| condition.status != "True")
                .map(|condition| condition.message.as_str())
                .collect();
            let said = said.join("; ");
            let text = format!(
                "looked at the VaultConnection `{full}`: the operator can't reach Vault at {} with it: {said}",
                spec.address
            );
            let fix = mended(config, namespace, name, &spec.address, &said);
            ledger.finding(topic, &full, text, fix);
        }
        None => {
            let text = format!(
                "looked at the VaultConnection `{full}`: the operator has not reported yet whether it is valid"
            );
            ledger.warning(topic, &full, text, None);
        }
    }
}

/// Whether this VaultConnection is that of everybody who names none.
pub(super) fn is_everybodys(config: &Config, namespace: &str, name: &str) -> bool {
    namespace == config.operator.namespace && name == DEFAULT
}

/// What makes a VaultConnection that is not there.
fn connect(config: &Config, namespace: &str, name: &str) -> Fix {
    let address = &config.vault.address;
    let manifest = || {
        let (namespace, name) = (Name::parse(namespace)?, Name::parse(name)?);
        Some(Manifest::connection(
            &namespace,
            &name,
            &Line::parse(address)?,
        ))
    };
    match manifest() {
        Some(manifest) if !is_everybodys(config, namespace, name) => Fix::apply(&[manifest]),
        _ => Fix::words(format!(
            "set `spec.vaultConnectionRef` of the VaultAuth to a VaultConnection with Vault's address; every VaultAuth that \
             names none would use one called `{namespace}/{name}`"
        )),
    }
}

/// What mends a VaultConnection by which the operator does not reach Vault, for the reason that it gives. Its address
/// is changed only if that is what failed, if it is the prober's own namespace's, and never to a weaker scheme.
fn mended(config: &Config, namespace: &str, name: &str, address: &str, said: &str) -> Fix {
    /// What is told of an address that leads nowhere.
    const NOWHERE: [&str; 5] = [
        "connection refused",
        "no such host",
        "no route to host",
        "i/o timeout",
        "deadline exceeded",
    ];
    let right = &config.vault.address;
    let full = format!("{namespace}/{name}");
    let nowhere = NOWHERE.iter().any(|words| said.contains(words));
    if *address == *right {
        return Fix::words(format!(
            "allow traffic from the operator's pods in `{}` to {address}; if Vault was down, the operator retries by itself",
            config.operator.namespace
        ));
    }
    if !nowhere {
        return Fix::words(format!(
            "fix what the operator reports for the VaultConnection `{full}`: the Secret in its `caCertSecretRef`, its \
             `tlsServerName`, or its `address`, which is {right} for the prober"
        ));
    }
    let weaker = address.starts_with("https://") && !right.starts_with("https://");
    let patch = Line::parse(right).map(|right| Patch::address(&right));
    let fix = patch
        .filter(|_| !weaker && namespace == config.kubernetes.namespace)
        .and_then(|patch| patched("kubectl patch vaultconnection", namespace, name, &patch));
    fix.unwrap_or_else(|| {
        Fix::words(format!(
            "set `spec.address` of the VaultConnection `{full}` to Vault's address for the operator; for the prober it is {right}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{EXAMPLE, load};

    fn config(address: &str) -> Config {
        let mut config = load(EXAMPLE, "prober.yaml", |_| None).expect("the example is good");
        config.vault.address = address.to_owned();
        config
    }

    fn home() -> String {
        config("http://vault:8200").kubernetes.namespace
    }

    #[test]
    fn a_connection_is_changed_only_where_its_address_failed_and_never_to_a_weaker_one() {
        let check = |right: &str, namespace: &str, address: &str, said: &str, runs: bool| {
            let fix = mended(&config(right), namespace, "probe", address, said);
            let told = format!("{fix}");
            assert_eq!(matches!(fix, Fix::Run(_)), runs, "{told}");
            assert!(runs || told.starts_with("# "), "{told}");
        };
        let (plain, tls) = ("http://vault:8200", "https://vault:8200");
        let refused = "dial tcp 10.0.0.1:8200: connect: connection refused";
        check(plain, &home(), "http://other:8200", refused, true);
        check(tls, &home(), "http://other:8200", refused, true);
        check(plain, &home(), "https://other:8200", refused, false);
        check(plain, "team-a", "http://other:8200", refused, false);
        check(
            tls,
            &home(),
            "https://other",
            "secrets \"nope\" not found",
            false,
        );
        check(
            tls,
            &home(),
            "https://other",
            "x509: certificate signed by unknown authority",
            false,
        );
        check(plain, &home(), plain, refused, false);
    }

    #[test]
    fn nothing_is_made_that_everybody_would_take() {
        let config = config("http://vault:8200");
        let operators = config.operator.namespace.as_str();
        assert!(matches!(connect(&config, operators, "default"), Fix::Do(_)));
        assert!(matches!(connect(&config, operators, "probe"), Fix::Run(_)));
        assert!(matches!(connect(&config, &home(), "default"), Fix::Run(_)));
        assert!(matches!(
            connect(&config, "team-a", "x,labels:{a:b}"),
            Fix::Do(_)
        ));
    }
}
