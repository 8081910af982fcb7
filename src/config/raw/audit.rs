//! The audit logs as the user writes them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::config::{AddressMode, Begin};

/// Where the intake listens.
pub(in crate::config) const AUDIT_LISTEN: &str = "127.0.0.1:9466";
/// How long a suspect waits for what would clear it.
pub(in crate::config) const GRACE: &str = "60s";
/// How late a source may be and still be trusted.
pub(in crate::config) const LAG: &str = "30s";
/// How long one finding gathers what is alike.
pub(in crate::config) const REMEMBER: &str = "1h";
/// What stands for the identities of every `VaultAuth`.
pub(in crate::config) const AUTO: &str = "auto";

/// The audit logs of Vault, in which misuse of the operator's identities is looked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["sources", "state"]}, {"required": ["url"]}]))]
pub(in crate::config) struct Audit {
    /// The folder of positions, pending suspects and known tokens (their digests). It must survive a restart.
    #[schemars(length(min = 1), extend("examples" = ["/var/lib/vso-prober/audit"]))]
    pub(in crate::config) state: Option<String>,
    /// The sources of lines: one for each node of Vault and audit device.
    #[schemars(length(min = 1))]
    pub(in crate::config) sources: Option<Vec<AuditSource>>,
    /// The audit log of the API server, for the rules `unbacked` and `issuer`: the source `kubernetes`.
    pub(in crate::config) kubernetes: Option<AuditKubernetes>,
    /// The HTTP server that takes the lines of `http` sources.
    pub(in crate::config) server: Option<AuditServer>,
    /// The identities that only the operator uses: `auto` for those of every VaultAuth and VaultAuthGlobal, or a list.
    pub(in crate::config) identities: Option<Identities>,
    /// What the addresses in the log are; `auto` learns it from the operator's reads of canaries.
    #[schemars(extend("default" = AUTO))]
    pub(in crate::config) address: Option<AddressMode>,
    /// Further addresses, or networks, that may use the operator's identities.
    #[schemars(inner(length(min = 1)), extend("examples" = [["10.20.0.0/16"]]))]
    pub(in crate::config) trusted: Option<Vec<String>>,
    /// Who else may touch canaries and decoys.
    pub(in crate::config) readers: Option<Vec<AuditReader>>,
    /// Secrets that nobody has a reason to touch: whoever does is an intruder.
    pub(in crate::config) decoys: Option<Vec<Decoy>>,
    /// How long a suspect waits for what would clear it.
    #[schemars(length(min = 1), extend("default" = GRACE))]
    pub(in crate::config) grace: Option<String>,
    /// How late a source may be and still be trusted to say that nothing happened.
    #[schemars(length(min = 1), extend("default" = LAG))]
    pub(in crate::config) lag: Option<String>,
    /// How long one finding gathers what is alike (rule, identity, address).
    #[schemars(length(min = 1), extend("default" = REMEMBER))]
    pub(in crate::config) remember: Option<String>,
    /// Whether runs wait, 2 s at most, for what the logs say of their canaries: then stages are told from them.
    #[schemars(extend("default" = true))]
    pub(in crate::config) trace: Option<bool>,
    /// In place of all else: the prober that judges the audit logs, which runs ask for what these say of their canaries.
    #[schemars(length(min = 1), extend("examples" = ["http://vso-prober-audit:9465"]))]
    pub(in crate::config) url: Option<String>,
}

/// One source: its name, and how its lines come.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name"], "oneOf" = [
    {"required": ["file"]},
    {"required": ["http"]},
    {"required": ["podLogs"]},
]))]
pub(in crate::config) struct AuditSource {
    /// The name, unique among the sources; the label `source` of its metrics.
    #[schemars(length(min = 1, max = 32), extend("examples" = ["vault-0"]))]
    pub(in crate::config) name: Option<String>,
    /// A file, read as it grows, over its rotation.
    pub(in crate::config) file: Option<AuditFile>,
    /// Lines are sent to the server, at `/api/v1/audit/NAME`.
    pub(in crate::config) http: Option<Http>,
    /// The logs of Pods: for a device that writes to stdout.
    pub(in crate::config) pod_logs: Option<PodLogs>,
}

/// A file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["path"]))]
pub(in crate::config) struct AuditFile {
    /// The file.
    #[schemars(length(min = 1), extend("examples" = ["/vault/audit/audit.log"]))]
    pub(in crate::config) path: Option<String>,
    /// Where to begin on the very first start.
    #[schemars(extend("default" = "end"))]
    pub(in crate::config) from: Option<Begin>,
}

/// The audit log of the API server: how its lines come.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["file"]}, {"required": ["http"]}]))]
pub(in crate::config) struct AuditKubernetes {
    /// A file, read as it grows, over its rotation.
    pub(in crate::config) file: Option<AuditFile>,
    /// Lines are sent to the server, at `/api/v1/audit/kubernetes`.
    pub(in crate::config) http: Option<Http>,
}

