//! The canaries and the prober, as the judge of audit logs knows them by the configuration.

use crate::audit::identity::Person;
use crate::audit::trap::{Kind, Trap};
use crate::canary::kv_folder;
use crate::config::{Auth, Config};

/// The folders of the canaries.
pub fn traps(config: &Config) -> Vec<Trap> {
    let folders = config
        .probes
        .iter()
        .filter_map(|probe| kv_folder(&probe.target, &config.instance));
    let canaries = folders.map(|folder| Trap {
        mount: folder.mount,
        path: folder.path,
        kind: Kind::Canary,
    });
    canaries.collect()
}

/// The prober by its login.
pub fn prober(auth: &Auth) -> Option<Person> {
    let (mount, role) = match auth {
        Auth::Token(_) => return None,
        Auth::Kubernetes { mount, role, .. } | Auth::Jwt { mount, role, .. } => {
            (mount, Some(role.clone()))
        }
        Auth::AppRole { mount, .. } => (mount, None),
    };
    let prefix = mount.trim_matches('/').replace('/', "-");
    Some(Person {
        display_name: Some(format!("{prefix}*")),
        role,
        ..Person::default()
    })
}
