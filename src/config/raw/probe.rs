//! A probe as the user writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{KvVersion, Manifest, RequestMethod, SslMode};
use crate::model::Step;

/// The `VaultAuth` in the operator's namespace that is meant where none is named.
pub(in crate::config) const AUTH_REF: &str = "default";
/// The mean time between two runs.
pub(in crate::config) const EVERY: &str = "60s";
/// How far a gap may lie from the mean.
pub(in crate::config) const SPREAD: f64 = 0.5;
/// How long a step may take beyond its due moment.
pub(in crate::config) const TIMEOUT: &str = "30s";
/// The objective: the share of steps that should be good.
pub(in crate::config) const OBJECTIVE: f64 = 0.99;
/// How long a lease lives at the most.
pub(in crate::config) const MAX_TTL: &str = "1h";
/// Where `PostgreSQL` listens.
pub(in crate::config) const POSTGRES_PORT: u16 = 5432;

/// A probe: its canaries, their steps, and how often it runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name"], "oneOf" = [
    {"required": ["static"]},
    {"required": ["dynamic"]},
    {"required": ["pki"]},
]))]
pub(in crate::config) struct Probe {
    /// The name, unique among the probes; a part of its canaries' names and the label `probe` of its metrics.
    #[schemars(length(min = 1, max = 41), extend("examples" = ["static-kv2"]))]
    pub(in crate::config) name: Option<String>,
    /// The canaries are KV secrets, synced by a `VaultStaticSecret`.
    #[serde(rename = "static")]
    pub(in crate::config) fixed: Option<Static>,
    /// The canaries are credentials with a lease, synced by a `VaultDynamicSecret`.
    pub(in crate::config) dynamic: Option<Dynamic>,
    /// The canaries are certificates, synced by a `VaultPKISecret`.
    pub(in crate::config) pki: Option<Pki>,
    /// The Vault namespace of the secret (`spec.namespace` of the resource): the prober's own, which is the default, or
    /// one below it.
    #[schemars(length(min = 1), extend("examples" = ["team-a/app"]))]
    pub(in crate::config) vault_namespace: Option<String>,
    /// How the resource is written.
    #[schemars(extend("default" = "canonical"))]
    pub(in crate::config) manifest: Option<Manifest>,
    /// The steps, each with its threshold. The default is every step that needs no further setting.
    pub(in crate::config) steps: Option<Steps>,
    /// The mean time between two runs.
    #[schemars(length(min = 1), extend("default" = EVERY))]
    pub(in crate::config) every: Option<String>,
    /// How far a gap may lie from the mean, as a share of it: a gap is drawn from `every` × [1 - spread, 1 + spread],
    /// so that it can't lock onto the operator's polls.
    #[schemars(range(min = 0, max = 1), extend("default" = SPREAD))]
    pub(in crate::config) spread: Option<f64>,
    /// How long a step may take beyond its due moment before it times out; longer than every threshold.
    #[schemars(length(min = 1), extend("default" = TIMEOUT))]
    pub(in crate::config) timeout: Option<String>,
    /// The objective: the share of steps that should be good.
    #[schemars(extend("default" = OBJECTIVE, "exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub(in crate::config) objective: Option<f64>,
}

/// A KV secret.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["mount", "type", "path"]))]
pub(in crate::config) struct Static {
    /// The `VaultAuth` that the operator logs in with: `name` or `namespace/name`. The default is the operator's own:
    /// `default` in its namespace.
    #[schemars(length(min = 1), extend("examples" = ["probe"]))]
    pub(in crate::config) auth_ref: Option<String>,
    /// The mount of the KV engine.
    #[schemars(length(min = 1), extend("examples" = ["kvv2"]))]
    pub(in crate::config) mount: Option<String>,
    /// The version of the KV engine.
    #[serde(rename = "type")]
    #[schemars(extend("examples" = ["kv-v2"]))]
    pub(in crate::config) version: Option<KvVersion>,
    /// The folder under the mount that the canaries go into.
    #[schemars(length(min = 1), extend("examples" = ["vso-prober"]))]
    pub(in crate::config) path: Option<String>,
    /// The time between the operator's polls: one number with one unit (`s`, `m`, `h`). `update` and `tamper` need it.
    #[schemars(
        length(min = 1),
        extend("pattern" = r"^([0-9]+(\.[0-9]+)?(s|m|h))$", "examples" = ["10s"])
    )]
    pub(in crate::config) refresh_after: Option<String>,
    /// Whether the operator detects an edited Secret by an HMAC. `tamper` needs it.
    #[schemars(extend("default" = true))]
    pub(in crate::config) hmac_secret_data: Option<bool>,
}

