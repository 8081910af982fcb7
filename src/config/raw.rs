//! The configuration as the user writes it: the one source of its structure, of the defaults, and of the JSON Schema.
//!
//! Everything is optional here; what must be written is told by `required` in the schema, so that
//! `validate` can report it together with all the rest.

mod audit;
mod probe;
mod push;
mod schema;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Scheme;

pub(super) use audit::{
    AUDIT_LISTEN, AUTO, Audit, AuditFile, AuditReader, AuditServer, AuditSource, GRACE, Http,
    Identities, LAG, REMEMBER, ServerTls,
};
pub(super) use probe::{
    AUTH_REF, Dynamic, EVERY, MAX_TTL, OBJECTIVE, POSTGRES_PORT, Pki, Postgres, Probe, SPREAD,
    Static, TIMEOUT,
};
pub(super) use push::{Push, Receiver};
pub use schema::schema;
pub(super) use schema::schema_value;

/// Where the canaries live, unless said otherwise.
pub(super) const NAMESPACE: &str = "vso-probe";
/// Where the operator runs, as its Helm chart is mostly installed.
pub(super) const OPERATOR_NAMESPACE: &str = "vault-secrets-operator-system";
/// The label that the operator's chart gives to its pods.
pub(super) const POD_SELECTOR: &str = "control-plane=controller-manager";
/// The port of the proxy that the operator's chart puts before its metrics.
pub(super) const METRICS_PORT: u16 = 8443;
/// Where Kubernetes mounts the `ServiceAccount`'s token.
pub(super) const SERVICE_ACCOUNT_TOKEN: &str =
    "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Where `serve` listens.
pub(super) const LISTEN: &str = "127.0.0.1:9465";
/// How long outcomes are kept.
pub(super) const RETENTION: &str = "30d";
/// The name of a prober that is alone on its namespace.
pub(super) const INSTANCE: &str = "default";

/// The configuration of vso-prober. Durations are written as Kubernetes writes them: `30s`, `1m30s`, `500ms`.
/// Environment variables are not interpolated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "vso-prober configuration", extend("required" = ["vault", "probes"]))]
pub(super) struct Config {
    /// Vault, as the prober reaches it.
    pub(super) vault: Option<Vault>,
    /// Kubernetes, as the prober reaches it.
    pub(super) kubernetes: Option<Kubernetes>,
    /// What every resource and Secret of a canary bears beside the prober's own, for policies that demand it.
    pub(super) canaries: Option<Canaries>,
    /// The labels that every run bears, and all that is pushed: to tell clusters or teams apart.
    #[schemars(extend("examples" = [{"cluster": "prod-eu"}]))]
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// The operator: its namespace, pods and metrics.
    pub(super) operator: Option<Operator>,
    /// The probes, each with a name of its own.
    #[schemars(length(min = 1))]
    pub(super) probes: Option<Vec<Probe>>,
    /// The HTTP server of `serve`.
    pub(super) server: Option<Server>,
    /// The receivers that outcomes are pushed to.
    pub(super) push: Option<Push>,
    /// The folder that stores outcomes over a restart. Without it they are kept in memory.
    pub(super) history: Option<History>,
    /// The audit logs of Vault, in which misuse of the operator's identities is looked for.
    pub(super) audit: Option<Audit>,
    /// The name that tells two probers in one namespace apart.
    #[schemars(length(min = 1, max = 41), extend("default" = INSTANCE))]
    pub(super) instance: Option<String>,
}

