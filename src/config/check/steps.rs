//! The check of a probe's steps.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Checker;
use crate::config::problem::listed;
use crate::config::{duration, raw, rule};
use crate::model::{Kind, Step};

/// The threshold of a step where none is written.
const fn usual(step: Step) -> Duration {
    match step {
        Step::Create | Step::Recreate | Step::Renew | Step::Rotate => Duration::from_secs(5),
        Step::Update | Step::Tamper => Duration::from_secs(2),
        Step::Delete => Duration::from_secs(10),
    }
}

impl Checker {
    pub(super) fn steps(
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
        if step == Step::Renew && is_static_role(raw) {
            let message = format!(
                "`{at}` is not a step of a static role, whose credential has no lease; allowed: create, rotate, delete",
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

fn is_static_role(raw: &raw::Probe) -> bool {
    let dynamic = raw.dynamic.as_ref();
    dynamic.is_some_and(|dynamic| dynamic.allow_static_creds == Some(true))
}

fn detects_drift(raw: &raw::Probe) -> bool {
    raw.fixed
        .as_ref()
        .is_none_or(|fixed| fixed.hmac_secret_data.unwrap_or(true))
}
