//! TLS in front of Vault, by certificates of CAs that a trial makes, and can change.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// A CA, and a certificate of it for the machine itself.
pub(crate) struct Authority {
    /// Its own certificate.
    pub(crate) pem: String,
    acceptor: TlsAcceptor,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Result<Self> {
        Self::of(name, &["localhost", "127.0.0.1"])
    }

    /// One whose certificate is for these names.
    pub(crate) fn of(name: &str, names: &[&str]) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        Self::serving(authority.pem(), &certificate, &key)
    }

    /// A certificate for the machine itself that is its own CA, as `openssl req -x509` makes it.
    pub(crate) fn its_own() -> Result<Self> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Self::serving(certificate.pem(), &certificate, &key)
    }

    fn serving(pem: String, certificate: &Certificate, key: &KeyPair) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?,
            )?;
        Ok(Self {
            pem,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

/// Ends TLS and forwards. Dropping it closes it.
pub(crate) struct Front {
    pub(crate) port: u16,
    current: Arc<Mutex<Current>>,
    task: JoinHandle<()>,
}

struct Current {
    acceptor: TlsAcceptor,
    connections: JoinSet<std::io::Result<(u64, u64)>>,
}

impl Front {
    /// Before `address`, an `http://` URL, with a certificate of this authority.
    pub(crate) async fn start(address: &str, authority: &Authority) -> Result<Self> {
        let to = address.strip_prefix("http://").context("plain HTTP")?;
        let to: SocketAddr = to.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let current = Arc::new(Mutex::new(Current {
            acceptor: authority.acceptor.clone(),
            connections: JoinSet::new(),
        }));
        let shared = current.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut current = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let accepted = current.acceptor.accept(near);
                current.connections.spawn(async move {
                    let mut near = accepted.await?;
                    let mut far = TcpStream::connect(to).await?;
                    copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Ok(Self {
            port,
            current,
            task,
        })
    }

    /// Takes another authority's certificate from now on, and cuts what is open.
    pub(crate) fn rotate(&self, authority: &Authority) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.acceptor = authority.acceptor.clone();
        current.connections.abort_all();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
