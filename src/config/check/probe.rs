//! The check of a probe and its steps.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{Checker, Shared};
use crate::config::problem::{listed, quoted};
use crate::config::{
    DynamicTarget, PkiTarget, PostgresTarget, Probe, Refresh, StaticTarget, Target, duration, raw,
    rule,
};
use crate::model::{Kind, Step};

/// What a target has of its probe.
struct Base {
    /// The `VaultAuth` where none is named.
    auth: String,
    /// The Vault namespace, if it is written.
    namespace: Option<String>,
}

/// The threshold of a step where none is written.
const fn usual(step: Step) -> Duration {
    match step {
        Step::Create | Step::Recreate | Step::Renew | Step::Rotate => Duration::from_secs(5),
        Step::Update | Step::Tamper => Duration::from_secs(2),
        Step::Delete => Duration::from_secs(10),
    }
}

impl Checker {
    pub(super) fn probes(&mut self, list: &[raw::Probe], shared: &Shared) -> Vec<Probe> {
        let mut first: HashMap<&str, String> = HashMap::new();
        let mut probes = Vec::new();
        for (index, raw) in list.iter().enumerate() {
            let path = format!("probes[{index}]");
            if let Some(name) = raw.name.as_deref() {
                let at = format!("{path}.name");
                if let Some(other) = first.get(name) {
                    let line = self.places.value(other).line;
                    let message = format!(
                        "`{at}` is {}, as is `{other}` on line {line}; \
                         each probe must have a name of its own",
                        quoted(name),
                    );
                    self.report(&at, message);
                } else {
                    first.insert(name, at);
                }
            }
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
        let credentials = self.by(&at("path"), raw.path.as_deref(), rule::leased_path);
        let params = raw.params.clone().unwrap_or_default();
        let postgres = raw
            .verify
            .as_ref()
            .and_then(|verify| verify.postgres.as_ref());
        let max_ttl = self.by_or(
            &at("maxTtl"),
            raw.max_ttl.as_deref(),
            raw::MAX_TTL,
            rule::period,
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
            revoke: raw.revoke.unwrap_or(true),
            max_ttl: max_ttl?,
            verify,
        }))
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
        let not_after = self.by(&at("notAfter"), raw.not_after.as_deref(), rule::period);
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

    fn steps(
        &mut self,
        path: &str,
        raw: &raw::Probe,
        timeout: Option<Duration>,
    ) -> BTreeMap<Step, Duration> {
        let kind = kind(raw);
        let mut steps = BTreeMap::new();
        if let Some(written) = &raw.steps {
            for step in Step::ALL {
                let at = format!("{path}.steps.{step}");
                if !self.places.written(&at) {
                    continue;
                }
                if let Some(kind) = kind {
                    self.can_take(&at, path, kind, raw, step);
                }
                if let Some(within) = self.by(&at, written.get(step), rule::period) {
                    steps.insert(step, within);
                }
            }
        } else if let Some(kind) = kind
            && !self.places.written(&format!("{path}.steps"))
        {
            let usual_steps = kind
                .steps()
                .iter()
                .copied()
                .filter(|step| self.at_once(path, raw, *step));
            steps.extend(usual_steps.map(|step| (step, usual(step))));
        }
        if let Some(timeout) = timeout {
            for (step, within) in &steps {
                self.within_timeout(path, *step, *within, timeout);
            }
        }
        steps
    }

    /// Whether a step is taken where none are written: what waits for the end of a lease or
    /// certificate is not, as it may take days.
    fn at_once(&self, path: &str, raw: &raw::Probe, step: Step) -> bool {
        match step {
            Step::Create | Step::Recreate | Step::Delete => true,
            Step::Update => self.polled(path),
            Step::Tamper => self.polled(path) && detects_drift(raw),
            Step::Renew | Step::Rotate => false,
        }
    }

    fn polled(&self, path: &str) -> bool {
        self.places.written(&format!("{path}.static.refreshAfter"))
    }

    /// Notes why a step that is written can't be taken.
    fn can_take(&mut self, at: &str, path: &str, kind: Kind, raw: &raw::Probe, step: Step) {
        if !kind.steps().contains(&step) {
            let allowed: Vec<&str> = kind.steps().iter().map(|step| step.as_str()).collect();
            let message = format!(
                "`{at}` is not a step of a `{kind}` probe; allowed: {}",
                listed(&allowed, ", "),
            );
            self.report_key(at, message);
            return;
        }
        if matches!(step, Step::Update | Step::Tamper) && !self.polled(path) {
            let message = format!(
                "`{at}` needs `{path}.static.refreshAfter`; \
                 without it the operator never polls, so there is nothing to judge the step by",
            );
            self.report_key(at, message);
        }
        if step == Step::Tamper && !detects_drift(raw) {
            let message = format!(
                "`{at}` needs `{path}.static.hmacSecretData` to be `true`; \
                 without it the operator does not notice an edited Secret",
            );
            self.report_key(at, message);
        }
        let offset = format!("{path}.pki.expiryOffset");
        if kind == Kind::Pki && step == Step::Rotate && !self.places.written(&offset) {
            let message = format!(
                "`{at}` needs `{offset}`; without it a certificate is replaced only after it has expired",
            );
            self.report_key(at, message);
        }
    }

    /// A threshold that the timeout comes before could never be met late, and a timeout would lie in a finite bucket.
    fn within_timeout(&mut self, path: &str, step: Step, within: Duration, timeout: Duration) {
        if within < timeout {
            return;
        }
        let at = format!("{path}.steps.{step}");
        let (within, timeout) = (duration::format(within), duration::format(timeout));
        if self.places.written(&at) {
            let message = format!(
                "`{at}` is `{within}`; it must be shorter than `{path}.timeout`, which is `{timeout}`",
            );
            self.report(&at, message);
        } else {
            let message = format!(
                "`{path}.timeout` is `{timeout}`; it must be longer than each threshold, \
                 and the default of `{step}` is `{within}`",
            );
            self.report(&format!("{path}.timeout"), message);
        }
    }
}

/// The kind, if there is exactly one.
fn kind(raw: &raw::Probe) -> Option<Kind> {
    match (
        raw.fixed.is_some(),
        raw.dynamic.is_some(),
        raw.pki.is_some(),
    ) {
        (true, false, false) => Some(Kind::Static),
        (false, true, false) => Some(Kind::Dynamic),
        (false, false, true) => Some(Kind::Pki),
        _ => None,
    }
}

fn detects_drift(raw: &raw::Probe) -> bool {
    raw.fixed
        .as_ref()
        .is_none_or(|fixed| fixed.hmac_secret_data.unwrap_or(true))
}
