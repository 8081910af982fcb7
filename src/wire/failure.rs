//! The failure of a request, told by the types of its errors: what came back instead of an answer.

use std::error::Error;
use std::io::{self, ErrorKind};

use rustls::{CertificateError, OtherError};

use crate::model::reply::{Distrust, Reply};

/// How the libraries begin to say that a name has no address: they have no type for it.
const UNRESOLVED: [&str; 2] = ["dns error", "failed to lookup address information"];

/// How they say that the other end closed the connection in the midst of TLS' handshake: nor for this.
const HUNG_UP: &str = "tls handshake eof";

/// What came back of a request that failed with this error.
pub fn reply(error: &(dyn Error + 'static)) -> Reply {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(reply) = told(error) {
            return reply;
        }
        next = cause(error);
    }
    Reply::Broken
}

/// What an error by itself tells.
fn told(error: &(dyn Error + 'static)) -> Option<Reply> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(Reply::Tls(distrust(error)));
    }
    if error
        .downcast_ref::<reqwest::Error>()
        .is_some_and(reqwest::Error::is_timeout)
    {
        return Some(Reply::Silence);
    }
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        Some(ErrorKind::ConnectionRefused) => return Some(Reply::Refused),
        Some(ErrorKind::TimedOut) => return Some(Reply::Silence),
        _ => {}
    }
    let text = error.to_string();
    if text == HUNG_UP {
        return Some(Reply::Tls(Distrust::Protocol));
    }
    let unresolved = UNRESOLVED.iter().any(|words| text.starts_with(words));
    unresolved.then_some(Reply::Dns)
}

/// The next error in line. One of I/O leaves out the error that it is made of.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let made_of = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match made_of {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn distrust(error: &rustls::Error) -> Distrust {
    let rustls::Error::InvalidCertificate(error) = error else {
        return Distrust::Protocol;
    };
    match error {
        CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Distrust::Name
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Distrust::Time,
        CertificateError::Other(OtherError(error))
            if error.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            Distrust::Authority
        }
        _ => Distrust::Certificate,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn check(error: &(dyn Error + 'static), expected: &Reply) {
        assert_eq!(reply(error), *expected, "{error}");
    }

    #[test]
    fn a_failure_is_told_by_its_type_however_deep_it_lies() {
        let wrapped = |error: rustls::Error| io::Error::other(io::Error::other(error));
        let invalid = |error| wrapped(rustls::Error::InvalidCertificate(error));
        let other = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
        for (error, expected) in [
            (
                invalid(CertificateError::UnknownIssuer),
                Distrust::UnknownIssuer,
            ),
            (invalid(CertificateError::Other(other)), Distrust::Authority),
            (invalid(CertificateError::NotValidForName), Distrust::Name),
            (invalid(CertificateError::Expired), Distrust::Time),
            (
                invalid(CertificateError::BadSignature),
                Distrust::Certificate,
            ),
            (
                wrapped(rustls::Error::HandshakeNotComplete),
                Distrust::Protocol,
            ),
        ] {
            check(&error, &Reply::Tls(expected));
        }
        check(
            &io::Error::from(ErrorKind::ConnectionRefused),
            &Reply::Refused,
        );
        check(&io::Error::from(ErrorKind::TimedOut), &Reply::Silence);
        check(&io::Error::other(HUNG_UP), &Reply::Tls(Distrust::Protocol));
        check(&io::Error::from(ErrorKind::BrokenPipe), &Reply::Broken);
        let unresolved = "failed to lookup address information: Name or service not known";
        check(&io::Error::other(unresolved), &Reply::Dns);
    }

    async fn failure(url: &str) -> Reply {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let client = client.timeout(std::time::Duration::from_secs(1)).build();
        let sent = client.expect("a client").get(url).send().await;
        reply(&sent.expect_err("no answer"))
    }

    #[tokio::test]
    async fn so_is_one_of_the_http_client() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = silent.local_addr().expect("an address").port();
        assert_eq!(
            failure(&format!("http://127.0.0.1:{port}")).await,
            Reply::Silence
        );
        drop(silent);
        assert_eq!(
            failure(&format!("http://127.0.0.1:{port}")).await,
            Reply::Refused
        );
        assert_eq!(failure("http://no.such.name.invalid").await, Reply::Dns);
        let plain = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = plain.local_addr().expect("an address").port();
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            let (mut stream, _) = plain.accept().await.expect("a client");
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        });
        let plain = failure(&format!("https://127.0.0.1:{port}")).await;
        assert_eq!(plain, Reply::Tls(Distrust::Protocol));
    }
}