/// Vault, as the prober reaches it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["auth"]))]
pub(super) struct Vault {
    /// The URL of Vault, with its path if it has one. The default is the environment variable `VAULT_ADDR`.
    #[schemars(length(min = 1), extend("examples" = ["https://vault.example:8200"]))]
    pub(super) address: Option<String>,
    /// The Vault namespace.
    #[schemars(length(min = 1), extend("examples" = ["team-a"]))]
    pub(super) namespace: Option<String>,
    /// A file with the certificates (PEM) of the CA that Vault's certificate is checked against.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vault/ca.pem"]))]
    pub(super) ca_file: Option<String>,
    /// The name in Vault's certificate, where the address has another; it is asked for in TLS, too.
    #[schemars(length(min = 1), extend("examples" = ["vault.corp.example"]))]
    pub(super) tls_server_name: Option<String>,
    /// The headers that a gateway before Vault wants of each request, by their names.
    pub(super) headers: Option<BTreeMap<String, Header>>,
    /// The hosts that a redirect may lead to, beside the address's own; `*.` stands for the beginning of names.
    /// Without it, a redirect may lead to every host by https, and to no other by http.
    #[schemars(inner(length(min = 1)), extend("examples" = [["*.vault-internal"]]))]
    pub(super) redirect_hosts: Option<Vec<String>>,
    /// How to log in: one method.
    pub(super) auth: Option<Auth>,
}

/// The value of a header, from one source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["value"]},
    {"required": ["env"]},
    {"required": ["file"]},
]))]
pub(super) struct Header {
    /// The value itself.
    #[schemars(length(min = 1), extend("examples" = ["team-a"]))]
    pub(super) value: Option<String>,
    /// The name of the environment variable that holds it.
    #[schemars(length(min = 1), extend("examples" = ["GATEWAY_TOKEN"]))]
    pub(super) env: Option<String>,
    /// The file that holds it; read anew when it changes.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/gateway-token"]))]
    pub(super) file: Option<String>,
}

/// How to log in to Vault: one method.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["token"]},
    {"required": ["kubernetes"]},
    {"required": ["appRole"]},
    {"required": ["jwt"]},
]))]
pub(super) struct Auth {
    /// An existing token.
    pub(super) token: Option<Token>,
    /// The `kubernetes` method, with the token of the prober's `ServiceAccount`.
    pub(super) kubernetes: Option<KubernetesAuth>,
    /// The `approle` method.
    pub(super) app_role: Option<AppRole>,
    /// The `jwt` method.
    pub(super) jwt: Option<Jwt>,
}

/// The source of a Vault token. The token itself is never written here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["env"]}, {"required": ["file"]}]))]
pub(super) struct Token {
    /// The name of the environment variable that holds it.
    #[schemars(length(min = 1), extend("examples" = ["VAULT_TOKEN"]))]
    pub(super) env: Option<String>,
    /// The file that holds it; read anew when it changes.
    #[schemars(length(min = 1), extend("examples" = ["/vault/secrets/token"]))]
    pub(super) file: Option<String>,
}

/// The `kubernetes` method.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["role"]))]
pub(super) struct KubernetesAuth {
    /// Where the method is mounted.
    #[schemars(length(min = 1), extend("default" = "kubernetes"))]
    pub(super) mount: Option<String>,
    /// The role to log in as.
    #[schemars(length(min = 1), extend("examples" = ["vso-prober"]))]
    pub(super) role: Option<String>,
    /// The file with the `ServiceAccount`'s token.
    #[schemars(length(min = 1), extend("default" = SERVICE_ACCOUNT_TOKEN))]
    pub(super) token_file: Option<String>,
}

/// The `approle` method.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["roleIdFile", "secretIdFile"]))]
pub(super) struct AppRole {
    /// Where the method is mounted.
    #[schemars(length(min = 1), extend("default" = "approle"))]
    pub(super) mount: Option<String>,
    /// The file with the role ID.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/role-id"]))]
    pub(super) role_id_file: Option<String>,
    /// The file with the secret ID.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/secret-id"]))]
    pub(super) secret_id_file: Option<String>,
}

/// The `jwt` method.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["role", "tokenFile"]))]
pub(super) struct Jwt {
    /// Where the method is mounted.
    #[schemars(length(min = 1), extend("default" = "jwt"))]
    pub(super) mount: Option<String>,
    /// The role to log in as.
    #[schemars(length(min = 1), extend("examples" = ["vso-prober"]))]
    pub(super) role: Option<String>,
    /// The file with the JWT.
    #[schemars(length(min = 1), extend("examples" = ["/var/run/secrets/tokens/vault"]))]
    pub(super) token_file: Option<String>,
}

