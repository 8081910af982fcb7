//! The login that a VaultAuth means, with what it takes from its VaultAuthGlobal, and the objects that it relies on.

use super::api::{
    VaultAuthGlobalRef, VaultAuthGlobalSpec, VaultAuthMethod, VaultAuthMethods, VaultAuthSpec,
};
use super::reference::DEFAULT;

/// An object that a login relies on, in the namespace of the resource that is synced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Relied {
    /// A ServiceAccount of this name.
    Account(String),
    /// A Secret of this name, with this key.
    Secret(String, &'static str),
}

/// Where the VaultAuthGlobal of a VaultAuth in `namespace` may be, in the order in which the operator looks: namespace and
/// name. `None` if it takes nothing from one, and none at all if it names none and may not take the default one.
pub fn globals_of(
    auth: &VaultAuthSpec,
    namespace: &str,
    operators: &str,
) -> Option<Vec<(String, String)>> {
    let VaultAuthGlobalRef {
        name,
        namespace: other,
        allow_default,
    } = auth.vault_auth_global_ref.as_ref()?;
    let (name, other) = (set(name.as_ref()), set(other.as_ref()));
    Some(match (name, other) {
        (Some(name), other) => vec![(other.unwrap_or_else(|| namespace.to_owned()), name)],
        (None, _) if *allow_default != Some(true) => Vec::new(),
        (None, Some(other)) => vec![(other, DEFAULT.to_owned())],
        (None, None) => {
            let mut all = vec![(namespace.to_owned(), DEFAULT.to_owned())];
            if namespace != operators {
                all.push((operators.to_owned(), DEFAULT.to_owned()));
            }
            all
        }
    })
}

/// Whether an object that is called so may be referred to from the namespace `from`.
pub fn allows(
    allowed: Option<&[String]>,
    (namespace, name): (&str, &str),
    from: &str,
    operators: &str,
) -> bool {
    let allowed = allowed.unwrap_or_default();
    let always = namespace == from || (namespace == operators && name == DEFAULT);
    always || allowed == ["*"] || allowed.iter().any(|one| one == from)
}

/// A text that says something.
fn set(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// A VaultAuth with all that its VaultAuthGlobal adds, which names none any more.
///
/// # Errors
/// They don't go together, as the operator says.
pub fn merged(auth: &VaultAuthSpec, global: &VaultAuthGlobalSpec) -> Result<VaultAuthSpec, String> {
    let method = set(auth.method.as_ref()).or_else(|| set(global.default_auth_method.as_ref()));
    let method =
        method.ok_or("neither the VaultAuth nor its VaultAuthGlobal has an auth method")?;
    let mut methods = VaultAuthMethods::default();
    let place = place_of(&mut methods, &method)
        .ok_or_else(|| format!("the auth method `{method}` is not one of the operator's"))?;
    let (own, shared) = (
        method_of(&auth.methods, &method),
        method_of(&global.methods, &method),
    );
    if own.is_none() && shared.is_none() {
        return Err(format!(
            "neither the VaultAuth nor its VaultAuthGlobal has parameters for the auth method `{method}`"
        ));
    }
    let empty = VaultAuthMethod::default();
    let shared = shared.unwrap_or(&empty);
    *place = Some(filled(own.unwrap_or(&empty), shared));
    let connection = set(auth.vault_connection_ref.as_ref());
    let namespace = set(auth.namespace.as_ref()).or_else(|| set(shared.namespace.as_ref()));
    let mount = set(auth.mount.as_ref()).or_else(|| set(shared.mount.as_ref()));
    let mount = mount.or_else(|| set(global.default_mount.as_ref()));
    Ok(VaultAuthSpec {
        vault_connection_ref: connection.or_else(|| set(global.vault_connection_ref.as_ref())),
        vault_auth_global_ref: None,
        namespace: namespace.or_else(|| set(global.default_vault_namespace.as_ref())),
        allowed_namespaces: auth.allowed_namespaces.clone(),
        mount: Some(mount.ok_or("neither the VaultAuth nor its VaultAuthGlobal has a `mount`")?),
        method: Some(method),
        methods,
    })
}

/// The parameters of a method, if they are there.
pub(super) fn method_of<'a>(
    methods: &'a VaultAuthMethods,
    method: &str,
) -> Option<&'a VaultAuthMethod> {
    match method {
        "kubernetes" => methods.kubernetes.as_ref(),
        "jwt" => methods.jwt.as_ref(),
        "appRole" => methods.app_role.as_ref(),
        "aws" => methods.aws.as_ref(),
        "gcp" => methods.gcp.as_ref(),
        _ => None,
    }
}

