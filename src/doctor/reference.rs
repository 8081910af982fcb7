//! What the probes' resources refer to: the VaultAuth, the VaultConnection behind it, and the ServiceAccount
//! that the operator logs in with.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::Api;

use super::ask::{Asked, get};
use super::fix::{self, Fix, here};
use super::{Cluster, Ledger, Topic};
use crate::config::Config;
use crate::operator::api::{VaultAuth, VaultConnection};
use crate::operator::api_version;
use crate::rights::{auth_ref, operators, policy, reference};

/// Looks at what each probe refers to, once.
pub(super) async fn look(
    client: &Client,
    config: &Config,
    served: &[String],
    cluster: &mut Cluster,
    ledger: &mut Ledger,
) {
    let home = config.kubernetes.namespace.as_str();
    let references: BTreeSet<_> = config
        .probes
        .iter()
        .map(|probe| reference(auth_ref(&probe.target), home))
        .collect();
    for (namespace, name) in references {
        let full = format!("{namespace}/{name}");
        if !served.iter().any(|kind| kind == "vaultauths") {
            ledger.skipped(Topic::VaultAuth, &full, "the kind is not served");
            continue;
        }
        let api: Api<VaultAuth> = Api::namespaced(client.clone(), namespace);
        let what = format!("get VaultAuth `{full}`");
        let auth = match get(&api, &what, name).await {
            Asked::There(auth) => auth,
            Asked::Absent => {
                let text = format!("tried to {what}: there is none");
                let fix = create(client, config, namespace, name).await;
                ledger.finding(Topic::VaultAuth, &full, text, fix);
                continue;
            }
            Asked::Denied => {
                ledger.skipped(Topic::VaultAuth, &full, "the prober may not get it");
                continue;
            }
            Asked::Failed(text) => {
                ledger.unknown(Topic::VaultAuth, &full, text);
                continue;
            }
        };
        allows(config, &auth, namespace, name, ledger);
        account(client, config, &auth, ledger).await;
        let own = auth
            .spec
            .vault_connection_ref
            .as_deref()
            .filter(|own| !own.is_empty());
        let default = format!("{}/default", config.operator.namespace);
        let (namespace, name) = reference(own.unwrap_or(&default), namespace);
        connection(client, config, namespace, name, cluster, ledger).await;
    }
}

/// Whether the VaultAuth may be referred to from the canaries' namespace.
fn allows(config: &Config, auth: &VaultAuth, namespace: &str, name: &str, ledger: &mut Ledger) {
    let home = &config.kubernetes.namespace;
    let full = format!("{namespace}/{name}");
    let allowed = auth.spec.allowed_namespaces.as_deref().unwrap_or_default();
    // As the operator has it: its own namespace always, and the default of the operator's.
    let always =
        namespace == *home || (namespace == config.operator.namespace && name == "default");
    if always || allowed == ["*"] || allowed.contains(home) {
        ledger.good(Topic::VaultAuth, &full, format!("allows `{home}`"));
        return;
    }
    let all: Vec<_> = allowed
        .iter()
        .filter(|one| *one != "*")
        .chain([home])
        .collect();
    let patch = serde_json::json!({"spec": {"allowedNamespaces": all}});
    let text = format!(
        "looked at the VaultAuth `{full}`: its `allowedNamespaces` do not have `{home}`, so that no resource there may refer to it"
    );
    let fix = format!("kubectl patch vaultauth {name} -n {namespace} --type=merge -p '{patch}'\n");
    ledger.finding(Topic::VaultAuth, &full, text, Fix::Run(fix));
}

/// The ServiceAccount of the VaultAuth; it is one of the namespace of the resource that is synced.
async fn account(client: &Client, config: &Config, auth: &VaultAuth, ledger: &mut Ledger) {
    let kubernetes = auth.spec.kubernetes.as_ref();
    let Some(name) = kubernetes.and_then(|method| method.service_account.as_deref()) else {
        return;
    };
    let home = &config.kubernetes.namespace;
    let full = format!("{home}/{name}");
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), home);
    let what = format!("get ServiceAccount `{full}`");
    let topic = Topic::ServiceAccount;
    match get(&api, &what, name).await {
        Asked::There(_) => ledger.good(topic, &full, "is there"),
        Asked::Absent => {
            let text = format!(
                "tried to {what}, with which the operator logs in for the canaries: there is none"
            );
            let fix = format!("kubectl create serviceaccount {name} -n {home}\n");
            ledger.finding(topic, &full, text, Fix::Run(fix));
        }
        Asked::Denied => ledger.skipped(topic, &full, "the prober may not get it"),
        Asked::Failed(text) => ledger.unknown(topic, &full, text),
    }
}

