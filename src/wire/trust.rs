//! The check of a server's certificate: by the CAs of the system and of a file, and for the name that it must have.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::ExtendedKeyUsage;

/// The purpose that a certificate of a server's may be limited to: `id-kp-serverAuth`, or any.
const SERVES: [&str; 2] = ["1.3.6.1.5.5.7.3.1", "2.5.29.37.0"];

/// TLS with a server whose certificate one of the system's CAs signed, or one of `authorities`, and that names `name`,
/// if one is given, whatever the server is asked for as. A certificate that is itself one of `authorities` is trusted as
/// it is, as Go's programs do.
///
/// # Errors
/// There is no CA at all, or the name is not one.
pub fn tls(
    authorities: Vec<CertificateDer<'static>>,
    name: Option<&str>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(crypto::ring::default_provider());
    let by_authority = verifier(&authorities, &provider)
        .map_err(|error| format!("there is no CA certificate to check a server's with: {error}"))?;
    let name = name.map(|name| ServerName::try_from(name.to_owned()));
    let name = name
        .transpose()
        .map_err(|error| format!("the server's name in TLS can't be used: {error}"))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("can't create a TLS client: {error}"))?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier {
            by_authority,
            pinned: authorities,
            name,
        }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What trusts the system's CAs, or those in the file that `SSL_CERT_FILE` names, and `authorities`.
///
/// # Errors
/// There is no CA at all.
pub fn verifier(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(authorities.iter().cloned());
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build()
}

#[derive(Debug)]
struct Verifier {
    by_authority: Arc<WebPkiServerVerifier>,
    /// The certificates of the file.
    pinned: Vec<CertificateDer<'static>>,
    /// The name that a certificate must have.
    name: Option<ServerName<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(name);
        let verified =
            self.by_authority
                .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            Err(Error::InvalidCertificate(_)) if self.pinned.contains(certificate) => {
                as_it_is(certificate, name, now).map_err(Error::InvalidCertificate)
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// Whether a certificate that is trusted by itself is in its time, for a server, and for this one.
fn as_it_is(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, CertificateError> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let parsed = parsed.tbs_certificate();
    let validity = parsed.validity();
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired);
    }
    if let Ok(Some((_, usage))) = parsed.get_extension::<ExtendedKeyUsage>()
        && !usage
            .0
            .iter()
            .any(|one| SERVES.contains(&one.to_string().as_str()))
    {
        return Err(CertificateError::InvalidPurpose);
    }
    let named = webpki::EndEntityCert::try_from(certificate)
        .and_then(|entity| entity.verify_is_valid_for_subject_name(name));
    named.map_err(|_| CertificateError::NotValidForName)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
    };

    use super::*;

    /// What is made of the certificate of `named`, that is its own CA, where `pinned` are trusted.
    fn check(
        edit: impl FnOnce(&mut CertificateParams),
        pinned: bool,
        name: Option<&str>,
    ) -> Result<(), Error> {
        let mut params = CertificateParams::new(["vault.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let other = CertificateParams::new(["other.example".to_owned()]).unwrap();
        let other = other.self_signed(&key).unwrap().der().clone();
        let trusted = if pinned { certificate.clone() } else { other };
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = Verifier {
            by_authority: WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .unwrap(),
            pinned: vec![trusted],
            name: name.map(|name| ServerName::try_from(name.to_owned()).unwrap()),
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let asked = ServerName::try_from("vault.example").unwrap();
        let verified = verifier.verify_server_cert(&certificate, &[], &asked, &[], now);
        verified.map(drop)
    }

    #[test]
    fn a_certificate_that_is_its_own_ca_is_trusted_where_it_is_pinned_and_fits() {
        let fails = |verified: Result<(), Error>, expected| {
            assert_eq!(verified, Err(Error::InvalidCertificate(expected)));
        };
        assert_eq!(check(|_| {}, true, None), Ok(()));
        assert!(check(|_| {}, false, None).is_err());
        fails(
            check(|_| {}, true, Some("other.example")),
            CertificateError::NotValidForName,
        );
        fails(
            check(
                |params| params.not_after = date_time_ymd(2020, 1, 1),
                true,
                None,
            ),
            CertificateError::Expired,
        );
        fails(
            check(
                |params| params.not_before = date_time_ymd(3000, 1, 1),
                true,
                None,
            ),
            CertificateError::NotValidYet,
        );
        let client = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        };
        fails(check(client, true, None), CertificateError::InvalidPurpose);
    }
}
