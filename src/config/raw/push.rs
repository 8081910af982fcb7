//! The receivers of pushes as the user writes them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Header;

/// The receivers that outcomes are pushed to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Push {
    /// A Pushgateway, for `probe --push`.
    pub(in crate::config) pushgateway: Option<Receiver>,
    /// A remote-write endpoint, as Prometheus has it.
    pub(in crate::config) remote_write: Option<Receiver>,
}

/// A receiver of pushes: its URL, and what goes along with each request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(in crate::config) struct Receiver {
    /// The URL of the receiver.
    #[schemars(length(min = 1), extend("examples" = ["https://prometheus.example/api/v1/write"]))]
    pub(in crate::config) url: Option<String>,
    /// A file with a bearer token; read anew for each request.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/remote-write-token"]))]
    pub(in crate::config) bearer_token_file: Option<String>,
    /// A name and a password, in place of a bearer token.
    pub(in crate::config) basic_auth: Option<BasicAuth>,
    /// The headers that the receiver wants, by their names.
    pub(in crate::config) headers: Option<BTreeMap<String, Header>>,
    /// A file with the certificates (PEM) of the CA that the receiver's certificate is checked against.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/push-ca.pem"]))]
    pub(in crate::config) ca_file: Option<String>,
}

/// A name and a password.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["username", "passwordFile"]))]
pub(in crate::config) struct BasicAuth {
    /// The name.
    #[schemars(length(min = 1), extend("examples" = ["prober"]))]
    pub(in crate::config) username: Option<String>,
    /// The file with the password; read anew for each request.
    #[schemars(length(min = 1), extend("examples" = ["/etc/vso-prober/push-password"]))]
    pub(in crate::config) password_file: Option<String>,
}