/// Where the parameters of a method belong, if it is one of the operator's.
fn place_of<'a>(
    methods: &'a mut VaultAuthMethods,
    method: &str,
) -> Option<&'a mut Option<VaultAuthMethod>> {
    Some(match method {
        "kubernetes" => &mut methods.kubernetes,
        "jwt" => &mut methods.jwt,
        "appRole" => &mut methods.app_role,
        "aws" => &mut methods.aws,
        "gcp" => &mut methods.gcp,
        _ => return None,
    })
}

fn filled(own: &VaultAuthMethod, shared: &VaultAuthMethod) -> VaultAuthMethod {
    let text = |own: &Option<String>, shared: &Option<String>| {
        set(own.as_ref()).or_else(|| shared.clone())
    };
    let audiences = own.audiences.clone().filter(|all| !all.is_empty());
    VaultAuthMethod {
        role: text(&own.role, &shared.role),
        role_id: text(&own.role_id, &shared.role_id),
        service_account: text(&own.service_account, &shared.service_account),
        irsa_service_account: text(&own.irsa_service_account, &shared.irsa_service_account),
        workload_identity_service_account: text(
            &own.workload_identity_service_account,
            &shared.workload_identity_service_account,
        ),
        audiences: audiences.or_else(|| shared.audiences.clone()),
        token_expiration_seconds: own
            .token_expiration_seconds
            .or(shared.token_expiration_seconds),
        secret_ref: text(&own.secret_ref, &shared.secret_ref),
        secret_id_path: text(&own.secret_id_path, &shared.secret_id_path),
        mount: None,
        namespace: None,
    }
}

