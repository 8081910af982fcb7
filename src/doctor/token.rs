//! Tokens of ServiceAccounts, and the audience that they name.

use std::path::Path;

use k8s_openapi::ByteString;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::wire::http;

/// The namespace and the name of the ServiceAccount whose token this is.
pub(super) fn account(file: &Path) -> Option<(String, String)> {
    let claims = claims(file)?;
    let account = claims["sub"]
        .as_str()?
        .strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = account.split_once(':')?;
    Some((namespace.to_owned(), name.to_owned()))
}

/// The first audience of a token.
pub(super) fn audience(file: &Path) -> Option<String> {
    let claims = claims(file)?;
    let audience = &claims["aud"];
    let first = audience.as_str().or_else(|| audience[0].as_str())?;
    Some(first.to_owned())
}

/// What a JWT says of whom it was made for. Its signature, which is the secret, is not looked at.
pub(super) fn claims(file: &Path) -> Option<Value> {
    let token = http::credential("the token", file).ok()?;
    let payload = token.expose_secret().split('.').nth(1)?;
    let mut standard = payload.replace('-', "+").replace('_', "/");
    while standard.len() % 4 != 0 {
        standard.push('=');
    }
    let bytes: ByteString = serde_json::from_value(Value::String(standard)).ok()?;
    serde_json::from_slice(&bytes.0).ok()
}
