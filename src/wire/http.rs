//! What HTTP clients have in common: whom they trust, where they let themselves be sent, and the
//! credentials they carry.

use std::path::Path;

use http::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder};
use secrecy::{ExposeSecret as _, SecretString};

use super::{USER_AGENT, causes, fits_header};

/// How often a client lets itself be sent on.
const REDIRECTS: usize = 2;

/// A builder for a client of the server at `url`, which trusts the system's certificates and those in the CA
/// file, if one is configured under this key.
///
/// # Errors
/// The CA file can't be read or understood.
pub fn builder(url: &str, ca_file: Option<(&str, &Path)>) -> Result<ClientBuilder, String> {
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        // A credential goes along, so never out of TLS.
        .redirect(Policy::custom(|attempt| {
            let secure = attempt.previous().iter().all(|url| url.scheme() == "https");
            if attempt.previous().len() > REDIRECTS || (secure && attempt.url().scheme() != "https")
            {
                attempt.stop()
            } else {
                attempt.follow()
            }
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
    let pem = std::fs::read(file)
        .map_err(|error| format!("tried to read `{key}` {}: {error}", file.display()))?;
    let none = |why: &str| {
        format!(
            "`{key}` {} holds no certificates in PEM{why}",
            file.display()
        )
    };
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
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("tried to read {what} from {}: {error}", file.display()))?;
    one_line(&text, &format!("{what} in {}", file.display()))
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
        "tried to use {what}: it is not one line of printable characters without blanks"
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
