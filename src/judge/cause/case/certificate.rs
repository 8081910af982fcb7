//! The evidence for each cause where a certificate is the proof.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Case;
use crate::judge::stages;
use crate::model::Mark;
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::certificate::Certificate;
use crate::model::promise::Promise;
use crate::model::proof::Proof;

/// So many new certificates in one step no schedule explains: one is due, and somebody may have touched the
/// Secret besides.
const CHURN: usize = 3;
/// Clocks may differ by so much, and the end of a certificate is in whole seconds.
const SLACK: Duration = Duration::from_secs(2);

impl Case<'_> {
    /// The certificate in the Secret as asked for directly or, failing that, as last seen.
    fn certificate(&self) -> Option<&Certificate> {
        if self.step.proof != Proof::Certificate {
            return None;
        }
        let seen = || Some(self.record.timeline.certificates().next_back()?.1);
        self.step.findings.certificate.as_ref().or_else(seen)
    }

    /// Whether a right certificate is there that the watch did not show.
    pub(super) fn certificate_unseen(&self) -> bool {
        let mut shown = self.record.timeline.certificates();
        self.certificate().is_some_and(|found| {
            found.is_right() && shown.all(|(_, seen)| seen.serial != found.serial)
        })
    }

    /// What is in the Secret is not what was asked for, or not what the operator says it is.
    pub(in crate::judge) fn wrong_certificate(&self) -> Option<Blame> {
        let certificate = self.certificate()?;
        let blame = |text| Blame::new(Cause::WrongContent, Evidence::new(Source::Status, text));
        let of = match certificate.serial.as_str() {
            "" => "the certificate in the Secret has".to_owned(),
            serial => format!("certificate `{serial}` in the Secret has"),
        };
        let mut flaws = certificate
            .flaws
            .iter()
            .map(|flaw| format!("{of} the wrong {flaw}"));
        if let Some(first) = flaws.next() {
            let rest = flaws.map(|text| Evidence::new(Source::Status, text));
            return Some(blame(first).and(rest));
        }
        let named = self.resource()?.serial.as_deref()?;
        (certificate.serial != named).then(|| {
            blame(format!(
                "the Secret holds certificate `{}`, but the resource's status names `{named}`",
                certificate.serial
            ))
        })
    }

    /// One certificate followed the other, and none outlasts that before the step.
    pub(in crate::judge) fn certificate_churn(&self) -> Option<Blame> {
        if self.step.proof != Proof::Certificate {
            return None;
        }
        let (started, ended) = (self.step.started, self.step.ended);
        let (_, before) = self.record.timeline.certificate_at(started)?;
        let within = self.record.timeline.certificates();
        let within = within
            .filter(|(at, seen)| (started < *at && *at <= ended) && seen.serial != before.serial);
        let serials: BTreeSet<_> = within.map(|(_, seen)| &seen.serial).collect();
        (serials.len() >= CHURN).then(|| {
            let text = format!(
                "the operator wrote {} certificates in {:.1} s, none of which lasts longer than the one before, which ends {}: \
                 within `expiryOffset` of a fixed `notAfter` it issues a new one every second",
                serials.len(),
                ended.since(started).as_secs_f64(),
                before.not_after
            );
            Blame::new(Cause::Churn, Evidence::new(Source::Status, text))
        })
    }

    /// The next certificate came before its time.
    pub(in crate::judge) fn rotated_early(&self, proof: Mark) -> Option<Blame> {
        let Promise::BeforeEnd(offset) = self.step.promise else {
            return None;
        };
        let (seen, before) = self.record.timeline.certificate_at(self.step.started)?;
        let soonest = seen.plus(before.left.saturating_sub(offset));
        let early = soonest.since(proof);
        (early > SLACK).then(|| {
            let text = format!(
                "certificate `{}` was replaced {:.1} s before it was due, {:.1} s after it was written",
                before.serial,
                early.as_secs_f64(),
                proof.since(seen).as_secs_f64()
            );
            Blame::new(Cause::Churn, Evidence::new(Source::Status, text))
        })
    }

    /// The operator's requests to Vault failed, and it says nothing: of a certificate that Vault refused it would,
    /// but of a login it does not.
    pub(in crate::judge) fn login_untold(&self) -> Option<Blame> {
        let silent = self.step.proof == Proof::Certificate
            && self.certificate().is_none()
            && self
                .resource()
                .is_some_and(|resource| resource.synced.is_none());
        let errors =
            stages::vault_errors(self.record, self.step).filter(|errors| *errors >= 1.0)?;
        silent.then(|| {
            let text = format!(
                "{errors:.0} of the operator's requests to Vault failed and it requested no certificate: Vault refused its login"
            );
            Blame::new(Cause::LoginFailed, Evidence::new(Source::Metrics, text))
        })
    }

    /// The certificate is there, but the operator does not say that it is its own.
    pub(in crate::judge) fn certificate_unnamed(&self) -> Option<Blame> {
        let certificate = self.certificate()?;
        let unnamed = certificate.is_right() && self.resource()?.serial.is_none();
        unnamed.then(|| {
            let text =
                "the Secret holds a certificate, but the resource's status names no serial number";
            Blame::new(Cause::OperatorStalled, Evidence::new(Source::Status, text))
                .and(self.warnings())
        })
    }

    /// The operator does not say why it could not write a certificate's Secret; whether somebody else's is in
    /// its way can be told all the same.
    pub(in crate::judge) fn certificate_not_written(&self) -> Option<Blame> {
        if self.step.proof != Proof::Certificate {
            return None;
        }
        let message = &self
            .resource()?
            .synced
            .as_ref()
            .filter(|state| !state.ok)?
            .message;
        if !message.starts_with("Secret sync error") {
            return None;
        }
        let own = self.record.timeline.certificates().next().is_some();
        let there = matches!(self.step.findings.secret.get(), Some(Some(_)));
        let told = Evidence::new(Source::Status, message.clone());
        Some(if there && !own {
            let text = "a Secret of that name exists that the operator did not write";
            let found = Evidence::new(Source::Status, text);
            Blame::new(Cause::DestinationConflict, found).and([told])
        } else {
            Blame::new(Cause::SecretWriteDenied, told)
        })
    }
}
