//! The files that a client uses; their content may change while the program runs.

use std::path::PathBuf;

use super::read_kubeconfig;
use crate::config;

/// Where Kubernetes mounts the CA of its API server.
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// The files that a client is made from, and not read again: in a cluster the CA, else the kubeconfig and
/// the certificates and keys that it names.
pub fn files(config: &config::Kubernetes) -> Vec<PathBuf> {
    if super::in_cluster(config) {
        return vec![CA.into()];
    }
    let named = std::env::var_os("KUBECONFIG").filter(|named| !named.is_empty());
    let mut files: Vec<PathBuf> = match (&config.kubeconfig, named) {
        (Some(file), _) => vec![file.clone()],
        (None, Some(named)) => std::env::split_paths(&named).collect(),
        (None, None) => std::env::home_dir()
            .map(|home| home.join(".kube/config"))
            .into_iter()
            .collect(),
    };
    // One that can't be read is told by who makes the client.
    let Ok(kubeconfig) = read_kubeconfig(config.kubeconfig.as_deref()) else {
        return files;
    };
    for cluster in kubeconfig
        .clusters
        .into_iter()
        .filter_map(|named| named.cluster)
    {
        files.extend(cluster.certificate_authority.map(PathBuf::from));
    }
    for user in kubeconfig
        .auth_infos
        .into_iter()
        .filter_map(|named| named.auth_info)
    {
        let own = [user.client_certificate, user.client_key];
        files.extend(own.into_iter().flatten().map(PathBuf::from));
    }
    files
}
