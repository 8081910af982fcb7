//! The test for the prober's own leases: only those are ever looked up or revoked.

use super::Vault;
use crate::config::DynamicTarget;

/// No ID of a lease is longer, in bytes.
const LONGEST: usize = 512;

/// A lease of a probe's own: its ID begins with the mount and the path that the probe asks, and ends in what
/// Vault drew for it.
///
/// IDs come from statuses and events, which others may write; [`Vault::own_lease`] is the only way from there to one of these,
/// and no other text reaches a look-up or a revocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnLease {
    id: String,
    /// The Vault namespace, where it is not the prober's own.
    namespace: Option<String>,
}

impl OwnLease {
    /// The ID, as Vault has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// `in_namespace` is whether the prober works in a namespace of Vault's: then the ID ends in a dot and the
    /// namespace's own ID, and without them Vault would take it for one of the root namespace.
    fn of(target: &DynamicTarget, in_namespace: bool, id: &str) -> Option<Self> {
        let rest = id
            .strip_prefix(target.mount.trim_matches('/'))?
            .strip_prefix('/')?
            .strip_prefix(target.path.trim_matches('/'))?
            .strip_prefix('/')?;
        let drawn = match (rest.split_once('.'), in_namespace) {
            (Some((drawn, namespace)), true) if is_word(namespace) => drawn,
            (None, false) => rest,
            _ => return None,
        };
        (is_word(drawn) && id.len() <= LONGEST).then(|| Self {
            id: id.to_owned(),
            namespace: target.namespace.clone(),
        })
    }
}

/// Whether a text is what Vault draws: letters, digits, hyphens.
fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(fits)
}

impl Vault {
    /// The lease of this ID, if it is one that the target of a probe was issued.
    pub fn own_lease(&self, target: &DynamicTarget, id: &str) -> Option<OwnLease> {
        let namespace = target.namespace.as_ref().or(self.config.namespace.as_ref());
        let namespace = namespace.map(String::as_str).unwrap_or_default();
        let in_namespace = !matches!(namespace.trim_matches('/'), "" | "root");
        OwnLease::of(target, in_namespace, id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn own(in_namespace: bool, id: &str) -> bool {
        let target = DynamicTarget {
            auth_ref: "probe".to_owned(),
            namespace: None,
            mount: "database".to_owned(),
            path: "creds/probe".to_owned(),
            params: std::collections::BTreeMap::new(),
            method: None,
            renewal_percent: None,
            revoke: true,
            static_role: false,
            max_ttl: Duration::ZERO,
            verify: None,
        };
        OwnLease::of(&target, in_namespace, id).is_some()
    }

    #[test]
    fn only_what_the_probe_was_issued_is_its_own() {
        assert!(own(false, "database/creds/probe/uTcr7WM3oT6YrWvRDh10sMO1"));
        assert!(own(
            false,
            "database/creds/probe/2f6a614c-4aa2-7b19-24b9-ad944a8d4de6"
        ));
        let foreign = [
            "",
            "database/creds/victim/uTcr7WM3oT6YrWvRDh10sMO1",
            "database/creds/probes/uTcr7WM3oT6YrWvRDh10sMO1",
            "database/creds/probe/",
            "database/creds/probe",
            "database/creds/probe/../victim/uTcr7WM3oT6YrWvRDh10sMO1",
            "database/creds/probe/x/uTcr7WM3oT6YrWvRDh10sMO1",
            "database/creds/probe/..",
            "database/creds/probe/a b",
            "database/creds/probe/a\u{202e}",
            "/database/creds/probe/abc",
            "other/database/creds/probe/abc",
            "Database/creds/probe/abc",
        ];
        for id in foreign {
            assert!(!own(false, id) && !own(true, id), "{id}");
        }
        assert!(!own(
            false,
            &format!("database/creds/probe/{}", "a".repeat(600))
        ));
    }

    #[test]
    fn a_namespace_stands_behind_a_dot_and_only_where_there_is_one() {
        let (root, other) = ("database/creds/probe/abc", "database/creds/probe/abc.X1yZ2");
        assert!(own(false, root) && own(true, other));
        assert!(!own(true, root) && !own(false, other));
        assert!(!own(true, "database/creds/probe/abc."));
        assert!(!own(true, "database/creds/probe/.X1yZ2"));
        assert!(!own(true, "database/creds/probe/abc.X1.yZ2"));
    }
}
