//! The canonical form in which the operator writes a spec back: what it leaves out and what it adds.
//!
//! The first update it makes (the finalizer's) carries the whole spec, written its own way. Where
//! that differs from what the API server holds, the generation goes up and a second sync follows.

use vso_prober::operator::api::{
    Destination, Transformation, VaultAuthSpec, VaultConnectionSpec, VaultDynamicSecretSpec,
    VaultPKISecretSpec, VaultStaticSecretSpec,
};

/// A spec that can be written as the operator serialises it.
pub(crate) trait Canonical {
    /// Changes it to what the operator would write.
    fn canonicalise(&mut self);
}

impl Canonical for VaultStaticSecretSpec {
    fn canonicalise(&mut self) {
        drop_empty(&mut self.vault_auth_ref);
        drop_empty(&mut self.namespace);
        drop_empty(&mut self.refresh_after);
        self.destination.canonicalise();
    }
}

impl Canonical for VaultDynamicSecretSpec {
    fn canonicalise(&mut self) {
        drop_empty(&mut self.vault_auth_ref);
        drop_empty(&mut self.namespace);
        self.revoke = self.revoke.filter(|revoke| *revoke);
        if self.renewal_percent == 0 {
            // Left out as "empty", then put back by the API server's default.
            self.renewal_percent = 67;
        }
        self.destination.canonicalise();
    }
}

impl Canonical for VaultPKISecretSpec {
    fn canonicalise(&mut self) {
        for text in [
            &mut self.vault_auth_ref,
            &mut self.namespace,
            &mut self.issuer_ref,
            &mut self.common_name,
            &mut self.ttl,
            &mut self.not_after,
            &mut self.expiry_offset,
        ] {
            drop_empty(text);
        }
        for flag in [
            &mut self.exclude_cn_from_sans,
            &mut self.revoke,
            &mut self.clear,
        ] {
            *flag = flag.filter(|flag| *flag);
        }
        self.destination.canonicalise();
    }
}

impl Canonical for VaultAuthSpec {
    fn canonicalise(&mut self) {
        drop_empty(&mut self.vault_connection_ref);
        drop_empty(&mut self.namespace);
        drop_empty(&mut self.method);
        drop_empty(&mut self.mount);
        self.allowed_namespaces = self
            .allowed_namespaces
            .take()
            .filter(|list| !list.is_empty());
    }
}

impl Canonical for VaultConnectionSpec {
    fn canonicalise(&mut self) {
        drop_empty(&mut self.tls_server_name);
        drop_empty(&mut self.ca_cert_secret_ref);
        drop_empty(&mut self.timeout);
        self.headers = self.headers.take().filter(|headers| !headers.is_empty());
    }
}

impl Canonical for Destination {
    fn canonicalise(&mut self) {
        drop_empty(&mut self.type_);
        self.labels = self.labels.take().filter(|labels| !labels.is_empty());
        self.annotations = self
            .annotations
            .take()
            .filter(|annotations| !annotations.is_empty());
        let exclude_raw = self
            .transformation
            .as_ref()
            .and_then(|t| t.exclude_raw)
            .filter(|e| *e);
        self.transformation = Some(Transformation { exclude_raw });
    }
}

fn drop_empty(text: &mut Option<String>) {
    if text.as_ref().is_some_and(String::is_empty) {
        *text = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rewritten<T: Canonical + serde::de::DeserializeOwned + serde::Serialize>(
        spec: &Value,
    ) -> Value {
        let mut spec: T = serde_json::from_value(spec.clone()).expect("a spec");
        spec.canonicalise();
        serde_json::to_value(spec).expect("plain data")
    }

    #[test]
    fn a_canonical_spec_is_left_alone() {
        let recorded = json!({"destination": {"create": true, "name": "s1", "overwrite": false, "transformation": {}},
            "hmacSecretData": true, "mount": "kvv2", "path": "s1", "refreshAfter": "20s", "type": "kv-v2", "vaultAuthRef": "probe"});
        assert_eq!(rewritten::<VaultStaticSecretSpec>(&recorded), recorded);
        let recorded = json!({"destination": {"create": true, "name": "d1", "overwrite": false, "transformation": {}},
            "mount": "database", "path": "creds/probe", "renewalPercent": 50, "revoke": true, "vaultAuthRef": "probe"});
        assert_eq!(rewritten::<VaultDynamicSecretSpec>(&recorded), recorded);
    }

    #[test]
    fn a_minimal_spec_is_changed() {
        let written = json!({"destination": {"create": true, "name": "d1"}, "mount": "database",
            "path": "creds/probe", "revoke": false, "vaultAuthRef": "probe"});
        let back = rewritten::<VaultDynamicSecretSpec>(&written);
        assert_eq!(back["destination"]["transformation"], json!({}));
        assert_eq!(back["destination"]["overwrite"], json!(false));
        assert_eq!(back["renewalPercent"], json!(67));
        assert!(back.get("revoke").is_none());
        let empty = json!({"destination": {"name": "s", "labels": {}, "type": ""}, "mount": "kv", "path": "p",
            "type": "kv-v1", "namespace": ""});
        let back = rewritten::<VaultStaticSecretSpec>(&empty);
        assert!(back.get("namespace").is_none());
        assert!(
            back["destination"].get("labels").is_none()
                && back["destination"].get("type").is_none()
        );
    }
}
