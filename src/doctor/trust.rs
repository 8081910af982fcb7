//! The reason why a server's certificate is not trusted, and the fix: never overwrite a trusted CA,
//! and skip the check only where no CA can verify it.

use std::path::Path;

/// Why the TLS to a server fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Distrust {
    /// No known CA signed its certificate.
    UnknownIssuer,
    /// Its certificate is one for a CA, which signs others and is no server's.
    Authority,
    /// Its certificate is for another name.
    Name,
    /// Its certificate is out of its time.
    Time,
    /// Something else is wrong with its certificate.
    Certificate,
    /// It does not speak TLS, or none that the prober speaks.
    Protocol,
}

impl Distrust {
    /// By the words of the libraries for it; `None` if it is not TLS that failed.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if !says(&["invalid peer certificate"]) {
            let spoken = [
                "handshake",
                "corrupt message",
                "received fatal alert",
                "peer is incompatible",
                "peer misbehaved",
            ];
            return says(&spoken).then_some(Self::Protocol);
        }
        Some(if says(&["notvalidforname", "not valid for"]) {
            Self::Name
        } else if says(&["unknownissuer", "unknown issuer"]) {
            Self::UnknownIssuer
        } else if says(&["causedasendentity"]) {
            Self::Authority
        } else if says(&["expired", "notvalidyet", "not valid yet"]) {
            Self::Time
        } else {
            Self::Certificate
        })
    }

    /// What a person can do; `key` names the CA file in the configuration, and `file` is that file, if it is set.
    pub(super) fn advice(self, key: &str, file: Option<&Path>) -> String {
        let authority = file.map_or_else(
            || format!("set `{key}` to a file with the certificate of the CA that signed it"),
            |file| {
                format!(
                    "the CA that signed it is not in {}: add its certificate there, beside those in use",
                    file.display()
                )
            },
        );
        match self {
            Self::UnknownIssuer => format!(
                "{authority}; get it from the server's administrators, or compare its fingerprint with theirs before you trust it"
            ),
            Self::Authority => "issue a certificate for the server: it presents a CA's own certificate, which is only \
                 for signing others"
                .to_owned(),
            Self::Name => "use a name from the server's certificate, or issue one for the name in the address"
                .to_owned(),
            Self::Time => "renew the server's certificate, or correct the clocks if it has not expired".to_owned(),
            Self::Certificate => format!("fix the server's certificate; if it is good, {authority}"),
            Self::Protocol => "check that the address leads to a TLS port, and what is in between"
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_by_its_words() {
        let check = |text: &str, expected| assert_eq!(Distrust::of(text), expected, "{text}");
        let invalid = "error sending request: client error (Connect): invalid peer certificate: ";
        check(
            &format!("{invalid}UnknownIssuer"),
            Some(Distrust::UnknownIssuer),
        );
        check(
            &format!("{invalid}Other(OtherError(CaUsedAsEndEntity))"),
            Some(Distrust::Authority),
        );
        let name = "certificate not valid for name \"127.0.0.1\"; certificate is only valid for DnsName(\"vault\")";
        check(&format!("{invalid}{name}"), Some(Distrust::Name));
        check(
            &format!("{invalid}certificate expired: verification time …"),
            Some(Distrust::Time),
        );
        check(
            &format!("{invalid}BadSignature"),
            Some(Distrust::Certificate),
        );
        check(
            "received corrupt message of type InvalidContentType",
            Some(Distrust::Protocol),
        );
        check(
            "https://vault-tls:8200/certificate: Connection refused (os error 111)",
            None,
        );
    }

    #[test]
    fn nothing_advises_to_write_over_a_trusted_ca() {
        let file = Path::new("/etc/ca.crt");
        let all = [
            Distrust::UnknownIssuer,
            Distrust::Authority,
            Distrust::Name,
            Distrust::Time,
            Distrust::Certificate,
            Distrust::Protocol,
        ];
        for fault in all {
            let advice = fault.advice("vault.caFile", Some(file));
            assert!(
                !advice.contains('>') && !advice.contains("insecureSkipVerify"),
                "{advice}"
            );
            assert!(
                !advice.contains("/etc/ca.crt") || advice.contains("beside"),
                "{advice}"
            );
        }
    }
}
