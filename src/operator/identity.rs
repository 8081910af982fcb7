//! The identities that the operator takes at Vault for a VaultAuth.

use super::api::VaultAuthSpec;
use super::login::method_of;
use super::reference::DEFAULT;

/// What the operator logs in as.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LoginIdentity {
    /// The mount of the auth method.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The ServiceAccount, `namespace/name`, of which the namespace may be `*`; empty where the method has none.
    pub service_account: String,
    /// Vault's namespace of the mount; empty for the root one.
    pub namespace: String,
}

/// The identities of the VaultAuth `namespace/name`, which names no VaultAuthGlobal any more: one for each namespace whose resources
/// may refer to it, for the ServiceAccount is that of the resource's. None of what lacks something, and none by AppRole, of which
/// the role's name is not known.
pub fn identities_of(
    auth: &VaultAuthSpec,
    (namespace, name): (&str, &str),
    operators: &str,
) -> Vec<LoginIdentity> {
    let method = auth.method.as_deref().unwrap_or("kubernetes");
    let Some(with) = method_of(&auth.methods, method) else {
        return Vec::new();
    };
    let (Some(mount), Some(role)) = (auth.mount.clone(), with.role.clone()) else {
        return Vec::new();
    };
    let identity = |service_account: String| LoginIdentity {
        mount: mount.clone(),
        role: role.clone(),
        service_account,
        namespace: auth.namespace.clone().unwrap_or_default(),
    };
    let account = with
        .service_account
        .as_deref()
        .filter(|account| !account.is_empty());
    let Some(account) = account else {
        return if method == "kubernetes" {
            Vec::new()
        } else {
            vec![identity(String::new())]
        };
    };
    let allowed = auth.allowed_namespaces.as_deref().unwrap_or_default();
    let everyone = allowed == ["*"] || namespace == operators && name == DEFAULT;
    if everyone {
        return vec![identity(format!("*/{account}"))];
    }
    let mut namespaces: Vec<_> = allowed
        .iter()
        .map(String::as_str)
        .chain([namespace])
        .collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    namespaces
        .into_iter()
        .map(|namespace| identity(format!("{namespace}/{account}")))
        .collect()
}

/// A login by the method `kubernetes`: with a token of a ServiceAccount.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountLogin {
    /// The mount of the auth method.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The ServiceAccount, in the namespace of the resource that refers to the VaultAuth.
    pub service_account: String,
    /// The audiences of its token; empty for the API server's own.
    pub audiences: Vec<String>,
}

/// How the operator logs in for a VaultAuth that names no VaultAuthGlobal any more; `None` if it is by another method, or something
/// is lacking.
pub fn account_login(auth: &VaultAuthSpec) -> Option<AccountLogin> {
    if auth
        .method
        .as_deref()
        .is_some_and(|method| method != "kubernetes")
    {
        return None;
    }
    let with = auth.methods.kubernetes.as_ref()?;
    Some(AccountLogin {
        mount: auth.mount.clone()?,
        role: with.role.clone()?,
        service_account: with.service_account.clone()?,
        audiences: with.audiences.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_account_is_that_of_the_namespaces_that_may_refer_to_it() {
        let check = |spec: Value, reference, expected: &[&str]| {
            let told = spec.to_string();
            let spec = serde_json::from_value(spec).expect("a VaultAuth");
            let found = identities_of(&spec, reference, "vso");
            let found: Vec<_> = found
                .iter()
                .map(|one| {
                    let place = format!("{}{}", one.namespace, one.mount);
                    format!("{place} {} {}", one.role, one.service_account)
                })
                .collect();
            assert_eq!(found, expected, "{told}");
        };
        let own = ("team", "auth");
        let with = json!({"role": "app", "serviceAccount": "sa"});
        check(
            json!({"method": "kubernetes", "mount": "k8s", "kubernetes": with}),
            own,
            &["k8s app team/sa"],
        );
        check(
            json!({"mount": "k8s", "kubernetes": with, "allowedNamespaces": ["b", "team"]}),
            own,
            &["k8s app b/sa", "k8s app team/sa"],
        );
        check(
            json!({"namespace": "a/b/", "mount": "k8s", "kubernetes": with, "allowedNamespaces": ["*"]}),
            own,
            &["a/b/k8s app */sa"],
        );
        check(
            json!({"mount": "k8s", "kubernetes": with}),
            ("vso", "default"),
            &["k8s app */sa"],
        );
        check(
            json!({"method": "jwt", "mount": "jwt", "jwt": {"role": "app", "secretRef": "s"}}),
            own,
            &["jwt app "],
        );
        check(
            json!({"method": "appRole", "mount": "approle", "appRole": {"roleId": "x"}}),
            own,
            &[],
        );
        check(json!({"mount": "k8s"}), own, &[]);
    }
}