/// Kubernetes, as the prober reaches it: from within the cluster, else by `KUBECONFIG`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kubernetes {
    /// The namespace of the canaries.
    #[schemars(length(min = 1, max = 63), extend("default" = NAMESPACE))]
    pub(super) namespace: Option<String>,
    /// The context of the kubeconfig; the default is its current one.
    #[schemars(length(min = 1), extend("examples" = ["kind-vso"]))]
    pub(super) context: Option<String>,
}

/// The labels and annotations of canaries.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Canaries {
    /// The labels.
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// The annotations.
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

/// The operator: its namespace, pods and metrics.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Operator {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63), extend("default" = OPERATOR_NAMESPACE))]
    pub(super) namespace: Option<String>,
    /// The label selector of its pods.
    #[schemars(length(min = 1), extend("default" = POD_SELECTOR))]
    pub(super) pod_selector: Option<String>,
    /// Its metrics. Without them, a latency is not split into the operator's stages.
    pub(super) metrics: Option<Metrics>,
}

/// The operator's metrics: one source, and the credentials for it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"maxProperties": 0},
    {"required": ["url"]},
    {"required": ["pods"]},
    {"required": ["prometheus"]},
]))]
pub(super) struct Metrics {
    /// One URL.
    #[schemars(length(min = 1), extend("examples" = ["http://127.0.0.1:8080/metrics"]))]
    pub(super) url: Option<String>,
    /// Every pod of the operator among those that `podSelector` matches, by its address, summed.
    pub(super) pods: Option<Pods>,
    /// Prometheus, which scrapes the operator already.
    pub(super) prometheus: Option<Prometheus>,
    /// A ServiceAccount in the canaries' namespace; the prober requests a token of it and sends it to the source.
    #[schemars(length(min = 1, max = 63), extend("examples" = ["vso-prober-metrics"]))]
    pub(super) service_account: Option<String>,
    /// A file with a bearer token, sent to the source.
    #[schemars(length(min = 1), extend("examples" = [SERVICE_ACCOUNT_TOKEN]))]
    pub(super) bearer_token_file: Option<String>,
    /// A file with the certificates (PEM) of the CA that the source's certificate is checked against.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/metrics-ca.pem"]))]
    pub(super) ca_file: Option<String>,
    /// Whether to skip the check of the source's certificate.
    #[schemars(extend("default" = false))]
    pub(super) insecure_skip_verify: Option<bool>,
}

/// Every matching pod, by its address.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Pods {
    /// The port.
    #[schemars(range(min = 1, max = 65535), extend("default" = METRICS_PORT))]
    pub(super) port: Option<u16>,
    /// How the metrics are served.
    #[schemars(extend("default" = "https"))]
    pub(super) scheme: Option<Scheme>,
}

/// Prometheus' API.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["url", "selector"]))]
pub(super) struct Prometheus {
    /// The URL of Prometheus.
    #[schemars(length(min = 1), extend("examples" = ["http://prometheus.monitoring:9090"]))]
    pub(super) url: Option<String>,
    /// The selector of the operator's series.
    #[schemars(length(min = 1), extend("examples" = ["{job=\"vso\"}"]))]
    pub(super) selector: Option<String>,
}

/// The HTTP server of `serve`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Server {
    /// The address and port to listen on.
    #[schemars(length(min = 1), extend("default" = LISTEN))]
    pub(super) listen: Option<String>,
    /// The URL by which people reach it: requests to reload and to run may name its host.
    #[serde(rename = "externalURL")]
    #[schemars(length(min = 1), extend("examples" = ["https://prober.example/"]))]
    pub(super) external_url: Option<String>,
}

/// The store of outcomes over a restart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["path"]))]
pub(super) struct History {
    /// The folder that stores the outcomes.
    #[schemars(length(min = 1), extend("examples" = ["/var/lib/vso-prober"]))]
    pub(super) path: Option<String>,
    /// How long outcomes are stored; days (`d`) are a unit here too.
    #[schemars(length(min = 1), extend("default" = RETENTION))]
    pub(super) retention: Option<String>,
}
