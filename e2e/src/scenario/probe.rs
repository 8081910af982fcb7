//! A probe, as the configuration of a scenario has it.

use std::env;

use serde_json::{Map, Value, json};
use vso_prober::model::Step;

/// A threshold that no healthy lab misses, however busy the machine.
const WITHIN: &str = "14s";
/// When a step is given up where that is not what is tested.
const TIMEOUT: &str = "15s";

/// Whether Vault is HashiCorp's, and not OpenBao.
pub fn hashicorp() -> bool {
    env::var_os("VAULT_BIN").is_some_and(|value| !value.is_empty())
}

/// An entry of `probes`.
#[derive(Clone, Debug)]
pub struct Probe(Value);

impl Probe {
    /// A static probe of KV v2 that takes every step, with a poll every two seconds.
    pub fn kv2(name: &str) -> Self {
        let target = json!({
            "authRef": "probe", "mount": "kvv2", "type": "kv-v2", "path": "vso-prober",
            "refreshAfter": "2s", "hmacSecretData": true,
        });
        Self(json!({"name": name, "static": target, "timeout": TIMEOUT})).steps(&[
            Step::Create,
            Step::Update,
            Step::Tamper,
            Step::Recreate,
            Step::Delete,
        ])
    }

    /// The same of KV v1.
    pub fn kv1(name: &str) -> Self {
        Self::kv2(name)
            .target("mount", "kvv1")
            .target("type", "kv-v1")
    }

    /// A static probe of KV v2 that is given up after four seconds: for what is meant to fail.
    pub fn hasty(name: &str, steps: &[Step]) -> Self {
        Self::kv2(name).steps(steps).limits("3s", "4s")
    }

    /// A probe of database credentials.
    pub fn database(name: &str) -> Self {
        let target =
            json!({"authRef": "probe", "mount": "database", "path": "creds/probe", "revoke": true});
        Self(json!({"name": name, "dynamic": target, "timeout": TIMEOUT}))
            .steps(&[Step::Create, Step::Delete])
    }

    /// A probe of certificates that last for an hour. OpenBao takes only those that say when they end.
    pub fn pki(name: &str) -> Self {
        let target = json!({
            "authRef": "probe", "mount": "pki", "role": "probe", "commonName": "canary.example",
            "expiryOffset": "10m",
        });
        let life = if hashicorp() { "ttl" } else { "notAfter" };
        Self(json!({"name": name, "pki": target, "timeout": TIMEOUT}))
            .target(life, "1h")
            .steps(&[Step::Create, Step::Delete])
    }

    /// Takes these steps only.
    #[must_use]
    pub fn steps(mut self, steps: &[Step]) -> Self {
        let steps: Map<_, _> = steps
            .iter()
            .map(|step| (step.as_str().to_owned(), WITHIN.into()))
            .collect();
        self.0["steps"] = steps.into();
        self
    }

    /// Sets the threshold of every step, and when it is given up.
    #[must_use]
    pub fn limits(mut self, within: &str, timeout: &str) -> Self {
        let steps = self.0["steps"].as_object_mut().into_iter();
        steps
            .flat_map(Map::values_mut)
            .for_each(|step| *step = within.into());
        self.0["timeout"] = timeout.into();
        self
    }

    /// Sets a key of `static`, `dynamic` or `pki`; takes it away if it is null.
    #[must_use]
    pub fn target(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        for kind in ["static", "dynamic", "pki"] {
            if let Some(target) = self.0.get_mut(kind).and_then(Value::as_object_mut) {
                target.insert(key.to_owned(), value.clone());
                target.retain(|_, value| !value.is_null());
            }
        }
        self
    }

    /// Has its secret in this namespace of Vault's.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.0["vaultNamespace"] = namespace.into();
        self
    }

    /// Is run that often.
    #[must_use]
    pub fn every(mut self, every: &str) -> Self {
        self.0["every"] = every.into();
        self
    }

    /// Refers to this VaultAuth.
    #[must_use]
    pub fn auth(self, name: &str) -> Self {
        self.target("authRef", name)
    }

    /// Is written as most people write it, not as the operator does.
    #[must_use]
    pub fn minimal(mut self) -> Self {
        self.0["manifest"] = "minimal".into();
        self
    }
}

impl From<Probe> for Value {
    fn from(probe: Probe) -> Self {
        probe.0
    }
}
