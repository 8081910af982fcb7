//! The common part of HTTP clients: the CAs they trust, the redirects they follow, and the
//! credentials they carry.

pub mod body;
pub mod redirect;

use std::path::Path;

use http::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder};
use secrecy::{ExposeSecret as _, SecretString};

use super::{USER_AGENT, causes, fits_header};

pub use body::{beginning, body};

/// A builder for a client of the server at `url`, which trusts the system's certificates and those in the CA
/// file, if one is configured under this key.
///
/// # Errors
/// The CA file can't be read or understood.
pub fn builder(url: &str, ca_file: Option<(&str, &Path)>) -> Result<ClientBuilder, String> {
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::custom(|attempt| match attempt.previous() {
            [from] if redirect::allowed(from, attempt.url(), None).is_ok() => attempt.follow(),
            _ => attempt.stop(),
        }));
    let Some((key, file)) = ca_file else {
        // Without TLS the system's certificates need not be read.
        let plain = url.starts_with("http://");
        return Ok(if plain {
            builder.tls_certs_only(Vec::new())
        } else {
            builder
        });
    };
    let pem = super::file::read(file)
        .map_err(|error| format!("tried to read `{key}` {}: {error}", file.display()))?;
    let none = |why: &str| format!("`{key}` {} holds no PEM certificates{why}", file.display());
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|error| none(&format!(": {}", causes(&error))))?;
    if certificates.is_empty() {
        return Err(none(""));
    }
    Ok(builder.tls_certs_merge(certificates))
}

/// Reads a credential, `what`, from a file.
///
/// # Errors
/// There is no such file, or what it holds can be no credential.
pub fn credential(what: &str, file: &Path) -> Result<SecretString, String> {
    let text = super::file::read(file)
        .map_err(|error| format!("tried to read {what} from {}: {error}", file.display()))?;
    let text = std::str::from_utf8(&text)
        .map_err(|error| format!("tried to read {what} from {}: {error}", file.display()))?;
    one_line(text, &format!("{what} in {}", file.display()))
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
