//! The check of a private key against its certificate. The key is compared and never kept.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate as X509;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode as _, Reader, SliceReader};

use super::PRIVATE_KEY;

/// The kinds of keys that `ring` knows (RFC 3279, 5480 and 8410), and the curves of one of them.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// The least length of an RSA key that `ring` takes, in bytes.
const RSA_BYTES: usize = 256;

/// Why the private key is not the certificate's.
pub(super) fn flaw(x509: &X509, der: &CertificateDer<'_>, key: Option<&[u8]>) -> Option<String> {
    let Some(key) = key else {
        return Some(format!("the Secret has no `{PRIVATE_KEY}`"));
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        return Some(format!("`{PRIVATE_KEY}` is not a PEM key"));
    };
    if !is_comparable(x509) {
        tracing::debug!("keys of this certificate's kind can't be compared");
        return None;
    }
    let Ok(key) = rustls::crypto::ring::sign::any_supported_type(&key) else {
        return Some(format!(
            "`{PRIVATE_KEY}` is not a key of the certificate's kind"
        ));
    };
    let pair = CertifiedKey::new(vec![der.clone().into_owned()], key);
    let matches = pair.keys_match().is_ok();
    (!matches).then(|| format!("`{PRIVATE_KEY}` belongs to another certificate"))
}

/// Whether its key is of a kind that `ring` knows.
fn is_comparable(x509: &X509) -> bool {
    let key = x509.tbs_certificate().subject_public_key_info();
    match key.algorithm.oid {
        RSA => {
            modulus_bytes(key.subject_public_key.raw_bytes()).is_ok_and(|bytes| bytes >= RSA_BYTES)
        }
        ELLIPTIC => {
            let curve = key.algorithm.parameters.as_ref();
            let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
            curve.is_some_and(|curve| [P256, P384].contains(&curve))
        }
        other => other == ED25519,
    }
}

/// The length of an RSA key (RFC 8017, A.1.1), in bytes.
fn modulus_bytes(key: &[u8]) -> Result<usize, der::Error> {
    SliceReader::new(key)?.sequence(|fields: &mut SliceReader<'_>| {
        let modulus = UintRef::decode(fields)?;
        UintRef::decode(fields)?;
        Ok(modulus.as_bytes().len())
    })
}
