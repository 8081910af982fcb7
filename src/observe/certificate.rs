//! The inspector of the certificate in a Secret, which hands on facts: what it is, and what is wrong with it. The key
//! beside it is compared and never kept.

mod key;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::time::Instant;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_cert::Certificate as X509;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::time::Time;

use crate::model::certificate::{Aspect, Certificate, Flaw};
use crate::model::time::{self, Moment as _};

/// The keys of a Secret as Vault's answer has them.
const CERTIFICATE: &str = "certificate";
const PRIVATE_KEY: &str = "private_key";
const ISSUING_CA: &str = "issuing_ca";

/// The attribute `CN` of a name (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a certificate is held against.
#[derive(Debug)]
pub struct Inspector {
    /// The CAs of the mount, as Vault itself has them.
    issuers: Vec<CertificateDer<'static>>,
    /// The names that were asked for.
    names: Vec<String>,
    /// One moment on the monotonic clock, and by the clock of who issues.
    clock: (Instant, Timestamp),
}

impl Inspector {
    /// Holds certificates against these CAs, in PEM, and these names. A CA that can't be read issues nothing. `clock`
    /// is one moment by both clocks: what is told must not hang on the prober's own, which may be wrong or be set.
    pub fn new(issuers: &[String], names: &[&str], clock: (Instant, Timestamp)) -> Self {
        let issuers = issuers
            .iter()
            .flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).flatten())
            .collect();
        Self {
            issuers,
            names: names.iter().map(|&name| name.to_owned()).collect(),
            clock,
        }
    }

    /// What is to be told of the certificate in a Secret that was seen at this moment.
    pub fn certificate(&self, secret: &Secret, seen: Instant) -> Certificate {
        let (then, wall) = self.clock;
        let now = wall.later(seen.saturating_duration_since(then));
        let value = |key: &str| {
            let value = secret.data.as_ref().and_then(|data| data.get(key));
            value.map(|value| value.0.as_slice())
        };
        let Some(pem) = value(CERTIFICATE) else {
            return Certificate::unreadable(format!("the Secret has no `{CERTIFICATE}`"));
        };
        let Ok(der) = CertificateDer::from_pem_slice(pem) else {
            return Certificate::unreadable(format!("`{CERTIFICATE}` is not PEM"));
        };
        let Ok(x509) = X509::from_der(&der) else {
            return Certificate::unreadable(format!("`{CERTIFICATE}` is not an X.509 certificate"));
        };
        let not_after = moment(x509.tbs_certificate().validity().not_after);
        let left = not_after.duration_since(now);
        let flaws = [
            self.chain_flaw(&der, value(ISSUING_CA), now)
                .map(|why| Flaw::new(Aspect::Chain, why)),
            key::flaw(&x509, &der, value(PRIVATE_KEY)).map(|why| Flaw::new(Aspect::Key, why)),
            self.name_flaw(&x509)
                .map(|why| Flaw::new(Aspect::Name, why)),
        ];
        Certificate {
            serial: serial(&x509).into(),
            not_before: moment(x509.tbs_certificate().validity().not_before),
            not_after,
            left: time::clamped(left.try_into().unwrap_or_default()),
            flaws: flaws.into_iter().flatten().collect(),
        }
    }

    /// Why it was not issued by the mount, or is not valid at the moment `now`.
    fn chain_flaw(
        &self,
        der: &CertificateDer<'_>,
        beside: Option<&[u8]>,
        now: Timestamp,
    ) -> Option<String> {
        let anchors: Vec<_> = self
            .issuers
            .iter()
            .filter_map(|issuer| webpki::anchor_from_trusted_cert(issuer).ok())
            .collect();
        let leaf = match EndEntityCert::try_from(der) {
            Ok(leaf) => leaf,
            Err(error) => return Some(format!("it is not an end-entity certificate: {error:?}")),
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let verified = leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            AnyUsage,
            None,
            None,
        );
        match verified {
            Ok(_) => {}
            Err(
                error @ (webpki::Error::UnsupportedSignatureAlgorithmContext(_)
                | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)),
            ) => {
                tracing::debug!(?error, "the signature of a certificate can't be checked");
            }
            Err(webpki::Error::UnknownIssuer) => {
                return Some("no CA of Vault's mount issued it".to_owned());
            }
            Err(webpki::Error::InvalidSignatureForPublicKey) => {
                return Some("its signature is not that of the mount's CA".to_owned());
            }
            Err(webpki::Error::CertExpired { .. }) => return Some("it has expired".to_owned()),
            Err(webpki::Error::CertNotValidYet { .. }) => {
                return Some("it is not valid yet".to_owned());
            }
            Err(other) => return Some(format!("it does not verify: {other:?}")),
        }
        let beside = CertificateDer::from_pem_slice(beside?).ok();
        let known = beside.is_some_and(|beside| self.issuers.contains(&beside));
        (!known).then(|| format!("`{ISSUING_CA}` beside it is not a CA of Vault's mount"))
    }

    /// Why it does not bear the names. A role may keep the common name out of the alternative names, and Vault
    /// takes names that fit only there.
    fn name_flaw(&self, x509: &X509) -> Option<String> {
        let certificate = x509.tbs_certificate();
        let common = certificate
            .subject()
            .iter()
            .filter(|attribute| attribute.oid == COMMON_NAME)
            .filter_map(|attribute| attribute.value.decode_as::<DirectoryString>().ok())
            .map(|name| name.value().into_owned());
        let common: Vec<_> = common.collect();
        let alternative = certificate.get_extension::<SubjectAltName>().ok().flatten();
        let alternative: Vec<_> = alternative
            .iter()
            .flat_map(|(_, names)| &names.0)
            .filter_map(|name| match name {
                GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) => {
                    Some(name.to_string())
                }
                _ => None,
            })
            .collect();
        let borne = |wanted: &String| {
            common.contains(wanted)
                || alternative
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(wanted))
        };
        let lacks = self.names.iter().find(|wanted| !borne(wanted))?;
        let names = [&*common, &*alternative].concat().join("`, `");
        Some(format!("it has the name `{names}`, not `{lacks}`"))
    }
}