/// A credential with a lease.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["mount", "path"]))]
pub(in crate::config) struct Dynamic {
    /// The `VaultAuth` that the operator logs in with: `name` or `namespace/name`. The default is the operator's own:
    /// `default` in its namespace.
    #[schemars(length(min = 1), extend("examples" = ["probe"]))]
    pub(in crate::config) auth_ref: Option<String>,
    /// The mount of the secrets engine.
    #[schemars(length(min = 1), extend("examples" = ["database"]))]
    pub(in crate::config) mount: Option<String>,
    /// The path of the credentials under the mount.
    #[schemars(length(min = 1), extend("examples" = ["creds/probe"]))]
    pub(in crate::config) path: Option<String>,
    /// The parameters of the request, for a path that takes some.
    pub(in crate::config) params: Option<BTreeMap<String, String>>,
    /// The method of the request; the default is `GET`, or `PUT` where there are `params`.
    #[serde(rename = "requestHTTPMethod")]
    pub(in crate::config) request_http_method: Option<RequestMethod>,
    /// Whether the path is that of a static role (`static-creds/NAME`, `static-cred/NAME`): a credential without a lease,
    /// which Vault replaces on its own schedule. The prober reads the same path, so as to know what the Secret is to hold.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_static_creds: Option<bool>,
    /// When the operator renews, in percent of the lease's duration; the operator's own default is 67.
    #[schemars(range(min = 0, max = 90), extend("examples" = [67]))]
    pub(in crate::config) renewal_percent: Option<u8>,
    /// Whether the operator revokes the lease with the resource.
    #[schemars(extend("default" = true))]
    pub(in crate::config) revoke: Option<bool>,
    /// How long a lease of the role lives at the most (its `max_ttl`; of a static role, its `rotation_period`): so long do
    /// the steps `renew` and `rotate` wait for the operator.
    #[schemars(length(min = 1), extend("default" = MAX_TTL))]
    pub(in crate::config) max_ttl: Option<String>,
    /// The server to log in to with the credential, as a further proof.
    pub(in crate::config) verify: Option<Verify>,
}

/// The server to log in to with a credential.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["postgres"]))]
pub(in crate::config) struct Verify {
    /// A `PostgreSQL` server.
    pub(in crate::config) postgres: Option<Postgres>,
}

/// A `PostgreSQL` server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["host", "database"]))]
pub(in crate::config) struct Postgres {
    /// The host.
    #[schemars(length(min = 1), extend("examples" = ["postgres.databases"]))]
    pub(in crate::config) host: Option<String>,
    /// The port.
    #[schemars(range(min = 1, max = 65535), extend("default" = POSTGRES_PORT))]
    pub(in crate::config) port: Option<u16>,
    /// The database.
    #[schemars(length(min = 1), extend("examples" = ["postgres"]))]
    pub(in crate::config) database: Option<String>,
    /// The TLS mode, as libpq names it.
    #[schemars(extend("default" = "require"))]
    pub(in crate::config) ssl_mode: Option<SslMode>,
}

