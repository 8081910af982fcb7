//! The reason why a server's certificate is not trusted, and the fix: never overwrite a trusted CA,
//! and skip the check only where no CA can verify it.

use std::path::Path;

use crate::model::reply::Distrust;

/// What a person can do; `key` names the CA file in the configuration, and `file` is that file, if it is set.
pub(super) fn advice(fault: Distrust, key: &str, file: Option<&Path>) -> String {
    let authority = file.map_or_else(
        || format!("set `{key}` to a file with the certificate of the CA that signed it"),
        |file| {
            format!(
                "the CA that signed it is not in {}: add its certificate there, beside those in use",
                file.display()
            )
        },
    );
    match fault {
        Distrust::UnknownIssuer => format!(
            "{authority}; get it from the server's administrators, or compare its fingerprint with theirs before you trust it"
        ),
        Distrust::Authority => {
            format!(
                "issue a certificate for the server: it presents a CA's own certificate, which is only for signing others; \
                 or, if that is meant, set `{key}` to exactly that certificate"
            )
        }
        Distrust::Name => {
            let key = if key == "vault.caFile" {
                ", or set `vault.tlsServerName` to one"
            } else {
                ""
            };
            format!(
                "use a name from the server's certificate{key}, or issue one for the name in the address"
            )
        }
        Distrust::Time => {
            "renew the server's certificate, or correct the clocks if it has not expired".to_owned()
        }
        Distrust::Certificate => {
            format!("fix the server's certificate; if it is good, {authority}")
        }
        Distrust::Protocol => {
            "check that the address leads to a TLS port, and what is in between".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let advice = advice(fault, "vault.caFile", Some(file));
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
