//! A configuration with which the prober can be tried on a lab at once.

use std::net::SocketAddr;
use std::path::Path;

use super::{NAMESPACE, OPERATOR_NAMESPACE, PROBER};

/// Where the prober finds what it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configuration<'a> {
    pub(crate) vault: &'a str,
    pub(crate) token: &'a Path,
    pub(crate) metrics: &'a str,
    pub(crate) postgres: SocketAddr,
}

impl Configuration<'_> {
    /// The configuration as YAML; the prober logs in and acts with its own rights only.
    pub(crate) fn render(&self) -> String {
        let Self {
            vault,
            token,
            metrics,
            postgres,
        } = self;
        let (token, host, port) = (token.display(), postgres.ip(), postgres.port());
        format!(
            "\
# For this lab, with KUBECONFIG as `lab env` sets it.
vault:
  address: {vault}
  auth:
    kubernetes: {{mount: kubernetes, role: {PROBER}, tokenFile: {token}}}
kubernetes: {{namespace: {NAMESPACE}, context: {PROBER}}}
operator:
  namespace: {OPERATOR_NAMESPACE}
  metrics: {{url: {metrics}}}
probes:
- name: static-kv2
  static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 5s}}
  manifest: canonical
  steps: {{create: 5s, update: 2s, tamper: 2s, recreate: 5s, delete: 10s}}
  every: 60s
- name: static-kv1
  static: {{authRef: probe, mount: kvv1, type: kv-v1, path: vso-prober, refreshAfter: 5s}}
  manifest: minimal
  steps: {{create: 5s, update: 2s, delete: 10s}}
  every: 60s
- name: postgres
  dynamic:
    authRef: probe
    mount: database
    path: creds/probe
    verify: {{postgres: {{host: {host}, port: {port}, database: postgres, sslMode: disable}}}}
  manifest: canonical
  steps: {{create: 5s, delete: 10s}}
  every: 60s
"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_prober_takes_it() {
        let configuration = Configuration {
            vault: "http://127.0.0.1:8200",
            token: Path::new("/lab/prober.jwt"),
            metrics: "http://127.0.0.1:8080/metrics",
            postgres: (Ipv4Addr::LOCALHOST, 5432).into(),
        };
        let outcome =
            vso_prober::config::check::load(&configuration.render(), "prober.yaml", |_| None);
        assert_eq!(
            outcome
                .map(|config| config.probes.len())
                .map_err(|error| error.to_string()),
            Ok(3)
        );
    }
}
