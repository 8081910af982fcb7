//! TLS with a certificate that a lab has made itself.

use std::sync::Arc;

use anyhow::Result;
use e2e::scenario::Scene;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Serves with the certificate of the lab's API server.
pub(crate) fn acceptor(scene: &Scene) -> Result<TlsAcceptor> {
    let folder = scene.lab().folder().join("certificates");
    let (certificate, key) = (folder.join("apiserver.crt"), folder.join("apiserver.key"));
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
