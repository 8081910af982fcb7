//! The folder in Vault of a probe's canaries: one for the instance, and in it one for the cluster.

use crate::config::{KvPath, Target};

/// What tells one cluster from another, so that two that have one Vault keep apart: the UID of the namespace of the
/// canaries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cluster(String);

impl Cluster {
    /// No ID is longer, in bytes; that of Kubernetes has 36.
    const LONGEST: usize = 64;

    /// The cluster of this ID. `None` if it does not fit a name in Vault.
    pub fn of(uid: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let good = (1..=Self::LONGEST).contains(&uid.len()) && uid.bytes().all(fits);
        good.then(|| Self(uid.to_owned()))
    }

    /// One that no canary is kept for: of a canary that is never sent.
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }
}

/// The folder of an instance, which holds those of its clusters, if the kind of probe has one. A policy covers it
/// whole; up to 0.1.0, canaries were in it themselves.
pub fn kv_folder(target: &Target, instance: &str) -> Option<KvPath> {
    match target {
        Target::Static(target) => Some(KvPath {
            namespace: target.namespace.clone(),
            mount: target.mount.clone(),
            version: target.version,
            path: format!("{}/{instance}", target.path),
        }),
        Target::Dynamic(_) | Target::Pki(_) => None,
    }
}

/// The folder in it that holds the canaries of a cluster.
pub fn kv_home(target: &Target, instance: &str, cluster: &Cluster) -> Option<KvPath> {
    kv_folder(target, instance).map(|folder| folder.with(&cluster.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_fits_a_name_in_vault() {
        assert!(Cluster::of("5f0c3b1e-4f5a-4c1e-9d55-0123456789ab").is_some());
        for uid in ["", "..", "a/b", "a b", &"a".repeat(65)] {
            assert_eq!(Cluster::of(uid), None, "{uid}");
        }
    }
}