/// A certificate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["mount", "role"]))]
pub(in crate::config) struct Pki {
    /// The `VaultAuth` that the operator logs in with: `name` or `namespace/name`. The default is the operator's own:
    /// `default` in its namespace.
    #[schemars(length(min = 1), extend("examples" = ["probe"]))]
    pub(in crate::config) auth_ref: Option<String>,
    /// The mount of the PKI engine.
    #[schemars(length(min = 1), extend("examples" = ["pki"]))]
    pub(in crate::config) mount: Option<String>,
    /// The PKI role.
    #[schemars(length(min = 1), extend("examples" = ["probe"]))]
    pub(in crate::config) role: Option<String>,
    /// The common name to request. It may be left out where there are `altNames`, and the role allows that.
    #[schemars(length(min = 1), extend("examples" = ["canary.example"]))]
    pub(in crate::config) common_name: Option<String>,
    /// The other names to request: of hosts, or of mail boxes.
    #[schemars(inner(length(min = 1)), extend("examples" = [["other.example"]]))]
    pub(in crate::config) alt_names: Option<Vec<String>>,
    /// The certificate's time to live: one number with one unit (`s`, `m`, `h`, `d`); the default is the role's.
    #[schemars(
        length(min = 1),
        extend("pattern" = r"^([0-9]+(\.[0-9]+)?(s|m|h|d))$", "examples" = ["1h"])
    )]
    pub(in crate::config) ttl: Option<String>,
    /// When the certificate ends, as a time from its issue. `OpenBao` needs it.
    #[schemars(length(min = 1), extend("examples" = ["1h"]))]
    pub(in crate::config) not_after: Option<String>,
    /// How long before its end the certificate is replaced: one number with one unit (`s`, `m`, `h`). `rotate` needs it.
    #[schemars(
        length(min = 1),
        extend("pattern" = r"^([0-9]+(\.[0-9]+)?(s|m|h))$", "examples" = ["10m"])
    )]
    pub(in crate::config) expiry_offset: Option<String>,
}

/// The steps to take, each with the threshold that makes it good: the latency, or, of `update`, `tamper`, `renew` and
/// `rotate`, the lateness. A canary is always deleted in the end; without `delete` that is not judged.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["create"]))]
pub(in crate::config) struct Steps {
    /// How soon the Secret must exist with the right content after the resource is created. For every kind.
    #[schemars(length(min = 1), extend("examples" = ["5s"]))]
    pub(in crate::config) create: Option<String>,
    /// How late the Secret may have Vault's new value, counted from the due poll. For `static` with `refreshAfter`.
    #[schemars(length(min = 1), extend("examples" = ["2s"]))]
    pub(in crate::config) update: Option<String>,
    /// How late an edited Secret may be restored, counted from the due poll. For `static` with `refreshAfter` and
    /// `hmacSecretData`.
    #[schemars(length(min = 1), extend("examples" = ["2s"]))]
    pub(in crate::config) tamper: Option<String>,
    /// How soon a deleted Secret must exist again. For `static`.
    #[schemars(length(min = 1), extend("examples" = ["5s"]))]
    pub(in crate::config) recreate: Option<String>,
    /// How late the lease may be renewed, counted from the due renewal. For `dynamic`.
    #[schemars(length(min = 1), extend("examples" = ["5s"]))]
    pub(in crate::config) renew: Option<String>,
    /// How late a new credential or certificate may arrive, counted from the due rotation. For `dynamic` and `pki`.
    #[schemars(length(min = 1), extend("examples" = ["5s"]))]
    pub(in crate::config) rotate: Option<String>,
    /// How soon the Secret must be gone and its leases revoked after the resource is deleted. For every kind.
    #[schemars(length(min = 1), extend("examples" = ["10s"]))]
    pub(in crate::config) delete: Option<String>,
}

impl Steps {
    /// The threshold of `step`, as written.
    pub(in crate::config) fn get(&self, step: Step) -> Option<&str> {
        match step {
            Step::Create => self.create.as_deref(),
            Step::Update => self.update.as_deref(),
            Step::Tamper => self.tamper.as_deref(),
            Step::Recreate => self.recreate.as_deref(),
            Step::Renew => self.renew.as_deref(),
            Step::Rotate => self.rotate.as_deref(),
            Step::Delete => self.delete.as_deref(),
        }
    }
}
