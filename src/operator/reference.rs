//! The references of the operator's resources, and what each of them means.

use super::api::VaultAuthSpec;

/// The name of the `VaultConnection`, and of the `VaultAuth`, in the operator's namespace that is meant where a
/// resource names none.
pub const DEFAULT: &str = "default";

/// What a reference in a resource of `namespace` means: a namespace and a name. It is written `name` or
/// `namespace/name`.
pub fn referred<'a>(reference: &'a str, namespace: &'a str) -> (&'a str, &'a str) {
    reference.split_once('/').unwrap_or((namespace, reference))
}

/// The `VaultConnection` of a `VaultAuth` in `namespace`: its namespace and its name. Where the `VaultAuth` names
/// none, or `""`, that is the default one of the operator's namespace. `None` if a `VaultAuthGlobal` may name it.
pub fn connection_of<'a>(
    auth: &'a VaultAuthSpec,
    namespace: &'a str,
    operators: &'a str,
) -> Option<(&'a str, &'a str)> {
    match auth.vault_connection_ref.as_deref() {
        Some(reference) if !reference.is_empty() => Some(referred(reference, namespace)),
        _ if auth.vault_auth_global_ref.is_some() => None,
        _ => Some((operators, DEFAULT)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_vault_auth_that_names_no_connection_means_the_default_one() {
        let check = |spec: serde_json::Value, expected| {
            let told = spec.to_string();
            let spec: VaultAuthSpec = serde_json::from_value(spec).expect("a VaultAuth");
            assert_eq!(connection_of(&spec, "team", "vso"), expected, "{told}");
        };
        check(json!({}), Some(("vso", "default")));
        check(json!({"vaultConnectionRef": ""}), Some(("vso", "default")));
        check(json!({"vaultConnectionRef": "own"}), Some(("team", "own")));
        check(
            json!({"vaultConnectionRef": "other/own"}),
            Some(("other", "own")),
        );
        let global = json!({"name": "shared"});
        check(json!({"vaultAuthGlobalRef": global}), None);
        check(
            json!({"vaultAuthGlobalRef": global, "vaultConnectionRef": "own"}),
            Some(("team", "own")),
        );
    }
}
