//! The context of the logs as far as the configuration gives it.

use crate::audit::address::Mode;
use crate::audit::context::{Context, Reader, Settings};
use crate::audit::identity::Person;
use crate::audit::trap::{Kind, Trap};
use crate::config::{self, AddressMode, Audit, Config, MetricsSource, ReaderBy};
use crate::operator::LoginIdentity;
use crate::serve::{prober, traps};

/// What a listed identity is.
pub(super) fn login(listed: &config::Identity) -> LoginIdentity {
    LoginIdentity {
        mount: listed.mount.clone(),
        role: listed.role.clone(),
        service_account: listed.service_account.to_string(),
        namespace: listed.namespace.clone().unwrap_or_default(),
    }
}

/// What is known from the beginning.
pub(super) fn known(config: &Config, audit: &Audit) -> Context {
    let readers = audit.readers.iter().map(|reader| {
        let pattern = Some(reader.pattern.clone());
        let mut person = Person::default();
        match reader.by {
            ReaderBy::DisplayName => person.display_name = pattern,
            ReaderBy::Role => person.role = pattern,
            ReaderBy::ServiceAccount => person.service_account = pattern,
            ReaderBy::Policy => person.policy = pattern,
            ReaderBy::Entity => person.entity = pattern,
        }
        Reader {
            path: reader.path.clone(),
            person,
        }
    });
    let decoys = audit.decoys.iter().map(|decoy| Trap {
        mount: decoy.mount.clone(),
        path: decoy.path.clone(),
        kind: Kind::Decoy,
        namespace: config.vault.namespace.clone().unwrap_or_default(),
    });
    Context {
        settings: Settings {
            grace: audit.grace,
            lag: audit.lag,
            remember: audit.remember,
            address: match audit.address {
                AddressMode::Auto => None,
                AddressMode::Pod => Some(Mode::Pod),
                AddressMode::Node => Some(Mode::Node),
                AddressMode::Proxy => Some(Mode::Proxy),
                AddressMode::Off => Some(Mode::Off),
            },
            trusted: audit.trusted.clone(),
        },
        traps: traps(config).into_iter().chain(decoys).collect(),
        probers: prober(&config.vault).into_iter().collect(),
        readers: readers.collect(),
        counts: matches!(
            config.operator.metrics,
            Some(MetricsSource::Url { .. } | MetricsSource::Pods { .. })
        ),
        ..Context::default()
    }
}
