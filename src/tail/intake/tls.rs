//! The TLS of the intake, by files that are read anew.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::ServerTls;
use crate::wire::file;

/// How often the files are read at the most.
const AGE: Duration = Duration::from_secs(10);

/// Makes connections secure.
pub(super) struct Acceptor {
    files: ServerTls,
    made: Mutex<(Arc<ServerConfig>, Instant)>,
}

impl Acceptor {
    pub(super) fn new(files: ServerTls) -> io::Result<Self> {
        let made = Mutex::new((configure(&files)?, Instant::now()));
        Ok(Self { files, made })
    }

    /// Shakes hands.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current()).accept(stream).await
    }

    /// By the files as they are now; as they were, if they can't be used.
    fn current(&self) -> Arc<ServerConfig> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.1.elapsed() >= AGE {
            match configure(&self.files) {
                Ok(config) => made.0 = config,
                Err(error) => tracing::warn!(%error, "keeping the TLS of the audit intake"),
            }
            made.1 = Instant::now();
        }
        made.0.clone()
    }
}

fn configure(files: &ServerTls) -> io::Result<Arc<ServerConfig>> {
    let wrong = |key: &str, why: String| {
        let text = format!("tried to use `audit.server.tls.{key}`: {why}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let read = |key: &str, path| file::read(path).map_err(|error| wrong(key, error.to_string()));
    let certificates = |key: &str, path| {
        let pem = read(key, path)?;
        let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let list = list.map_err(|error| wrong(key, error.to_string()))?;
        if list.is_empty() {
            return Err(wrong(key, "it holds no PEM certificates".to_owned()));
        }
        Ok(list)
    };
    let chain = certificates("certFile", files.cert_file.as_path())?;
    let key = read("keyFile", files.key_file.as_path())?;
    let key = PrivateKeyDer::from_pem_slice(&key);
    let key = key.map_err(|_| wrong("keyFile", "it holds no PEM private key".to_owned()))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("certFile", error.to_string()))?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let of = "clientCaFile";
            let mut roots = RootCertStore::empty();
            for authority in certificates(of, path.as_path())? {
                let added = roots.add(authority);
                added.map_err(|error| wrong(of, error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = verifier.build();
            builder
                .with_client_cert_verifier(verifier.map_err(|error| wrong(of, error.to_string()))?)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| wrong("certFile", error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
