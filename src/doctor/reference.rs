//! The checks of what the probes' resources refer to: the VaultAuth, its VaultAuthGlobal, what its login relies on, and the
//! VaultConnection behind it.

mod connection;
mod create;
mod global;
mod relied;

use std::collections::BTreeSet;

use kube::Client;
use kube::api::Api;

use super::ask::{Asked, get};
use super::fix::{Command, Fix, Name, Patch, Script};
use super::{Cluster, Ledger, Topic};
use crate::config::Config;
use crate::operator::api::VaultAuth;
use crate::operator::{self, connection_of, referred};
use crate::rights::auth_ref;

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
        .map(|probe| referred(auth_ref(&probe.target), home))
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
                let text = format!("tried to {what}: it does not exist");
                let fix = create::create(client, config, namespace, name).await;
                ledger.finding(Topic::VaultAuth, &full, text, fix);
                continue;
            }
            Asked::Denied => {
                ledger.skipped(Topic::VaultAuth, &full, "the prober has no right to get it");
                continue;
            }
            Asked::Failed(text) => {
                ledger.unknown(Topic::VaultAuth, &full, text);
                continue;
            }
        };
        allows(config, &auth, namespace, name, ledger);
        let Some(auth) = global::look(client, config, &auth, namespace, &full, ledger).await else {
            let why = "what the VaultAuth means is not known";
            ledger.skipped(Topic::VaultConnection, &full, why);
            continue;
        };
        relied::look(client, config, &auth, &full, ledger).await;
        let operators = &config.operator.namespace;
        let Some((namespace, name)) = connection_of(&auth, namespace, operators) else {
            continue;
        };
        connection::look(client, config, namespace, name, cluster, ledger).await;
    }
}

/// Whether the VaultAuth may be referred to from the canaries' namespace.
fn allows(config: &Config, auth: &VaultAuth, namespace: &str, name: &str, ledger: &mut Ledger) {
    let home = &config.kubernetes.namespace;
    let full = format!("{namespace}/{name}");
    let allowed = auth.spec.allowed_namespaces.as_deref();
    let operators = &config.operator.namespace;
    if operator::allows(allowed, (namespace, name), home, operators) {
        ledger.good(Topic::VaultAuth, &full, format!("allows `{home}`"));
        return;
    }
    let text = format!(
        "looked at the VaultAuth `{full}`: its `allowedNamespaces` do not include `{home}`, so no resource there may refer to it"
    );
    let allowed = allowed.unwrap_or_default();
    let all = allowed.iter().filter(|one| *one != "*").chain([home]);
    let all: Option<Vec<_>> = all.map(|one| Name::parse(one)).collect();
    let patched = all.and_then(|all| {
        patched(
            "kubectl patch vaultauth",
            namespace,
            name,
            &Patch::allowed_namespaces(&all),
        )
    });
    let fix = patched.unwrap_or_else(|| {
        Fix::words(format!(
            "add `{home}` to `allowedNamespaces` of the VaultAuth `{full}`, and check the present entries: not all of them are names of namespaces"
        ))
    });
    ledger.finding(Topic::VaultAuth, &full, text, fix);
}

/// A change of an object, if what it is called is a name.
fn patched(words: &'static str, namespace: &str, name: &str, patch: &Patch) -> Option<Fix> {
    let (namespace, name) = (Name::parse(namespace)?, Name::parse(name)?);
    let command = Command::new(words).arg(&name).arg("-n").arg(&namespace);
    let command = command.args("--type=merge -p").arg(patch);
    Some(Script::default().run(command).into())
}
