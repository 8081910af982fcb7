//! The operator's rights in Vault for the canaries: to read what the probes request, and to keep their leases.

use super::{Need, Path, below, leases};
use crate::config::{Config, KvVersion, Target};

/// The paths that the policy of the operator's role is to grant.
pub fn operators(config: &Config) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    let mut path = |path: String, capabilities: &[&'static str], parameters| {
        if !paths.iter().any(|known| known.path == path) {
            paths.push(Path {
                path,
                capabilities: capabilities.to_vec(),
                parameters,
                need: Need::Run,
            });
        }
    };
    let any = Vec::new;
    for probe in &config.probes {
        let below = below(config, &probe.target);
        let own_leases = || ("lease_id", leases(config, &below));
        match &probe.target {
            Target::Static(target) => {
                let data = match target.version {
                    KvVersion::V1 => "",
                    KvVersion::V2 => "data/",
                };
                let all = format!("{below}{}/{data}{}/*", target.mount, target.path);
                path(all, &["read"], any());
            }
            Target::Dynamic(target) => {
                let capabilities: &[_] = if target.writes() {
                    &["create", "update"]
                } else {
                    &["read"]
                };
                path(
                    format!("{below}{}/{}", target.mount, target.path),
                    capabilities,
                    any(),
                );
                if target.static_role {
                    continue;
                }
                let increment = ("increment", Vec::new());
                let renewal = vec![own_leases(), increment];
                path(format!("{below}sys/leases/renew"), &["update"], renewal);
                path(
                    format!("{below}sys/leases/revoke"),
                    &["update"],
                    vec![own_leases()],
                );
            }
            Target::Pki(target) => {
                let both = ["create", "update"];
                path(
                    format!("{below}{}/issue/{}", target.mount, target.role),
                    &both,
                    any(),
                );
            }
        }
    }
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    paths
}
