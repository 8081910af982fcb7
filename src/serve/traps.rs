//! The canaries and the prober, as the judge of audit logs knows them by the configuration.

use crate::audit::identity::{Person, source};
use crate::audit::trap::{Kind, Trap};
use crate::canary::kv_folder;
use crate::config::{Auth, Config, Vault};

/// The folders of the canaries.
pub fn traps(config: &Config) -> Vec<Trap> {
    let folders = config
        .probes
        .iter()
        .filter_map(|probe| kv_folder(&probe.target, &config.instance));
    let canaries = folders.map(|folder| Trap {
        mount: folder.mount,
        path: folder.path,
        kind: Kind::Canary,
        namespace: folder
            .namespace
            .or_else(|| config.vault.namespace.clone())
            .unwrap_or_default(),
    });
    canaries.collect()
}

/// The prober by its login; `None` where that does not tell it from others: a token has no name of its own, and of an AppRole the
/// role's name is not known.
pub fn prober(vault: &Vault) -> Option<Person> {
    let (Auth::Kubernetes { mount, role, .. } | Auth::Jwt { mount, role, .. }) = &vault.auth else {
        return None;
    };
    let namespace = vault.namespace.as_deref().unwrap_or_default();
    Some(Person {
        display_name: Some(format!("{}*", source(namespace, mount))),
        role: Some(role.clone()),
        ..Person::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::entry::Who;
    use crate::config::TokenSource;

    #[test]
    fn the_prober_is_known_by_a_login_that_tells_it_from_others() {
        let vault = |namespace: Option<&str>, auth| Vault {
            address: "https://vault".into(),
            namespace: namespace.map(str::to_owned),
            ca_file: None,
            tls_server_name: None,
            headers: Vec::new(),
            redirect_hosts: None,
            auth,
        };
        let kubernetes = || Auth::Kubernetes {
            mount: "kubernetes".into(),
            role: "vso-prober".into(),
            token_file: "token".into(),
        };
        let check = |namespace, display_name: &str, role: &str, expected| {
            let who = Who {
                display_name: display_name.to_owned(),
                role: role.to_owned(),
                ..Who::default()
            };
            let prober = prober(&vault(namespace, kubernetes())).expect("it is known");
            assert_eq!(prober.is(&who), expected, "{display_name} {role}");
        };
        check(None, "kubernetes-vso-probe-vso-prober", "vso-prober", true);
        check(None, "kubernetes-team-a-app", "app", false);
        check(
            Some("a/b"),
            "a-b-auth-kubernetes-vso-probe-vso-prober",
            "vso-prober",
            true,
        );
        check(
            Some("a/b"),
            "kubernetes-vso-probe-vso-prober",
            "vso-prober",
            false,
        );
        let app_role = Auth::AppRole {
            mount: "approle".into(),
            role_id_file: "role".into(),
            secret_id_file: "secret".into(),
        };
        let token = Auth::Token(TokenSource::Env("VAULT_TOKEN".into()));
        for auth in [app_role, token] {
            assert_eq!(prober(&vault(None, auth)), None);
        }
    }
}