/// Lines that are sent to the server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Http {
    /// The file with the bearer token that the sender of this source must have, in place of the server's; read anew when it
    /// changes.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/audit-token-vault-1"]))]
    pub(in crate::config) bearer_token_file: Option<String>,
}

/// The logs of Pods.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["namespace", "selector"]))]
pub(in crate::config) struct PodLogs {
    /// The namespace of the Pods.
    #[schemars(length(min = 1, max = 63), extend("examples" = ["vault"]))]
    pub(in crate::config) namespace: Option<String>,
    /// The label selector of the Pods.
    #[schemars(length(min = 1), extend("examples" = ["app.kubernetes.io/name=vault"]))]
    pub(in crate::config) selector: Option<String>,
    /// The container; the default is the Pod's only one.
    #[schemars(length(min = 1, max = 63), extend("examples" = ["vault"]))]
    pub(in crate::config) container: Option<String>,
}

/// The HTTP server that takes lines.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct AuditServer {
    /// The address and port to listen on. Off loopback, `clientCaFile` or `bearerTokenFile` is required, here or for each source.
    #[schemars(length(min = 1), extend("default" = AUDIT_LISTEN))]
    pub(in crate::config) listen: Option<String>,
    /// Serve with TLS.
    pub(in crate::config) tls: Option<ServerTls>,
    /// The file with the bearer token that senders must have; read anew when it changes.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/audit-token"]))]
    pub(in crate::config) bearer_token_file: Option<String>,
}

/// The TLS of the server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["certFile", "keyFile"]))]
#[expect(
    clippy::struct_field_names,
    reason = "they are called as the user writes them"
)]
pub(in crate::config) struct ServerTls {
    /// The file with the server's certificate (PEM), and those between it and the CA.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/audit-tls/tls.crt"]))]
    pub(in crate::config) cert_file: Option<String>,
    /// The file with the certificate's key (PEM).
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/audit-tls/tls.key"]))]
    pub(in crate::config) key_file: Option<String>,
    /// The file with the certificates (PEM) of the CA whose certificates clients must have.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/audit-tls/ca.crt"]))]
    pub(in crate::config) client_ca_file: Option<String>,
}

/// The word `auto`, or a list of identities.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum Identities {
    /// A word.
    Word(String),
    /// The identities.
    Listed(Vec<Identity>),
}

impl JsonSchema for Identities {
    fn schema_name() -> Cow<'static, str> {
        "Identities".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "default": AUTO,
            "minItems": 1,
            "items": generator.subschema_for::<Identity>(),
        })
    }
}

/// Who logs in to Vault by the method `kubernetes`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["role", "serviceAccount"]))]
pub(in crate::config) struct Identity {
    /// Where the auth method is mounted.
    #[schemars(length(min = 1), extend("default" = "kubernetes"))]
    pub(in crate::config) mount: Option<String>,
    /// The role.
    #[schemars(length(min = 1), extend("examples" = ["app"]))]
    pub(in crate::config) role: Option<String>,
    /// The ServiceAccount, `namespace/name`.
    #[schemars(length(min = 1), extend("examples" = ["team-a/app"]))]
    pub(in crate::config) service_account: Option<String>,
}

/// Somebody who may touch canaries and decoys. In a pattern, `*` stands for anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["displayName"]},
    {"required": ["role"]},
    {"required": ["serviceAccount"]},
    {"required": ["policy"]},
    {"required": ["entity"]},
]))]
pub(in crate::config) struct AuditReader {
    /// A pattern of paths in Vault, as the log has them; the default is all.
    #[schemars(length(min = 1), extend("examples" = ["kvv2/data/vso-prober/*"]))]
    pub(in crate::config) path: Option<String>,
    /// A pattern of display names.
    #[schemars(length(min = 1), extend("examples" = ["kubernetes-backup-*"]))]
    pub(in crate::config) display_name: Option<String>,
    /// A pattern of roles.
    #[schemars(length(min = 1), extend("examples" = ["backup"]))]
    pub(in crate::config) role: Option<String>,
    /// A pattern of ServiceAccounts, `namespace/name`.
    #[schemars(length(min = 1), extend("examples" = ["backup/velero"]))]
    pub(in crate::config) service_account: Option<String>,
    /// A pattern of policies.
    #[schemars(length(min = 1), extend("examples" = ["admin"]))]
    pub(in crate::config) policy: Option<String>,
    /// The ID of an entity.
    #[schemars(length(min = 1), extend("examples" = ["0bef69dd-13e7-b945-8a61-ccca426b4204"]))]
    pub(in crate::config) entity: Option<String>,
}

/// A secret that nobody has a reason to touch.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["mount", "path"]))]
pub(in crate::config) struct Decoy {
    /// The mount of a KV engine, version 2.
    #[schemars(length(min = 1), extend("examples" = ["kvv2"]))]
    pub(in crate::config) mount: Option<String>,
    /// The path under the mount.
    #[schemars(length(min = 1), extend("examples" = ["aws/prod-root"]))]
    pub(in crate::config) path: Option<String>,
}
