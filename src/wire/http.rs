//! The common part of HTTP clients: the CAs they trust, the redirects they follow, and the
//! credentials they carry.

pub mod body;
pub mod redirect;

use std::path::Path;

use http::{HeaderName, HeaderValue};
use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::proxy::Proxies;
use super::{USER_AGENT, causes, fits_header, trust};
use crate::config::{Header, HeaderSource};

pub use body::{beginning, body};

/// A builder for a client of the server at `url`, which trusts the system's certificates and those in the CA
/// file, if one is configured under this key. It goes by the environment's proxies.
///
/// # Errors
/// The CA file can't be read or understood.
pub fn builder(url: &str, ca_file: Option<(&str, &Path)>) -> Result<ClientBuilder, String> {
    builder_for(url, ca_file, None)
}

/// The same for a server whose certificate has this `name`, if one is given.
///
/// # Errors
/// As those of [`builder`], or the name can't be one.
pub fn builder_for(
    url: &str,
    ca_file: Option<(&str, &Path)>,
    name: Option<&str>,
) -> Result<ClientBuilder, String> {
    let proxies = Proxies::of_environment();
    let proxy = reqwest::Proxy::custom(move |url| {
        let proxy = proxies.on_the_way_to(url)?;
        Some(proxy.url().clone())
    });
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .no_proxy()
        .proxy(proxy)
        .redirect(Policy::custom(|attempt| match attempt.previous() {
            [from] if redirect::allowed(from, attempt.url(), None).is_ok() => attempt.follow(),
            _ => attempt.stop(),
        }));
    let authorities = ca_file.map(|(key, file)| authorities(key, file));
    let authorities = authorities.transpose()?;
    if authorities.is_some() || name.is_some() {
        let tls = trust::tls(authorities.unwrap_or_default(), name)?;
        return Ok(builder.tls_backend_preconfigured(tls));
    }
    // Without TLS the system's certificates need not be read.
    let plain = url.starts_with("http://");
    Ok(if plain {
        builder.tls_certs_only(Vec::new())
    } else {
        builder
    })
}

/// The certificates in the CA file that is configured under this key.
fn authorities(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = super::file::read(file)
        .map_err(|error| format!("tried to read `{key}` {}: {error}", file.display()))?;
    let none = |why: &str| format!("`{key}` {} holds no PEM certificates{why}", file.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = read.map_err(|error| none(&format!(": {}", causes(&error))))?;
    if certificates.is_empty() {
        return Err(none(""));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|error| none(&format!(": {}", causes(&error))))?;
    }
    Ok(certificates)
}

/// The value of a header that the user sets.
///
/// # Errors
/// Its variable is not set, its file can't be read, or what they hold can be no header's value.
pub fn header(header: &Header) -> Result<(HeaderName, HeaderValue), String> {
    let what = format!("the header `{}`", header.name);
    let value = match &header.value {
        HeaderSource::Value(value) => SecretString::from(value.expose()),
        HeaderSource::Env(name) => std::env::var(name)
            .map_err(|_| format!("tried to read {what}: `{name}` is not set"))?
            .into(),
        HeaderSource::File(file) => secret(&what, file)?,
    };
    let unfit = || format!("tried to use {what}: it must be one line of printable text");
    let name = HeaderName::try_from(&header.name).map_err(|_| unfit())?;
    let value = HeaderValue::try_from(value.expose_secret().trim());
    let mut value = value.map_err(|_| unfit())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Reads a credential, `what`, from a file.
///
/// # Errors
/// There is no such file, or what it holds can be no credential.
pub fn credential(what: &str, file: &Path) -> Result<SecretString, String> {
    let text = secret(what, file)?;
    one_line(
        text.expose_secret(),
        &format!("{what} in {}", file.display()),
    )
}

/// Reads a text, `what`, from a file, whatever it is.
///
/// # Errors
/// There is no such file, or what it holds is no text.
pub fn secret(what: &str, file: &Path) -> Result<SecretString, String> {
    let tried = |why: String| format!("tried to read {what} from {}: {why}", file.display());
    let text = super::file::read(file).map_err(|error| tried(error.to_string()))?;
    let text = std::str::from_utf8(&text).map_err(|error| tried(error.to_string()))?;
    Ok(text.into())
}

/// The same, off the runtime's workers: a file on a network may take its time.
///
/// # Errors
/// As [`credential`].
pub async fn credential_aside(what: &str, file: &Path) -> Result<SecretString, String> {
    let (what, file) = (what.to_owned(), file.to_owned());
    let read = tokio::task::spawn_blocking(move || credential(&what, &file));
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Takes a credential, if it can be one.
///
/// # Errors
/// It can't.
pub fn one_line(text: &str, what: &str) -> Result<SecretString, String> {
    let text = text.trim();
    if fits_header(text) {
        return Ok(text.to_owned().into());
    }
    Err(format!(
        "tried to use {what}: it must be one line of printable characters without blanks"
    ))
}

/// The value of the header `Authorization` for a bearer token.
pub fn bearer(token: &SecretString) -> HeaderValue {
    let value = format!("Bearer {}", token.expose_secret());
    let mut value =
        HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}
