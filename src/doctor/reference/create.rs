//! The fix for a missing VaultAuth: the VaultAuth with all that it needs.

use kube::Client;
use kube::api::Api;

use super::super::ask::{Asked, get};
use super::super::fix::{Command, Fix, Input, Line, Manifest, Name, Script, Word};
use super::connection::is_everybodys;
use crate::config::Config;
use crate::operator::api::VaultConnection;
use crate::rights::operators;

/// All that it takes for a VaultAuth to work, in Kubernetes and in Vault.
pub(super) async fn create(client: &Client, config: &Config, namespace: &str, name: &str) -> Fix {
    let api: Api<VaultConnection> = Api::namespaced(client.clone(), namespace);
    let what = format!("get VaultConnection `{namespace}/{name}`");
    // One that may be there may be in use, and is not to be changed.
    let absent = matches!(get(&api, &what, name).await, Asked::Absent);
    let script = created(config, namespace, name, absent);
    script
        .filter(|_| !is_everybodys(config, namespace, name))
        .map_or_else(
            || {
                Fix::words(format!(
                    "set `authRef` of the probe to an existing VaultAuth, or create `{namespace}/{name}` with a role in Vault \
                     that allows its ServiceAccount to read what the probe requests"
                ))
            },
            Fix::from,
        )
}

fn created(config: &Config, namespace: &str, name: &str, connection: bool) -> Option<Script> {
    let (namespace, own) = (Name::parse(namespace)?, Name::parse(name)?);
    let home = Name::parse(&config.kubernetes.namespace)?;
    let mut manifests = Vec::new();
    if connection {
        let address = Line::parse(&config.vault.address)?;
        manifests.push(Manifest::connection(&namespace, &own, &address));
    }
    manifests.push(Manifest::account(&home, &own));
    manifests.push(Manifest::vault_auth(&namespace, &own, &home));
    let policy = Word::from(&own).then("-canaries");
    let allow = Command::vault(config, "policy write")?
        .arg(policy.clone())
        .arg("-");
    let role = Command::vault(config, "write")?
        .arg(Word::from("auth/kubernetes/role/").then(&own))
        .arg(Word::pair("bound_service_account_names", &own))
        .arg(Word::pair("bound_service_account_namespaces", &home))
        .arg("audience=vault")
        .arg(Word::pair("token_policies", policy))
        .arg("token_ttl=1h");
    let apply = Command::new("kubectl apply -f -");
    let script = Script::default()
        .give(apply, Input::manifests(&manifests))
        .give(allow, Input::policy(&operators(config))?)
        .run(role);
    Some(script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{EXAMPLE, load};

    #[test]
    fn what_is_made_is_of_names_alone() {
        let mut config = load(EXAMPLE, "prober.yaml", |_| None).expect("the example is good");
        assert!(created(&config, "vso-probe", "probe", true).is_some());
        assert!(created(&config, "vso-probe", "a'b", true).is_none());
        config.vault.namespace = Some("team';id;'".to_owned());
        assert!(created(&config, "vso-probe", "probe", true).is_none());
    }
}
