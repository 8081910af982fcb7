//! The rights of a judge of audit logs: to see who is at work, to tell what it finds, and on its decoys.

use std::collections::BTreeSet;

use super::{Need, Path, Rule};
use crate::config::{Config, Feed, Identities};
use crate::operator;

/// The rules in Kubernetes, beside those on the operator's Pods and its Lease, which runs need too.
pub(super) fn rules(config: &Config) -> Vec<Rule> {
    let Some(audit) = &config.audit else {
        return Vec::new();
    };
    let rule = |namespace: Option<&str>, group: &str, resource: &str, verb| Rule {
        namespace: namespace.map(str::to_owned),
        group: group.to_owned(),
        resource: resource.to_owned(),
        names: Vec::new(),
        verbs: vec![verb],
        need: Need::Run,
    };
    // A finding becomes an event on the operator's Deployment.
    let operator = config.operator.namespace.as_str();
    let mut rules = vec![rule(Some(operator), "", "events", "create")];
    let logs = audit
        .sources
        .iter()
        .filter_map(|source| match &source.feed {
            Feed::PodLogs { namespace, .. } => Some(namespace.as_str()),
            Feed::File { .. } | Feed::Http { .. } => None,
        });
    // The Pods themselves are listed below.
    for namespace in logs.collect::<BTreeSet<_>>() {
        rules.push(rule(Some(namespace), "", "pods/log", "get"));
    }
    if audit.identities == Identities::Auto {
        for resource in ["vaultauths", "vaultauthglobals"] {
            rules.push(rule(None, &operator::group(), resource, "list"));
        }
    }
    // An identity whose ServiceAccount other workloads use too is less sure a find.
    rules.push(rule(None, "", "pods", "list"));
    rules
}

/// The paths in Vault, beside those of the prober's own token.
pub(super) fn paths(config: &Config) -> impl Iterator<Item = Path> {
    let decoys = config.audit.iter().flat_map(|audit| &audit.decoys);
    decoys.map(|decoy| Path {
        path: format!("{}/data/{}", decoy.mount, decoy.path),
        capabilities: vec!["create", "read"],
        parameters: Vec::new(),
        need: Need::Run,
    })
}
