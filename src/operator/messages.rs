//! The operator's messages, in conditions and events: the time that they announce, the lease and the cause that they name.

use std::time::Duration;

use super::api;
use crate::model::cause::Cause;

/// How the messages begin in which the operator names a lease and when it will be back for it.
const ANNOUNCING: [&str; 2] = ["Secret synced", "Renewed lease"];
/// How the message begins in which it says that it could not write a Secret, and not why.
pub(super) const UNWRITTEN: &str = "Secret sync error";
/// What it says of a lease for which Vault granted less than was asked for.
pub(super) const TRUNCATED: &str = "truncated";
/// What it says of a lease that Vault has no more.
pub(super) const LEASE_NOT_FOUND: &str = "lease not found";

/// The reason of an event that warns of nothing: the status is written again.
pub(super) const HARMLESS: &str = "StatusUpdateError";

/// Whether a message says when the operator will be back for this lease.
pub fn announces(message: &str, lease: &str) -> bool {
    let announces = ANNOUNCING.iter().any(|word| message.starts_with(word));
    announces && lease_in(message) == Some(lease)
}

/// The time after which the operator says that it will be back, the `horizon=` of a message, if it is a time ahead.
pub fn back_in(message: &str) -> Option<Duration> {
    let rest = message.split("horizon=").nth(1)?;
    api::go_duration(rest.split([',', ' ']).next()?)
}

/// The lease that a message names.
pub fn lease_in(message: &str) -> Option<&str> {
    let rest = message.split("lease_id=").nth(1)?;
    let id = rest.trim_start_matches('"').split(['"', ',', ' ']).next()?;
    (!id.is_empty()).then_some(id)
}

/// Reads an error as the operator reports it. `None` if it says nothing that could be blamed on
/// anyone, e.g. a lost race for the status.
///
/// The texts are those of the operator, of Vault's own client and of Go's libraries, as recorded from them. What names a
/// Secret, a key, a code of Vault's or a refusal of Kubernetes' is never the operator's fault.
pub(super) fn classify(text: &str) -> Option<Cause> {
    if lost_race(text) {
        return None;
    }
    // The order matters: the narrow before the wide.
    by_kubernetes(text)
        .or_else(|| by_way_to_vault(text))
        .or_else(|| by_vault(text))
}

/// What an event's reason tells whose message says nothing that is known. The operator tells what it tried, and why that
/// failed is no fault of its own as far as it knows.
pub(super) fn by_reason(reason: &str, text: &str) -> Option<Cause> {
    if lost_race(text) {
        return None;
    }
    match reason {
        "VaultClientConfigError" | "InvalidResourceRef" => Some(Cause::AuthRefInvalid),
        "VaultClientError" | "SecretLeaseRenewalError" | "CertificateRevocationError" => {
            Some(Cause::VaultRejected)
        }
        "SecretSyncError" => Some(Cause::SecretWriteDenied),
        "TransformationError" | "SecretDataBuilderError" => Some(Cause::TransformationFailed),
        "InvalidConfiguration" => Some(Cause::ProbeUnfit),
        _ => None,
    }
}

/// Whether a message tells of a lost race for an object, which is nobody's fault and over at the next try.
pub(super) fn lost_race(text: &str) -> bool {
    text.contains("the object has been modified")
}

/// What Kubernetes refused, or has not.
fn by_kubernetes(text: &str) -> Option<Cause> {
    let has = |word: &str| text.contains(word);
    if has("serviceaccounts") && has("is forbidden") {
        return Some(Cause::LoginFailed);
    }
    if has("not the owner of the destination") || has("invalid owner label") {
        return Some(Cause::DestinationConflict);
    }
    if has("exceeded quota")
        || has("admission webhook")
        || has("failed calling webhook")
        || has("ValidatingAdmissionPolicy")
        || (has("secrets \"") && has("is forbidden"))
    {
        return Some(Cause::SecretWriteDenied);
    }
    // A request to Kubernetes that got no answer would else be taken for one to Vault.
    if has("k8s secret") && (has("/api/v1/") || has("/apis/")) {
        return Some(Cause::SecretWriteDenied);
    }
    if has("ServiceAccount") && has("not found") {
        return Some(Cause::LoginFailed);
    }
    // A Secret that a VaultAuth or a VaultConnection names, or a key of it.
    let absent = has("secrets \"") && has("not found");
    if absent || has("not present in the CA secret") || has("no key found in secret") {
        let login = has("auth login") || has("credential");
        return Some(if login {
            Cause::LoginFailed
        } else {
            Cause::AuthRefInvalid
        });
    }
    let of_references = has("VaultAuth") || has("VaultConnection");
    let invalid = ["not found", "invalid", "not configured", "must be set"];
    if has("is not allowed by kind=VaultAuth") || (of_references && invalid.into_iter().any(has)) {
        return Some(Cause::AuthRefInvalid);
    }
    None
}