/// What a login relies on.
///
/// # Errors
/// What it lacks, as the operator will say.
pub fn relied(auth: &VaultAuthSpec) -> Result<Vec<Relied>, String> {
    let method = auth.method.as_deref().unwrap_or("kubernetes");
    let with = method_of(&auth.methods, method);
    let with = with.ok_or_else(|| format!("it has no `{method}` for its auth method"))?;
    let needed = |text: &Option<String>, key: &str| {
        set(text.as_ref()).ok_or_else(|| format!("its `{method}` has no `{key}`"))
    };
    if method != "appRole" {
        needed(&with.role, "role")?;
    }
    Ok(match method {
        "kubernetes" => vec![Relied::Account(needed(
            &with.service_account,
            "serviceAccount",
        )?)],
        "jwt" => match (
            set(with.service_account.as_ref()),
            set(with.secret_ref.as_ref()),
        ) {
            (Some(account), _) => vec![Relied::Account(account)],
            (None, Some(secret)) => vec![Relied::Secret(secret, "jwt")],
            (None, None) => {
                return Err("its `jwt` has neither `serviceAccount` nor `secretRef`".into());
            }
        },
        "appRole" => {
            needed(&with.role_id, "roleId")?;
            match (
                set(with.secret_ref.as_ref()),
                set(with.secret_id_path.as_ref()),
            ) {
                (Some(_), Some(_)) => {
                    return Err("its `appRole` has both `secretRef` and `secretIDPath`".into());
                }
                (Some(secret), None) => vec![Relied::Secret(secret, "id")],
                (None, Some(_)) => Vec::new(),
                (None, None) => {
                    return Err("its `appRole` has neither `secretRef` nor `secretIDPath`".into());
                }
            }
        }
        "aws" => match (
            set(with.secret_ref.as_ref()),
            set(with.irsa_service_account.as_ref()),
        ) {
            (Some(secret), _) => vec![Relied::Secret(secret, "access_key_id")],
            (None, Some(account)) => vec![Relied::Account(account)],
            (None, None) => Vec::new(),
        },
        _ => vec![Relied::Account(needed(
            &with.workload_identity_service_account,
            "workloadIdentityServiceAccount",
        )?)],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn auth(spec: Value) -> VaultAuthSpec {
        serde_json::from_value(spec).expect("a VaultAuth")
    }

    fn global(spec: Value) -> VaultAuthGlobalSpec {
        serde_json::from_value(spec).expect("a VaultAuthGlobal")
    }

    #[test]
    fn a_global_is_looked_for_where_the_operator_does() {
        let check = |reference: Value, expected: Option<&[(&str, &str)]>| {
            let auth = auth(json!({"vaultAuthGlobalRef": reference}));
            let found = globals_of(&auth, "team", "vso");
            let expected = expected.map(|all| {
                let owned = |(one, other): &(&str, &str)| ((*one).to_owned(), (*other).to_owned());
                all.iter().map(owned).collect::<Vec<_>>()
            });
            assert_eq!(found, expected);
        };
        check(Value::Null, None);
        check(json!({"name": "g"}), Some(&[("team", "g")]));
        check(json!({"name": "g", "namespace": "x"}), Some(&[("x", "g")]));
        check(json!({}), Some(&[]));
        check(
            json!({"allowDefault": true}),
            Some(&[("team", "default"), ("vso", "default")]),
        );
        check(
            json!({"allowDefault": true, "namespace": "x"}),
            Some(&[("x", "default")]),
        );
    }

    #[test]
    fn what_is_not_said_is_taken_from_the_global_one() {
        let global = global(json!({
            "vaultConnectionRef": "vault/shared", "defaultAuthMethod": "kubernetes", "defaultMount": "k8s",
            "defaultVaultNamespace": "team-a",
            "kubernetes": {"serviceAccount": "vso", "audiences": ["vault"], "mount": "other"},
        }));
        let own = auth(json!({"vaultAuthGlobalRef": {"name": "g"}, "kubernetes": {"role": "app"}}));
        let merged = merged(&own, &global).expect("they go together");
        assert_eq!(merged.vault_connection_ref.as_deref(), Some("vault/shared"));
        assert_eq!(merged.mount.as_deref(), Some("other"));
        assert_eq!(merged.namespace.as_deref(), Some("team-a"));
        assert_eq!(merged.vault_auth_global_ref, None);
        assert_eq!(relied(&merged), Ok(vec![Relied::Account("vso".to_owned())]));
        let method = merged.methods.kubernetes.expect("its method");
        assert_eq!(method.role.as_deref(), Some("app"));
        for (own, global) in [
            (json!({}), json!({"defaultMount": "m"})),
            (json!({"method": "jwt", "mount": "m"}), json!({})),
            (json!({"method": "jwt", "jwt": {"role": "r"}}), json!({})),
            (json!({"method": "ldap", "mount": "m"}), json!({})),
        ] {
            let global = serde_json::from_value(global).expect("a VaultAuthGlobal");
            assert!(super::merged(&auth(own.clone()), &global).is_err(), "{own}");
        }
    }

    #[test]
    fn each_method_relies_on_objects_of_its_own() {
        let check = |spec: Value, expected: Option<&[Relied]>| {
            let found = relied(&auth(spec.clone()));
            assert_eq!(found.ok().as_deref(), expected, "{spec}");
        };
        let (account, secret) = (Relied::Account("a".to_owned()), |key| {
            Relied::Secret("s".to_owned(), key)
        });
        check(
            json!({"kubernetes": {"role": "r", "serviceAccount": "a"}}),
            Some(std::slice::from_ref(&account)),
        );
        check(json!({"kubernetes": {"role": "r"}}), None);
        check(
            json!({"method": "jwt", "jwt": {"role": "r", "secretRef": "s"}}),
            Some(&[secret("jwt")]),
        );
        check(
            json!({"method": "appRole", "appRole": {"roleId": "r", "secretRef": "s"}}),
            Some(&[secret("id")]),
        );
        check(
            json!({"method": "appRole", "appRole": {"roleId": "r", "secretIDPath": "/f"}}),
            Some(&[]),
        );
        check(
            json!({"method": "appRole", "appRole": {"roleId": "r"}}),
            None,
        );
        check(json!({"method": "aws", "aws": {"role": "r"}}), Some(&[]));
        check(
            json!({"method": "aws", "aws": {"role": "r", "irsaServiceAccount": "a"}}),
            Some(std::slice::from_ref(&account)),
        );
        check(
            json!({"method": "gcp", "gcp": {"role": "r", "workloadIdentityServiceAccount": "a"}}),
            Some(std::slice::from_ref(&account)),
        );
        check(json!({"method": "gcp", "gcp": {"role": "r"}}), None);
    }

    #[test]
    fn who_may_refer_to_it() {
        let all = ["*".to_owned()];
        let some = ["team".to_owned()];
        let may = |allowed: Option<&[String]>, at, from| allows(allowed, at, from, "vso");
        assert!(may(None, ("team", "a"), "team"));
        assert!(may(None, ("vso", "default"), "team"));
        assert!(!may(None, ("vso", "a"), "team"));
        assert!(may(Some(&all), ("vso", "a"), "team") && may(Some(&some), ("vso", "a"), "team"));
        assert!(!may(Some(&some), ("vso", "a"), "other"));
    }
}
