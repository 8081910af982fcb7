//! The test of ownership, for objects in Kubernetes and names in Vault: only a canary's own are ever changed or removed.

use kube::core::ObjectMeta;
use kube::core::params::Preconditions;

use super::{INSTANCE_LABEL, PROBE_LABEL};

/// How the name of every canary begins.
const PREFIX: &str = "vsop-";
/// How many letters and digits a run's ID has, which ends the name.
pub(super) const RUN_LENGTH: usize = 16;

/// An object that a prober of this instance made, or had the operator make: it bears the labels of the instance and of
/// the probe, and its name is a canary's of that probe. It is this very object as it was when it was proven.
///
/// Anyone can put a label on an object. [`OwnObject::of`] is the only way to one of these, and each deletion and each
/// change of an object that is there takes one, with its UID and its version as preconditions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnObject {
    name: String,
    uid: String,
    version: String,
}

impl OwnObject {
    /// The object of this metadata, if it is a canary's of this instance.
    pub fn of(metadata: &ObjectMeta, instance: &str) -> Option<Self> {
        let label = |key: &str| metadata.labels.as_ref()?.get(key).map(String::as_str);
        let name = metadata.name.clone()?;
        let probe = probe_in(&name)?;
        let own = label(INSTANCE_LABEL) == Some(instance) && label(PROBE_LABEL) == Some(probe);
        own.then_some(())?;
        Some(Self {
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.clone()?,
            name,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from any other that had, or will have, its name.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// That it is still itself and as it was.
    pub fn preconditions(&self) -> Preconditions {
        Preconditions {
            uid: Some(self.uid.clone()),
            resource_version: Some(self.version.clone()),
        }
    }

    /// The same as part of a patch.
    pub fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            uid: Some(self.uid.clone()),
            resource_version: Some(self.version.clone()),
            ..ObjectMeta::default()
        }
    }
}

/// The name of a canary.
pub(super) fn name(probe: &str, run: &str) -> String {
    format!("{PREFIX}{probe}-{run}")
}

/// Whether a name is one that a canary may have.
pub fn is_name(name: &str) -> bool {
    probe_in(name).is_some()
}

/// The probe whose canary has this name.
fn probe_in(name: &str) -> Option<&str> {
    let (probe, run) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_probe = !probe.is_empty() && probe.bytes().all(|byte| fits(byte) || byte == b'-');
    let is_run = run.len() == RUN_LENGTH && run.bytes().all(fits);
    (is_probe && is_run).then_some(probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, instance: &str, probe: &str) -> ObjectMeta {
        let labels = [(INSTANCE_LABEL, instance), (PROBE_LABEL, probe)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into()),
            uid: Some("5f0c".to_owned()),
            resource_version: Some("17".to_owned()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn only_a_canary_of_the_instance_is_its_own() {
        let good = "vsop-static-kv2-is98wcvru9uy3gy7";
        let own = OwnObject::of(&object(good, "default", "static-kv2"), "default");
        let own = own.expect("a canary");
        assert_eq!((own.name(), own.uid()), (good, "5f0c"));
        let preconditions = own.preconditions();
        assert_eq!(preconditions.uid.as_deref(), Some("5f0c"));
        assert_eq!(preconditions.resource_version.as_deref(), Some("17"));

        let foreign = [
            object(good, "other", "static-kv2"),
            object(good, "default", "static"),
            object("tenant-secret", "default", "static-kv2"),
            object("vsop-is98wcvru9uy3gy7", "default", ""),
            ObjectMeta {
                labels: None,
                ..object(good, "default", "static-kv2")
            },
            ObjectMeta {
                uid: None,
                ..object(good, "default", "static-kv2")
            },
            ObjectMeta {
                resource_version: None,
                ..object(good, "default", "static-kv2")
            },
        ];
        for metadata in foreign {
            assert_eq!(OwnObject::of(&metadata, "default"), None, "{metadata:?}");
        }
    }

    #[test]
    fn names_in_vault_that_are_no_canarys_are_told() {
        assert!(is_name(&name("a-b", &"x".repeat(RUN_LENGTH))));
        let others = [
            "vsop-dir/",
            "vsop-dir/inner",
            "vsop-a",
            "vsop--is98wcvru9uy3gy7",
            "vsop-a-is98wcvru9uy3gy7/",
            "vsop-a-is98wcvru9uy3gy",
            "vsop-a-IS98wcvru9uy3gy7",
            "vsop-a/../b-is98wcvru9uy3gy7",
            "xvsop-a-is98wcvru9uy3gy7",
            "5f0c3b1e-4f5a-4c1e-9d55-000000000000/",
        ];
        for other in others {
            assert!(!is_name(other), "{other}");
        }
    }
}
