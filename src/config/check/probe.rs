//! The check of a probe and its steps.

use std::collections::HashMap;
use std::time::Duration;

use super::{Checker, Shared};
use crate::config::problem::quoted;
use crate::config::{
    DynamicTarget, PkiTarget, PostgresTarget, Probe, Refresh, StaticTarget, Target, duration, raw,
    rule,
};

/// What a target has of its probe.
struct Base {
    /// The `VaultAuth` where none is named.
    auth: String,
    /// The Vault namespace, if it is written.
    namespace: Option<String>,
}

impl Checker {
    pub(super) fn probes(&mut self, list: &[raw::Probe], shared: &Shared) -> Vec<Probe> {
        let mut first = HashMap::new();
        let mut probes = Vec::new();
        for (index, raw) in list.iter().enumerate() {
            let path = format!("probes[{index}]");
            self.once(&mut first, "probe", &path, raw.name.as_deref());
            probes.extend(self.probe(&path, raw, shared));
        }
        probes
    }

    fn probe(&mut self, path: &str, raw: &raw::Probe, shared: &Shared) -> Option<Probe> {
        let at = |key: &str| format!("{path}.{key}");
        // What the operator takes where a resource names no VaultAuth.
        let operators = shared.operators.as_deref();
        let operators = operators.unwrap_or(raw::OPERATOR_NAMESPACE);
        let base = &Base {
            auth: format!("{operators}/{}", raw::AUTH_REF),
            namespace: self.by(
                &at("vaultNamespace"),
                raw.vault_namespace.as_deref(),
                |text| rule::vault_namespace(text, shared.vault.as_deref()),
            ),
        };
        let name = self.by(&at("name"), raw.name.as_deref(), rule::name);
        let fixed = raw
            .fixed
            .as_ref()
            .and_then(|raw| self.fixed(&at("static"), raw, base));
        let dynamic = raw
            .dynamic
            .as_ref()
            .and_then(|raw| self.dynamic(&at("dynamic"), raw, base));
        let pki = raw
            .pki
            .as_ref()
            .and_then(|raw| self.pki(&at("pki"), raw, base));
        let every = self.by_or(&at("every"), raw.every.as_deref(), raw::EVERY, rule::period);
        let timeout = self.by_or(
            &at("timeout"),
            raw.timeout.as_deref(),
            raw::TIMEOUT,
            rule::period,
        );
        let steps = self.steps(path, raw, timeout);
        Some(Probe {
            name: name?,
            target: fixed.or(dynamic).or(pki)?,
            manifest: raw.manifest.unwrap_or_default(),
            marks: shared.marks.clone(),
            steps,
            every: every?,
            spread: raw.spread.unwrap_or(raw::SPREAD),
            timeout: timeout?,
            objective: raw.objective.unwrap_or(raw::OBJECTIVE),
        })
    }

    fn fixed(&mut self, path: &str, raw: &raw::Static, base: &Base) -> Option<Target> {
        let at = |key: &str| format!("{path}.{key}");
        let auth_ref = raw.auth_ref.as_deref();
        let auth_ref = self.by_or(&at("authRef"), auth_ref, &base.auth, rule::auth_ref);
        let mount = self.by(&at("mount"), raw.mount.as_deref(), rule::vault_path);
        let folder = self.by(&at("path"), raw.path.as_deref(), rule::vault_path);
        let refresh_after = self.by(
            &at("refreshAfter"),
            raw.refresh_after.as_deref(),
            rule::refresh,
        );
        Some(Target::Static(StaticTarget {
            auth_ref: auth_ref?,
            namespace: base.namespace.clone(),
            mount: mount?,
            version: raw.version?,
            path: folder?,
            refresh_after,
            hmac_secret_data: raw.hmac_secret_data.unwrap_or(true),
        }))
    }