/// A certificate may be for whatever use: that is the role's to say.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// The serial number as Vault writes it: without the octet that only says that it is positive.
fn serial(x509: &X509) -> String {
    let serial = x509.tbs_certificate().serial_number().as_bytes();
    let serial = match serial {
        [0, rest @ ..] if !rest.is_empty() => rest,
        serial => serial,
    };
    let octets: Vec<_> = serial.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

fn moment(time: Time) -> Timestamp {
    let since = SignedDuration::try_from(time.to_unix_duration()).unwrap_or(SignedDuration::MAX);
    Timestamp::from_duration(since).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber,
    };

    const NAME: &str = "canary.example";

    fn inspector(issuers: &[String]) -> Inspector {
        Inspector::new(issuers, &[NAME], (Instant::now(), Timestamp::now()))
    }

    fn ca() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a CA");
        let key = KeyPair::generate().expect("a key");
        CertifiedIssuer::self_signed(params, key).expect("a CA")
    }

    /// A Secret with a certificate of that CA, changed before it is issued.
    fn secret(
        ca: &CertifiedIssuer<'static, KeyPair>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Secret {
        let mut params = CertificateParams::new([NAME.to_owned()]).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.serial_number = Some(SerialNumber::from_slice(&[0xf0, 0x0d, 1]));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let issued = params.signed_by(&key, ca).expect("a certificate");
        let data = [
            (CERTIFICATE, issued.pem()),
            (PRIVATE_KEY, key.serialize_pem()),
            (ISSUING_CA, ca.pem()),
        ];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        Secret {
            data: Some(data.into()),
            ..Secret::default()
        }
    }

    fn seen(secret: &Secret, ca: &CertifiedIssuer<'static, KeyPair>) -> Certificate {
        inspector(&[ca.pem()]).certificate(secret, Instant::now())
    }

    fn put(secret: &mut Secret, key: &str, value: Option<String>) {
        let data = secret.data.get_or_insert_default();
        data.remove(key);
        data.extend(value.map(|value| (key.to_owned(), ByteString(value.into_bytes()))));
    }

    fn flaws(certificate: &Certificate) -> Vec<Aspect> {
        certificate.flaws.iter().map(|flaw| flaw.of).collect()
    }

    #[test]
    fn what_was_asked_for_is_right() {
        let ca = ca();
        let certificate = seen(&secret(&ca, |_| ()), &ca);
        assert_eq!(certificate.flaws, []);
        assert_eq!(certificate.serial, "f0:0d:01");
        assert!(certificate.left > Duration::ZERO);
    }

    #[test]
    fn the_name_may_stand_in_either_place() {
        let ca = ca();
        let only_common = secret(&ca, |params| params.subject_alt_names.clear());
        assert_eq!(flaws(&seen(&only_common, &ca)), []);
        let only_alternative = secret(&ca, |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
        });
        assert_eq!(flaws(&seen(&only_alternative, &ca)), []);
        let neither = Inspector::new(
            &[ca.pem()],
            &[NAME, "other.example"],
            (Instant::now(), Timestamp::now()),
        )
        .certificate(&secret(&ca, |_| ()), Instant::now());
        assert_eq!(flaws(&neither), [Aspect::Name]);
        assert!(neither.flaws[0].why.contains(NAME));
    }

    #[test]
    fn another_ca_is_told() {
        let (ca, other) = (ca(), ca());
        let certificate = seen(&secret(&other, |_| ()), &ca);
        assert_eq!(flaws(&certificate), [Aspect::Chain]);
        let mut beside = secret(&ca, |_| ());
        put(&mut beside, ISSUING_CA, Some(other.pem()));
        assert_eq!(flaws(&seen(&beside, &ca)), [Aspect::Chain]);
        let unknown = inspector(&[]).certificate(&beside, Instant::now());
        assert_eq!(flaws(&unknown), [Aspect::Chain]);
    }

    #[test]
    fn another_key_is_told_and_not_shown() {
        let ca = ca();
        let mut secret = secret(&ca, |_| ());
        let other = KeyPair::generate().expect("a key").serialize_pem();
        put(&mut secret, PRIVATE_KEY, Some(other.clone()));
        let certificate = seen(&secret, &ca);
        assert_eq!(flaws(&certificate), [Aspect::Key]);
        let key = other.lines().nth(1).expect("a body");
        let told = serde_json::to_string(&certificate).expect("plain data");
        assert!(!told.contains(key), "{told}");
        for broken in [None, Some("wrong".to_owned())] {
            put(&mut secret, PRIVATE_KEY, broken);
            assert_eq!(flaws(&seen(&secret, &ca)), [Aspect::Key]);
        }
    }

    #[test]
    fn one_that_has_ended_is_told() {
        let ca = ca();
        let past = secret(&ca, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        });
        let certificate = seen(&past, &ca);
        assert_eq!(flaws(&certificate), [Aspect::Chain]);
        assert_eq!(certificate.left, Duration::ZERO);
    }

    #[test]
    fn it_is_held_against_the_clock_of_who_issued_it() {
        let ca = ca();
        let past = secret(&ca, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        });
        let clock = (
            Instant::now(),
            "2020-01-01T12:00:00Z".parse().expect("a time"),
        );
        let inspector = Inspector::new(&[ca.pem()], &[NAME], clock);
        let certificate = inspector.certificate(&past, clock.0 + Duration::from_secs(60));
        assert_eq!(certificate.flaws, []);
        assert_eq!(certificate.left, Duration::from_secs(12 * 3600 - 60));
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let ca = ca();
        let mut secret = secret(&ca, |_| ());
        for broken in [
            None,
            Some("wrong".to_owned()),
            Some(ca.key().serialize_pem()),
        ] {
            put(&mut secret, CERTIFICATE, broken);
            let certificate = seen(&secret, &ca);
            assert_eq!(flaws(&certificate), [Aspect::Form]);
            assert_eq!(certificate.serial, "");
        }
    }
}