async fn connection(
    client: &Client,
    config: &Config,
    namespace: &str,
    name: &str,
    cluster: &mut Cluster,
    ledger: &mut Ledger,
) {
    let topic = Topic::VaultConnection;
    let full = format!("{namespace}/{name}");
    let api: Api<VaultConnection> = Api::namespaced(client.clone(), namespace);
    let what = format!("get VaultConnection `{full}`");
    let connection = match get(&api, &what, name).await {
        Asked::There(connection) => connection,
        Asked::Absent => {
            let text = format!("tried to {what}: there is none");
            let fix = Fix::apply(&connection_manifest(config, namespace, name));
            return ledger.finding(topic, &full, text, fix);
        }
        Asked::Denied => return ledger.skipped(topic, &full, "the prober may not get it"),
        Asked::Failed(text) => return ledger.unknown(topic, &full, text),
    };
    let status = connection.status.unwrap_or_default();
    let address = &connection.spec.address;
    match status.valid {
        Some(true) => {
            ledger.good(topic, &full, format!("valid, {address}"));
            cluster.vault_addresses.push(address.clone());
            if let Some(secret) = connection.spec.ca_cert_secret_ref {
                cluster.vault_ca = Some((namespace.to_owned(), secret));
            }
        }
        Some(false) => {
            let said: Vec<_> = status
                .conditions
                .iter()
                .filter(|condition| condition.status != "True")
                .map(|condition| condition.message.as_str())
                .collect();
            let text = format!(
                "looked at the VaultConnection `{full}`: the operator can't reach Vault at {address} by it: {}",
                said.join("; ")
            );
            let fix = if *address == config.vault.address {
                Fix::Do(format!(
                    "open the way from the operator's pods in `{}` to {address}; if Vault was away, the operator looks again by itself",
                    config.operator.namespace
                ))
            } else {
                let patch = serde_json::json!({"spec": {"address": config.vault.address}});
                Fix::Run(format!(
                    "kubectl patch vaultconnection {name} -n {namespace} --type=merge -p '{patch}'\n"
                ))
            };
            ledger.finding(topic, &full, text, fix);
        }
        None => {
            let text = format!(
                "looked at the VaultConnection `{full}`: the operator has not said yet whether it is valid"
            );
            ledger.warning(topic, &full, text, None);
        }
    }
}

fn connection_manifest(config: &Config, namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: {}\nkind: VaultConnection\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{address: {}}}\n",
        api_version(),
        config.vault.address
    )
}

/// All that it takes for a VaultAuth to work, in Kubernetes and in Vault.
async fn create(client: &Client, config: &Config, namespace: &str, name: &str) -> Fix {
    let home = &config.kubernetes.namespace;
    let api: Api<VaultConnection> = Api::namespaced(client.clone(), namespace);
    let what = format!("get VaultConnection `{namespace}/{name}`");
    // One that is there may be in use, and is not to be changed.
    let connection = match get(&api, &what, name).await {
        Asked::There(_) => String::new(),
        _ => connection_manifest(config, namespace, name) + "---\n",
    };
    let manifests = format!(
        "{connection}apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {home}}}\n\
         ---\napiVersion: {}\nkind: VaultAuth\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
         vaultConnectionRef: {name}\n  allowedNamespaces: [{home}]\n  method: kubernetes\n  mount: kubernetes\n  \
         kubernetes: {{role: {name}, serviceAccount: {name}, audiences: [vault]}}\n",
        api_version()
    );
    let flag = fix::namespace(config);
    let canaries = format!("{name}-canaries");
    Fix::Run(format!(
        "{}{}vault write{flag} auth/kubernetes/role/{name} bound_service_account_names={name} bound_service_account_namespaces={home} audience=vault token_policies={canaries} token_ttl=1h\n",
        here("kubectl apply -f -", &manifests),
        here(
            &format!("vault policy write{flag} {canaries} -"),
            &policy(&operators(config))
        ),
    ))
}
