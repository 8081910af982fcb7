//! The checks of what a login of the operator relies on: its ServiceAccount or its Secret, and its namespace in Vault.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Client;
use kube::api::Api;

use super::super::ask::{Asked, ask_plainly, get};
use super::super::fix::{Command, Fix, Name, Script};
use super::super::{Ledger, Topic};
use crate::config::Config;
use crate::operator::api::VaultAuthSpec;
use crate::operator::{Relied, referred, relied};
use crate::rights::auth_ref;

/// Looks at all of it.
pub(super) async fn look(
    client: &Client,
    config: &Config,
    auth: &VaultAuthSpec,
    full: &str,
    ledger: &mut Ledger,
) {
    sides(config, auth, full, ledger);
    match relied(auth) {
        Ok(all) => {
            for one in all {
                match one {
                    Relied::Account(name) => account(client, config, &name, ledger).await,
                    Relied::Secret(name, key) => {
                        let method = auth.method.as_deref().unwrap_or_default();
                        secret(client, config, (&name, key), method, ledger).await;
                    }
                }
            }
        }
        Err(why) => {
            let text = format!("looked at the VaultAuth `{full}`: {why}");
            let fix = "set it there, or in the VaultAuthGlobal that it refers to";
            ledger.finding(Topic::VaultAuth, full, text, Fix::words(fix));
        }
    }
}

/// Whether the operator works in the namespace of Vault's that the prober works in.
fn sides(config: &Config, auth: &VaultAuthSpec, full: &str, ledger: &mut Ledger) {
    fn bare(namespace: Option<&str>) -> &str {
        match namespace.unwrap_or_default().trim_matches('/') {
            "root" => "",
            bare => bare,
        }
    }
    let (theirs, own) = (
        bare(auth.namespace.as_deref()),
        bare(config.vault.namespace.as_deref()),
    );
    let home = &config.kubernetes.namespace;
    let apart: Vec<_> = config
        .probes
        .iter()
        .filter(|probe| {
            let (namespace, name) = referred(auth_ref(&probe.target), home);
            format!("{namespace}/{name}") == full && probe.target.namespace().is_none()
        })
        .map(|probe| format!("`{}`", probe.name))
        .collect();
    if theirs == own || apart.is_empty() {
        return;
    }
    let shown = |namespace: &str| match namespace {
        "" => "the root namespace of Vault".to_owned(),
        other => format!("Vault's namespace `{other}`"),
    };
    let text = format!(
        "looked at the VaultAuth `{full}`: the operator works in {}, but the prober in {}, so it finds nothing of {} there",
        shown(theirs),
        shown(own),
        apart.join(", ")
    );
    let fix = "set `namespace` of the VaultAuth and `vault.namespace` to the same, or `vaultNamespace` of the probes to where their \
               secrets are";
    ledger.finding(Topic::VaultAuth, full, text, Fix::words(fix));
}

/// The ServiceAccount of a login; it is one of the namespace of the resource that is synced.
async fn account(client: &Client, config: &Config, name: &str, ledger: &mut Ledger) {
    let home = &config.kubernetes.namespace;
    let full = format!("{home}/{name}");
    let topic = Topic::ServiceAccount;
    let (Some(own), Some(home_name)) = (Name::parse(name), Name::parse(home)) else {
        let text =
            format!("looked at the VaultAuth's ServiceAccount: `{name}` is not a valid name");
        let fix =
            "set the ServiceAccount of the VaultAuth to the one with which the operator logs in";
        return ledger.finding(topic, &full, text, Fix::words(fix));
    };
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), home);
    let what = format!("get ServiceAccount `{full}`");
    match get(&api, &what, name).await {
        Asked::There(_) => ledger.good(topic, &full, "is there"),
        Asked::Absent => {
            let text = format!(
                "tried to {what}, with which the operator logs in for the canaries: it does not exist"
            );
            let command = Command::new("kubectl create serviceaccount").arg(&own);
            let command = command.arg("-n").arg(&home_name);
            ledger.finding(topic, &full, text, Script::default().run(command).into());
        }
        Asked::Denied => ledger.skipped(topic, &full, "the prober has no right to get it"),
        Asked::Failed(text) => ledger.unknown(topic, &full, text),
    }
}

/// The Secret with the credentials of a login, beside the resource that is synced, wherever the VaultAuth is. What it holds
/// is not looked at.
async fn secret(
    client: &Client,
    config: &Config,
    (name, key): (&str, &str),
    method: &str,
    ledger: &mut Ledger,
) {
    let home = &config.kubernetes.namespace;
    let full = format!("{home}/{name}");
    let topic = Topic::VaultAuth;
    let api: Api<Secret> = Api::namespaced(client.clone(), home);
    let what = format!("get Secret `{full}`");
    match ask_plainly(&what, api.get_metadata_opt(name)).await {
        Ok(Ok(Some(_))) => ledger.good(topic, &full, format!("the Secret for `{method}` is there")),
        Ok(Ok(None)) => {
            let text = format!(
                "tried to {what}, in which the operator finds what it logs in with by `{method}`: it does not exist; the operator looks \
                 for it beside the canaries, wherever the VaultAuth is"
            );
            let fix = format!(
                "create the Secret `{name}` in `{home}`, with what `{method}` needs under `{key}`"
            );
            ledger.finding(topic, &full, text, Fix::words(fix));
        }
        Ok(Err(_)) => ledger.skipped(topic, &full, "the prober may not look at the Secret"),
        Err(obstacle) => ledger.unknown(topic, &full, obstacle.text),
    }
}