    fn dynamic(&mut self, path: &str, raw: &raw::Dynamic, base: &Base) -> Option<Target> {
        let at = |key: &str| format!("{path}.{key}");
        let auth_ref = raw.auth_ref.as_deref();
        let auth_ref = self.by_or(&at("authRef"), auth_ref, &base.auth, rule::auth_ref);
        let mount = self.by(&at("mount"), raw.mount.as_deref(), rule::vault_path);
        let static_role = raw.allow_static_creds.unwrap_or(false);
        let rule = if static_role {
            rule::static_role_path
        } else {
            rule::leased_path
        };
        let credentials = self.by(&at("path"), raw.path.as_deref(), rule);
        if static_role {
            self.no_lease(path);
        }
        let params = raw.params.clone().unwrap_or_default();
        let postgres = raw
            .verify
            .as_ref()
            .and_then(|verify| verify.postgres.as_ref());
        let max_ttl = self.by_or(
            &at("maxTtl"),
            raw.max_ttl.as_deref(),
            raw::MAX_TTL,
            rule::life,
        );
        let verify = postgres.and_then(|raw| self.postgres(&at("verify.postgres"), raw));
        Some(Target::Dynamic(DynamicTarget {
            auth_ref: auth_ref?,
            namespace: base.namespace.clone(),
            mount: mount?,
            path: credentials?,
            params,
            method: raw.request_http_method,
            renewal_percent: raw.renewal_percent,
            revoke: raw.revoke.unwrap_or(!static_role),
            static_role,
            max_ttl: max_ttl?,
            verify,
        }))
    }

    /// Reports what is of no use with a static role: what asks for a lease, or for more than a read.
    fn no_lease(&mut self, path: &str) {
        let useless = [
            ("renewalPercent", "its credential has no lease to renew"),
            ("params", "its path is read"),
            ("requestHTTPMethod", "its path is read"),
        ];
        for (key, why) in useless {
            let at = format!("{path}.{key}");
            if self.places.written(&at) {
                let message =
                    format!("`{at}` can't stand beside `allowStaticCreds`: {why}; remove it");
                self.report_key(&at, message);
            }
        }
    }

    fn postgres(&mut self, path: &str, raw: &raw::Postgres) -> Option<PostgresTarget> {
        let host = self.by(&format!("{path}.host"), raw.host.as_deref(), rule::host);
        let database = self.by(
            &format!("{path}.database"),
            raw.database.as_deref(),
            rule::line,
        );
        Some(PostgresTarget {
            host: host?,
            port: raw.port.unwrap_or(raw::POSTGRES_PORT),
            database: database?,
            ssl_mode: raw.ssl_mode.unwrap_or_default(),
        })
    }

    fn pki(&mut self, path: &str, raw: &raw::Pki, base: &Base) -> Option<Target> {
        let at = |key: &str| format!("{path}.{key}");
        let auth_ref = raw.auth_ref.as_deref();
        let auth_ref = self.by_or(&at("authRef"), auth_ref, &base.auth, rule::auth_ref);
        let mount = self.by(&at("mount"), raw.mount.as_deref(), rule::vault_path);
        let role = self.by(&at("role"), raw.role.as_deref(), rule::role);
        let common_name = self.by(&at("commonName"), raw.common_name.as_deref(), rule::line);
        let listed = raw.alt_names.iter().flatten().enumerate();
        let alt_names: Vec<_> = listed
            .filter_map(|(index, name)| {
                self.by(&format!("{path}.altNames[{index}]"), Some(name), rule::line)
            })
            .collect();
        if !self.places.written(&at("commonName")) && alt_names.is_empty() {
            let message =
                format!("`{path}` has neither `commonName` nor `altNames`; one of them is needed");
            self.report_key(path, message);
        }
        let ttl = self.by(&at("ttl"), raw.ttl.as_deref(), rule::ttl);
        let not_after = self.by(&at("notAfter"), raw.not_after.as_deref(), rule::life);
        let expiry_offset = self.by(
            &at("expiryOffset"),
            raw.expiry_offset.as_deref(),
            rule::refresh,
        );
        let lives = [
            ("ttl", ttl.as_ref().map(|ttl| ttl.period)),
            ("notAfter", not_after),
        ];
        for (key, life) in lives {
            self.offset_within(&at("expiryOffset"), expiry_offset.as_ref(), key, life);
        }
        Some(Target::Pki(PkiTarget {
            auth_ref: auth_ref?,
            namespace: base.namespace.clone(),
            mount: mount?,
            role: role?,
            common_name,
            alt_names,
            ttl,
            not_after,
            expiry_offset,
        }))
    }

    /// Inside the offset the operator issues a new certificate every second.
    fn offset_within(
        &mut self,
        path: &str,
        offset: Option<&Refresh>,
        key: &str,
        life: Option<Duration>,
    ) {
        if let (Some(offset), Some(life)) = (offset, life)
            && offset.period >= life
        {
            let message = format!(
                "`{path}` is {}; it must be shorter than `{key}`, which is `{}`",
                quoted(&offset.text),
                duration::format(life),
            );
            self.report(path, message);
        }
    }
}
