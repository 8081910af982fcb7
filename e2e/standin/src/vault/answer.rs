//! Vault's answers, told apart as the real client does it.

use std::fmt;

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{Error, Refusal, Said};

/// What Vault answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// The request's ID.
    pub(crate) request_id: String,
    /// The lease, if it comes with one.
    pub(crate) lease_id: String,
    /// Whether the lease can be prolonged.
    pub(crate) renewable: bool,
    /// The lease's duration, in seconds.
    pub(crate) lease_duration: i64,
    /// The data.
    pub(crate) data: Option<Map<String, Value>>,
    /// The token, after a login or a renewal of one.
    pub(crate) auth: Option<Auth>,
    /// Warnings.
    pub(crate) warnings: Option<Vec<String>>,
}

/// A token.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Auth {
    /// The token itself.
    pub(crate) client_token: String,
    /// Its accessor.
    pub(crate) accessor: String,
    /// Its duration, in seconds.
    pub(crate) lease_duration: u64,
    /// Whether it can be prolonged.
    pub(crate) renewable: bool,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("lease_duration", &self.lease_duration)
            .finish_non_exhaustive()
    }
}

/// Reads an answer; `None` where Vault has nothing.
pub(super) fn read(
    method: &Method,
    url: &str,
    status: StatusCode,
    body: &[u8],
) -> Result<Option<Answer>, Error> {
    let answer = |body: &[u8]| serde_json::from_slice::<Answer>(body);
    if status == StatusCode::NOT_FOUND {
        // A deleted version of a KV v2 secret comes as a 404 that has data.
        let told = answer(body)
            .ok()
            .filter(|a| a.warnings.is_some() || a.data.as_ref().is_some_and(|d| !d.is_empty()));
        if told.is_some() || no_errors(body) {
            return Ok(told);
        }
    }
    if status.is_success() {
        if body.is_empty() {
            return Ok(None);
        }
        return answer(body)
            .map(Some)
            .map_err(|error| Error::Other(error.to_string()));
    }
    let said = match serde_json::from_slice::<Errors>(body) {
        Ok(Errors { errors }) => Said::Errors(errors),
        Err(_) => Said::Raw(String::from_utf8_lossy(body).into_owned()),
    };
    Err(Error::Refused(Refusal {
        method: method.clone(),
        url: url.into(),
        status,
        said,
    }))
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

fn no_errors(body: &[u8]) -> bool {
    serde_json::from_slice::<Errors>(body).is_ok_and(|said| said.errors.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_recorded() {
        let body = br#"{"errors":["invalid role name \"nope\""]}"#;
        let url = "http://127.0.0.1:8200/v1/auth/kubernetes/login";
        let error = read(&Method::PUT, url, StatusCode::BAD_REQUEST, body).expect_err("a 400");
        assert_eq!(
            error.to_string(),
            "Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/auth/kubernetes/login\nCode: 400. Errors:\n\n* invalid role name \"nope\""
        );
        let body = br#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        let error = read(
            &Method::GET,
            "http://127.0.0.1:8200/v1/sys/x",
            StatusCode::FORBIDDEN,
            body,
        )
        .expect_err("a 403");
        assert!(error.is_forbidden());
        assert_eq!(
            error.to_string(),
            "Error making API request.\n\nURL: GET http://127.0.0.1:8200/v1/sys/x\nCode: 403. Errors:\n\n* 1 error occurred:\n\t* permission denied\n\n"
        );
        assert_eq!(
            Error::Empty("kvv2/data/missing".into()).to_string(),
            "empty response from Vault, path=\"kvv2/data/missing\""
        );
        let error = read(&Method::GET, "u", StatusCode::BAD_GATEWAY, b"<html>").expect_err("a 502");
        assert!(
            error
                .to_string()
                .ends_with("Code: 502. Raw Message:\n\n<html>")
        );
    }

    #[test]
    fn nothing_and_deleted_are_told_apart() {
        let read =
            |body: &[u8]| read(&Method::GET, "u", StatusCode::NOT_FOUND, body).expect("no error");
        assert!(read(br#"{"errors":[]}"#).is_none());
        let deleted =
            read(br#"{"data":{"data":null,"metadata":{"version":1}}}"#).expect("has data");
        assert_eq!(deleted.data.expect("metadata")["data"], Value::Null);
    }
}
