//! Traps: paths in Vault that nobody has a reason to touch but the prober and the operator, or nobody but the prober.

use serde::{Deserialize, Serialize};

use super::entry::VaultEntry;

/// What stands between the mount of a KV engine of version 2 and the path of a secret.
const KV2: [&str; 6] = [
    "data", "metadata", "delete", "undelete", "destroy", "subkeys",
];
/// The operation that lists a folder.
const LIST: [&str; 2] = ["list", "scan"];

/// Canaries, or a decoy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trap {
    /// The mount of the KV engine, e.g. `kvv2`.
    pub mount: String,
    /// The folder of the canaries, or the path of the decoy.
    pub path: String,
    /// Which of the two.
    pub kind: Kind,
    /// Vault's namespace of the mount; empty for the root one.
    #[serde(default)]
    pub namespace: String,
}

/// Which kind of trap.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A folder of canaries, which the operator reads for a probe.
    Canary,
    /// A secret that nothing syncs.
    Decoy,
}

/// How a trap was touched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Touch {
    /// A secret in it was asked for.
    Secret,
    /// Its folder was listed.
    Folder,
}

impl Trap {
    /// How a request touches it, if it does: granted or refused.
    pub fn touched(&self, entry: &VaultEntry) -> Option<Touch> {
        if self.namespace.trim_matches('/') != entry.namespace.trim_matches('/') {
            return None;
        }
        let mount = self.mount.trim_matches('/');
        let rest = entry.path.strip_prefix(mount)?.strip_prefix('/')?;
        let inner = rest.split_once('/').filter(|(part, _)| KV2.contains(part));
        let inner = inner.map(|(_, inner)| inner);
        // Of version 1 the secret's path follows the mount itself.
        [inner, Some(rest)]
            .into_iter()
            .flatten()
            .find_map(|inner| self.touch(inner, &entry.operation))
    }

    fn touch(&self, inner: &str, operation: &str) -> Option<Touch> {
        let own = self.path.trim_matches('/');
        let asked = inner.trim_end_matches('/');
        if LIST.contains(&operation) {
            let folder = match self.kind {
                Kind::Canary => own,
                Kind::Decoy => own.rsplit_once('/').map(|(folder, _)| folder)?,
            };
            let beneath = self.kind == Kind::Canary && beneath(asked, folder);
            return (asked == folder || beneath).then_some(Touch::Folder);
        }
        let touched = match self.kind {
            Kind::Canary => beneath(asked, own),
            Kind::Decoy => asked == own,
        };
        touched.then_some(Touch::Secret)
    }
}

fn beneath(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_asked_of_a_trap_touches_it() {
        let canaries = Trap {
            mount: "kvv2".into(),
            path: "vso-prober/default".into(),
            kind: Kind::Canary,
            namespace: String::new(),
        };
        let decoy = Trap {
            mount: "team/kv".into(),
            path: "aws/prod-root".into(),
            kind: Kind::Decoy,
            namespace: "team-a".into(),
        };
        let check = |trap: &Trap, operation: &str, path: &str, expected| {
            let namespace = path.strip_prefix("team-a/").map(|_| "team-a/");
            let path = path.trim_start_matches("team-a/");
            let line = serde_json::json!({
                "time": "2026-01-01T00:00:00Z", "type": "request",
                "request": {"id": "a", "operation": operation, "path": path, "namespace": {"id": "x", "path": namespace}},
            });
            let entry = super::super::entry::parse(line.to_string().as_bytes()).expect("an entry");
            let super::super::entry::Entry::Vault(entry) = entry else {
                panic!("Vault's")
            };
            assert_eq!(trap.touched(&entry), expected, "{operation} {path}");
        };
        for part in KV2 {
            check(
                &canaries,
                "read",
                &format!("kvv2/{part}/vso-prober/default/c/vsop-a"),
                Some(Touch::Secret),
            );
            check(
                &decoy,
                "update",
                &format!("team-a/team/kv/{part}/aws/prod-root"),
                Some(Touch::Secret),
            );
        }
        check(
            &canaries,
            "read",
            "kvv2/vso-prober/default/vsop-a",
            Some(Touch::Secret),
        );
        check(
            &canaries,
            "list",
            "kvv2/metadata/vso-prober/default/",
            Some(Touch::Folder),
        );
        check(
            &canaries,
            "list",
            "kvv2/metadata/vso-prober/default/c/",
            Some(Touch::Folder),
        );
        check(&canaries, "list", "kvv2/metadata/vso-prober/", None);
        check(
            &canaries,
            "read",
            "kvv2/data/vso-prober/default-b/vsop-a",
            None,
        );
        check(
            &canaries,
            "read",
            "kvv22/data/vso-prober/default/vsop-a",
            None,
        );
        check(
            &decoy,
            "list",
            "team-a/team/kv/metadata/aws/",
            Some(Touch::Folder),
        );
        check(&decoy, "read", "team-a/team/kv/data/aws/prod-root-2", None);
        check(&decoy, "read", "team/kv/data/aws/prod-root", None);
        check(
            &canaries,
            "read",
            "team-a/kvv2/data/vso-prober/default/vsop-a",
            None,
        );
        check(&decoy, "read", "sys/leases/lookup", None);
    }
}