/// What came between the operator and Vault.
fn by_way_to_vault(text: &str) -> Option<Cause> {
    let has = |word: &str| text.contains(word);
    if has("Vault is sealed") || has("vault is sealed") {
        return Some(Cause::VaultSealed);
    }
    if has("certificate has expired") {
        return Some(Cause::VaultUnreachable);
    }
    // What the VaultConnection says of Vault is not so: its CA, the name in its certificate, its scheme.
    if [
        "x509:",
        "server gave HTTP response to HTTPS client",
        "Client sent an HTTP request to an HTTPS server",
        "does not look like a TLS handshake",
        "unsupported protocol scheme",
    ]
    .into_iter()
    .any(has)
    {
        return Some(Cause::AuthRefInvalid);
    }
    [
        "connection refused",
        "no such host",
        "i/o timeout",
        "deadline exceeded",
        "Client.Timeout",
        "connection reset",
        "no route to host",
        "network is unreachable",
        ": EOF",
        "proxyconnect",
    ]
    .into_iter()
    .any(has)
    .then_some(Cause::VaultUnreachable)
}

/// What Vault answered.
fn by_vault(text: &str) -> Option<Cause> {
    let has = |word: &str| text.contains(word);
    let code = text
        .split("Code: ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse::<u16>().ok());
    if has("empty response from Vault") {
        return Some(Cause::VaultPathMissing);
    }
    match code {
        Some(429) => Some(Cause::VaultLimited),
        Some(500..) => Some(Cause::VaultError),
        Some(_) if has("/login") => Some(Cause::LoginFailed),
        Some(403) => Some(Cause::VaultDenied),
        Some(404) => Some(Cause::VaultPathMissing),
        Some(400) if has("unsupported path") || has("unknown role") => {
            Some(Cause::VaultPathMissing)
        }
        Some(_) => Some(Cause::VaultRejected),
        None if has("template") || has("ransformation") => Some(Cause::TransformationFailed),
        None if has("nil response from") || has("no responses for") => {
            Some(Cause::VaultPathMissing)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_recorded_events_are_understood() {
        let synced = "Secret synced, lease_id=\"database/creds/probe/uTcr7W\", horizon=31.048437845s, sync_reason=\"InitialSync\"";
        assert_eq!(lease_in(synced), Some("database/creds/probe/uTcr7W"));
        assert_eq!(back_in(synced), Some(Duration::from_nanos(31_048_437_845)));
        let renewed = "Renewed lease, lease_id=database/creds/probe/uTcr7W, horizon=7.5s";
        assert_eq!(lease_in(renewed), Some("database/creds/probe/uTcr7W"));
        assert_eq!(back_in(renewed), Some(Duration::from_millis(7500)));
        assert_eq!(lease_in("Secret synced, lease_id=\"\", horizon=0s"), None);
    }

    #[test]
    fn recorded_messages_are_understood() {
        let check = |text: &str, expected: Option<Cause>| {
            assert_eq!(classify(text), expected, "{text}");
        };
        check(
            "Failed to get Vault auth login: Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/auth/kubernetes/login\nCode: 400. Errors:\n\n* invalid role name \"nope\"",
            Some(Cause::LoginFailed),
        );
        check(
            "Failed to get cacheKey from obj, err=ServiceAccount \"ghost\" not found",
            Some(Cause::LoginFailed),
        );
        check(
            "Failed to get Vault auth login: Put \"http://127.0.0.1:8299/v1/auth/kubernetes/login\": dial tcp 127.0.0.1:8299: connect: connection refused",
            Some(Cause::VaultUnreachable),
        );
        check(
            "Failed to read Vault secret: Error making API request.\n\nURL: GET http://127.0.0.1:8200/v1/sys/x\nCode: 403. Errors:\n\n* 1 error occurred:\n\t* permission denied\n\n",
            Some(Cause::VaultDenied),
        );
        check(
            "Failed to read Vault secret: empty response from Vault, path=\"kvv2/data/missing\"",
            Some(Cause::VaultPathMissing),
        );
        check(
            "Failed to update k8s secret: invalid owner label, key=app.kubernetes.io/name, present=false\nnot the owner of the destination Secret vso-probe/taken",
            Some(Cause::DestinationConflict),
        );
        check(
            "Error making API request.\n\nURL: GET http://127.0.0.1:8200/v1/kvv2/data/x\nCode: 503. Errors:\n\n* Vault is sealed",
            Some(Cause::VaultSealed),
        );
        check(
            "Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/auth/kubernetes/login\nCode: 500. Errors:\n\n* internal error",
            Some(Cause::VaultError),
        );
        check(
            "Failed to issue certificate from Vault: Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/pki/issue/nope\nCode: 400. Errors:\n\n* unknown role: nope",
            Some(Cause::VaultPathMissing),
        );
        check(
            "Failed to sync the secret, horizon=4.1s, err=Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/pki/issue/probe\nCode: 400. Errors:\n\n* common name other.example not allowed by this role",
            Some(Cause::VaultRejected),
        );
        check(
            "Failed to get Vault auth login: secrets \"approle\" not found",
            Some(Cause::LoginFailed),
        );
        check("secrets \"nope\" not found", Some(Cause::AuthRefInvalid));
        check(
            "\"ca.crt\" not present in the CA secret \"vault-ca\"",
            Some(Cause::AuthRefInvalid),
        );
        check(
            "Failed to read Vault secret: Error making API request.\n\nURL: GET http://127.0.0.1:8200/v1/ssh/sign/x\nCode: 405. Errors:\n\n* 1 error occurred:\n\t* unsupported operation\n\n",
            Some(Cause::VaultRejected),
        );
        check(
            "Failed to get Vault auth login: Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/auth/kubernetes/login\nCode: 429. Errors:\n\n* rate limit quota exceeded",
            Some(Cause::VaultLimited),
        );
        check(
            "Put \"https://127.0.0.1:8200/v1/auth/kubernetes/login\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Some(Cause::AuthRefInvalid),
        );
        check(
            "Get \"https://127.0.0.1:8200/v1/sys/seal-status\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
            Some(Cause::VaultUnreachable),
        );
        check(
            "target namespace vso-probe is not allowed by kind=VaultAuth, name=probe",
            Some(Cause::AuthRefInvalid),
        );
        check(
            "VaultConnection.secrets.hashicorp.com \"x\" not found",
            Some(Cause::AuthRefInvalid),
        );
        check(
            "Failed to update k8s secret: secrets \"x\" is forbidden: exceeded quota: none, requested: secrets=1, used: secrets=0, limited: secrets=0",
            Some(Cause::SecretWriteDenied),
        );
        check(
            "serviceaccounts \"probe\" is forbidden: User \"system:serviceaccount:vault-secrets-operator-system:x\" cannot create resource \"serviceaccounts/token\"",
            Some(Cause::LoginFailed),
        );
        check(
            "Failed to update k8s secret: Put \"https://10.96.0.1:443/api/v1/namespaces/n/secrets/s\": dial tcp 10.96.0.1:443: i/o timeout",
            Some(Cause::SecretWriteDenied),
        );
        check(
            "Failed to update the resource's status, err=Operation cannot be fulfilled on vaultstaticsecrets.secrets.hashicorp.com \"e\": the object has been modified; please apply your changes to the latest version and try again",
            None,
        );
    }
}
