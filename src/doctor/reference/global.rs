//! The check of the VaultAuthGlobal that a VaultAuth takes the rest from, and of whether the two go together.

use kube::Client;
use kube::api::Api;

use super::super::ask::{Asked, get};
use super::super::fix::{Fix, Name, Patch};
use super::super::{Ledger, Topic};
use super::patched;
use crate::config::Config;
use crate::operator::api::{VaultAuth, VaultAuthGlobal, VaultAuthSpec};
use crate::operator::{allows, globals_of, merged};

/// Looks at it. Returns the VaultAuth with all that it adds, if that can be told.
pub(super) async fn look(
    client: &Client,
    config: &Config,
    auth: &VaultAuth,
    namespace: &str,
    full: &str,
    ledger: &mut Ledger,
) -> Option<VaultAuthSpec> {
    let topic = Topic::VaultAuth;
    let operators = &config.operator.namespace;
    let Some(places) = globals_of(&auth.spec, namespace, operators) else {
        return Some(auth.spec.clone());
    };
    if places.is_empty() {
        let text = format!(
            "looked at the VaultAuth `{full}`: its `vaultAuthGlobalRef` names none, and may not take the default one"
        );
        let fix = "set its `name`, or `allowDefault: true`";
        ledger.finding(topic, full, text, Fix::words(fix));
        return None;
    }
    for (place, name) in &places {
        let global = format!("{place}/{name}");
        let what = format!("get VaultAuthGlobal `{global}`");
        let api: Api<VaultAuthGlobal> = Api::namespaced(client.clone(), place);
        let found = match get(&api, &what, name).await {
            Asked::There(found) => found,
            Asked::Absent => continue,
            Asked::Denied => {
                unseen(config, "vaultauthglobals", &global, place, topic, ledger);
                return None;
            }
            Asked::Failed(text) => {
                ledger.unknown(topic, full, text);
                return None;
            }
        };
        let allowed = found.spec.allowed_namespaces.as_deref();
        if !allows(allowed, (place, name), namespace, operators) {
            not_allowed(
                namespace,
                (place, name),
                allowed.unwrap_or_default(),
                ledger,
            );
            return None;
        }
        return match merged(&auth.spec, &found.spec) {
            Ok(merged) => {
                let text = format!("goes with the VaultAuth `{full}`");
                ledger.good(topic, &global, text);
                Some(merged)
            }
            Err(why) => {
                let text = format!(
                    "looked at the VaultAuthGlobal `{global}` of the VaultAuth `{full}`: {why}"
                );
                ledger.finding(topic, full, text, Fix::words("set it in one of the two"));
                None
            }
        };
    }
    let names: Vec<_> = places
        .iter()
        .map(|(place, name)| format!("`{place}/{name}`"))
        .collect();
    let text = format!(
        "tried to get the VaultAuthGlobal {}, which the VaultAuth `{full}` takes the rest from: it does not exist",
        names.join(" or ")
    );
    let fix = format!(
        "create it, or set `vaultAuthGlobalRef` of the VaultAuth `{full}` to one that is there"
    );
    ledger.finding(topic, full, text, Fix::words(fix));
    None
}

/// What the configuration does not tell, and the prober may not look at therefore.
pub(super) fn unseen(
    config: &Config,
    resource: &str,
    full: &str,
    namespace: &str,
    topic: Topic,
    ledger: &mut Ledger,
) {
    let text = format!(
        "the prober has no right to get `{full}`, so whether it is good can't be checked; only the cluster tells that it is used"
    );
    let fix = format!(
        "allow the prober to `get` `{resource}` in `{namespace}`, by a Role there and a RoleBinding to its ServiceAccount in `{}`",
        config.kubernetes.namespace
    );
    ledger.warning(topic, full, text, Some(Fix::words(fix)));
}

fn not_allowed(from: &str, (place, name): (&str, &str), allowed: &[String], ledger: &mut Ledger) {
    let full = format!("{place}/{name}");
    let text = format!(
        "looked at the VaultAuthGlobal `{full}`: its `allowedNamespaces` do not include `{from}`, so no VaultAuth there may take \
         anything from it"
    );
    let from = from.to_owned();
    let all = allowed.iter().filter(|one| *one != "*").chain([&from]);
    let all: Option<Vec<_>> = all.map(|one| Name::parse(one)).collect();
    let fix = all.and_then(|all| {
        let patch = Patch::allowed_namespaces(&all);
        patched("kubectl patch vaultauthglobal", place, name, &patch)
    });
    let fix = fix.unwrap_or_else(|| {
        Fix::words(format!(
            "add `{from}` to `allowedNamespaces` of the VaultAuthGlobal `{full}`"
        ))
    });
    ledger.finding(Topic::VaultAuth, &full, text, fix);
}
