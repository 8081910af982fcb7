//! The rules where a certificate is the proof.

use super::case::{Case, status};
use super::said;
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::certificate::Certificate;
use crate::model::proof::Proof;

/// So many new certificates in one step no schedule explains: one is due, and somebody may have touched the
/// Secret besides.
const CHURN: usize = 3;
/// From one failed request to Vault on it is said that requests failed.
const FAILED: f64 = 1.0;

/// Whether a right certificate is there that the watch did not show.
pub(super) fn unseen(case: &Case<'_>) -> bool {
    let certificates = &case.account.certificates;
    let right = certificates.now.as_ref().is_some_and(Certificate::is_right);
    right && !certificates.shown
}

/// The operator does not say why it could not write a certificate's Secret; whether somebody else's is in
/// its way can be told all the same.
pub(super) fn not_written(case: &Case<'_>) -> Option<Blame> {
    if case.step.proof != Proof::Certificate {
        return None;
    }
    let said = status(case.account.words.unwritten.clone()?);
    let there = matches!(case.step.findings.secret.get(), Some(Some(_)));
    Some(if there && !case.account.certificates.any {
        let text = "a Secret of that name exists that the operator did not write";
        Blame::new(Cause::DestinationConflict, status(text)).and([said])
    } else {
        Blame::new(Cause::SecretWriteDenied, said)
    })
}

/// What is in the Secret is not what was asked for, or not what the operator says it is.
pub(super) fn wrong(case: &Case<'_>) -> Option<Blame> {
    let certificate = case.account.certificates.now.as_ref()?;
    let of = match certificate.serial.as_str() {
        "" => "the certificate in the Secret has".to_owned(),
        serial => format!("certificate `{serial}` in the Secret has"),
    };
    let mut flaws = certificate
        .flaws
        .iter()
        .map(|flaw| status(format!("{of} the wrong {flaw}")));
    if let Some(first) = flaws.next() {
        return Some(Blame::new(Cause::WrongContent, first).and(flaws));
    }
    let named = case.account.resource.as_ref()?.serial.as_deref()?;
    (certificate.serial != named).then(|| {
        let text = format!(
            "the Secret holds certificate `{}`, but the resource's status names `{named}`",
            certificate.serial
        );
        Blame::new(Cause::WrongContent, status(text))
    })
}

/// One certificate followed the other, and none outlasts that before the step.
pub(super) fn churn(case: &Case<'_>) -> Option<Blame> {
    let (_, before) = case.account.certificates.before.as_ref()?;
    let followed = case.account.certificates.followed;
    (followed >= CHURN).then(|| {
        let text = format!(
            "the operator wrote {followed} certificates in {:.1} s, none of which lasts longer than the one before, which ends {}: \
             within `expiryOffset` of a fixed `notAfter` it issues a new one every second",
            case.step.ended.since(case.step.started).as_secs_f64(),
            before.not_after
        );
        Blame::new(Cause::Churn, status(text))
    })
}

/// The operator's requests to Vault failed, and it says nothing: of a certificate that Vault refused it would,
/// but of a login it does not.
pub(super) fn login_refused(case: &Case<'_>) -> Option<Blame> {
    let resource = case.account.resource.as_ref()?;
    let silent = case.step.proof == Proof::Certificate
        && case.account.certificates.now.is_none()
        && !resource.told;
    let window = case.account.window.ok().flatten();
    let window = window.filter(|window| window.own_connection)?;
    let errors = window.delta.vault_errors;
    (silent && errors >= FAILED).then(|| {
        let text = format!(
            "{errors:.0} of the operator's requests to Vault failed and it requested no certificate: Vault refused its login"
        );
        Blame::new(Cause::LoginFailed, Evidence::new(Source::Metrics, text))
    })
}

/// The certificate is there, but the operator does not say that it is its own.
pub(super) fn unnamed(case: &Case<'_>) -> Option<Blame> {
    let certificate = case.account.certificates.now.as_ref()?;
    let unnamed = certificate.is_right() && case.account.resource.as_ref()?.serial.is_none();
    unnamed.then(|| {
        let text =
            "the Secret holds a certificate, but the resource's status names no serial number";
        Blame::new(Cause::OperatorStalled, status(text)).and(said::warnings(case))
    })
}
