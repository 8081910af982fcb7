//! The one reader of Vault's answers: what does not have Vault's form is no fact, whatever its status says.

use http::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use zeroize::Zeroizing;

use super::refusal;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::reply::Reply;
use crate::wire;

/// No answer of Vault's that the prober asks for is larger, in bytes.
const LARGEST: usize = 1 << 20;

/// An answer, whole, and what had been asked.
pub(super) struct Answer {
    what: String,
    address: String,
    status: StatusCode,
    /// How it calls its own form.
    form: String,
    body: Zeroizing<Vec<u8>>,
}

/// What Vault says to a request that it understood.
#[derive(Debug)]
pub(super) enum Said<T> {
    /// What was asked for.
    Yes(T),
    /// No.
    No(No),
}

/// Why Vault does not do it.
#[derive(Debug)]
pub(super) struct No {
    /// The status code.
    pub(super) code: u16,
    /// What it said was wrong; nothing where it only says that nothing is there.
    pub(super) errors: Vec<String>,
}

/// What every answer of Vault's bears that is no error.
#[derive(Deserialize)]
struct Envelope<T> {
    /// Nothing else but Vault has it.
    #[serde(rename = "request_id")]
    _request_id: String,
    data: T,
}

/// The same, of a login or a renewal.
#[derive(Deserialize)]
struct Admission<T> {
    #[serde(rename = "request_id")]
    _request_id: String,
    auth: T,
}

/// The same, where what it holds is of no account.
#[derive(Deserialize)]
struct Done {
    #[serde(rename = "request_id")]
    _request_id: String,
}

#[derive(Deserialize)]
struct Named {
    request_id: String,
}

#[derive(Deserialize)]
struct Errors {
    errors: Option<Vec<String>>,
    request_id: Option<IgnoredAny>,
}

impl Answer {
    /// Reads an answer to its end; `what` had been asked of the Vault at `address`.
    pub(super) async fn read(
        answer: Response,
        what: &str,
        address: &str,
    ) -> Result<Self, Obstacle> {
        let status = answer.status();
        let form = answer.headers().get(CONTENT_TYPE);
        let form = form.and_then(|form| form.to_str().ok()).unwrap_or_default();
        let form = form.to_owned();
        let body = wire::http::body(answer, LARGEST).await;
        let body = body.map_err(|error| {
            unusable(
                address,
                what,
                &format!("{error} (status {})", status.as_u16()),
            )
            .with(Reply::Broken)
        })?;
        Ok(Self {
            what: what.to_owned(),
            address: address.to_owned(),
            status,
            form,
            body,
        })
    }

    /// The status code.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The ID of the request, as Vault's audit log has it.
    pub(super) fn request_id(&self) -> Result<Said<String>, Obstacle> {
        let said = self.said(Self::json::<Named>)?;
        Ok(said.map(|named| named.request_id))
    }

    /// What was asked for, which stands in `data`.
    pub(super) fn data<T: DeserializeOwned>(&self) -> Result<Said<T>, Obstacle> {
        let said = self.said(Self::json::<Envelope<T>>)?;
        Ok(said.map(|envelope| envelope.data))
    }

    /// What a login or a renewal grants.
    pub(super) fn auth<T: DeserializeOwned>(&self) -> Result<Said<T>, Obstacle> {
        let said = self.said(Self::json::<Admission<T>>)?;
        Ok(said.map(|admission| admission.auth))
    }

    /// That it is done, which Vault says with or without words.
    pub(super) fn done(&self) -> Result<Said<()>, Obstacle> {
        self.said(|answer| {
            if answer.status == StatusCode::NO_CONTENT && answer.body.is_empty() {
                return Ok(());
            }
            answer.json::<Done>().map(drop)
        })
    }

    /// A certificate in PEM.
    pub(super) fn pem(&self) -> Result<Said<String>, Obstacle> {
        self.said(|answer| {
            let text = String::from_utf8(answer.body.to_vec()).ok();
            // A mount without a CA has no content.
            let none = answer.status == StatusCode::NO_CONTENT;
            text.filter(|text| {
                (none && text.is_empty()) || text.contains("-----BEGIN CERTIFICATE-----")
            })
            .ok_or_else(|| answer.foreign())
        })
    }

    /// The body itself, whatever the status.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Obstacle> {
        // The parser's own words may repeat what the answer holds.
        let parsed = self
            .form
            .starts_with("application/json")
            .then(|| serde_json::from_slice(&self.body));
        parsed.and_then(Result::ok).ok_or_else(|| self.foreign())
    }

    fn said<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, Obstacle>,
    ) -> Result<Said<T>, Obstacle> {
        if self.status.is_success() {
            return read(self).map(Said::Yes);
        }
        // What refuses has a form of its own, too: Vault's errors, or nothing but an envelope where nothing is there.
        let errors: Option<Errors> = serde_json::from_slice(&self.body).ok();
        let errors = errors.filter(|told| told.errors.is_some() || told.request_id.is_some());
        let errors =
            errors.filter(|_| self.status.is_client_error() || self.status.is_server_error());
        let errors = errors.ok_or_else(|| self.foreign())?;
        Ok(Said::No(No {
            code: self.status.as_u16(),
            errors: errors.errors.unwrap_or_default(),
        }))
    }

    /// Says that it is not Vault who answered so.
    pub(super) fn foreign(&self) -> Obstacle {
        let form = match self.form.split(';').next() {
            Some("application/json") => "JSON of another form",
            Some("") | None => "without a content type",
            Some(form) => form,
        };
        let text = format!(
            "it answered {} with something that is not Vault's API ({form})",
            self.status.as_u16()
        );
        unusable(&self.address, &self.what, &text).with(Reply::http(self.status.as_u16()))
    }

    /// The obstacle that a refusal is.
    pub(super) fn refused(&self, no: &No) -> Obstacle {
        refusal(&self.address, &self.what, no.code, &no.errors)
    }

    /// What was asked for, or the obstacle that the refusal is.
    pub(super) fn granted<T>(&self, said: Said<T>) -> Result<T, Obstacle> {
        match said {
            Said::Yes(value) => Ok(value),
            Said::No(no) => Err(self.refused(&no)),
        }
    }

    /// The same, where nothing being there is an answer as well.
    pub(super) fn granted_if_any<T>(&self, said: Said<T>) -> Result<Option<T>, Obstacle> {
        match said {
            Said::Yes(value) => Ok(Some(value)),
            // An unmounted engine answers 404 too, but says why; nothing there says nothing, and a
            // version that was deleted answers with its metadata.
            Said::No(No { code: 404, errors }) if errors.is_empty() => Ok(None),
            Said::No(no) => Err(self.refused(&no)),
        }
    }
}

impl<T> Said<T> {
    fn map<U>(self, to: impl FnOnce(T) -> U) -> Said<U> {
        match self {
            Self::Yes(value) => Said::Yes(to(value)),
            Self::No(no) => Said::No(no),
        }
    }
}

/// The obstacle that Vault can't be heard: it is not reached, or something else answers in its place.
pub(super) fn unusable(address: &str, what: &str, why: &str) -> Obstacle {
    Obstacle::new(
        Peer::Vault,
        Hindrance::Unreachable,
        format!("tried to {what} on Vault at {address}: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    async fn answer(status: u16, form: &str, body: &str) -> Answer {
        let answer = http::Response::builder()
            .status(status)
            .header(CONTENT_TYPE, form)
            .body(body.to_owned());
        let answer = Answer::read(answer.unwrap().into(), "look", "http://vault");
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn what_is_not_of_vaults_form_is_no_fact() {
        let json = "application/json";
        for (status, form, body) in [
            (200, "text/html", "<h1>Down for maintenance</h1>"),
            (200, json, "<h1>Down for maintenance</h1>"),
            (200, json, r#"{"status": "maintenance"}"#),
            (200, json, r#"{"errors": []}"#),
            (200, json, ""),
            (200, json, "\u{0}\u{ff}"),
            (200, "text/plain", r#"{"request_id": "1", "data": {}}"#),
            (200, json, r#"{"request_id": 1, "data": {}}"#),
            (204, json, r#"{"page": 1}"#),
            (302, json, r#"{"errors": ["moved"]}"#),
            (403, "text/html", "<h1>Forbidden by the gateway</h1>"),
            (404, json, r#"{"message": "no such route"}"#),
            (503, "text/html", "<h1>No server is available</h1>"),
        ] {
            let answer = answer(status, form, body).await;
            for obstacle in [
                answer.data::<Value>().unwrap_err(),
                answer.auth::<Value>().unwrap_err(),
                answer.done().unwrap_err(),
                answer.pem().unwrap_err(),
            ] {
                assert_eq!(obstacle.how, Hindrance::Unreachable, "{body}");
                let said = format!(
                    "tried to look on Vault at http://vault: it answered {status} with something that is not Vault's"
                );
                assert!(obstacle.text.starts_with(&said), "{}", obstacle.text);
                assert!(
                    body.is_empty() || !obstacle.text.contains(body),
                    "{}",
                    obstacle.text
                );
            }
        }
    }

    #[tokio::test]
    async fn vaults_own_words_are_taken() {
        let json = "application/json; charset=utf-8";
        let good = answer(
            200,
            json,
            r#"{"request_id": "1", "data": {"a": 1}, "auth": null}"#,
        )
        .await;
        assert!(matches!(good.data::<Value>(), Ok(Said::Yes(data)) if data["a"] == 1));
        assert!(matches!(good.done(), Ok(Said::Yes(()))));
        assert!(matches!(
            answer(204, "", "").await.done(),
            Ok(Said::Yes(()))
        ));
        let nothing = answer(404, json, r#"{"errors": []}"#).await;
        assert!(matches!(
            nothing.granted_if_any(nothing.data::<Value>().unwrap()),
            Ok(None)
        ));
        let deleted = answer(
            404,
            json,
            r#"{"request_id": "1", "data": {"metadata": {}}}"#,
        )
        .await;
        assert!(matches!(
            deleted.granted_if_any(deleted.data::<Value>().unwrap()),
            Ok(None)
        ));
        let sealed = answer(503, json, r#"{"errors": ["Vault is sealed"]}"#).await;
        let obstacle = sealed.granted(sealed.done().unwrap()).unwrap_err();
        assert_eq!(obstacle.how, Hindrance::Sealed);
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_or_told(
            status in 100_u16..1000,
            form in "(application/json)?(; ?charset=[a-z0-9-]{0,8})?|text/html|\\PC{0,12}",
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                r#"\{("request_id": ("[a-z0-9]{0,4}"|1|null),? ?)?("(data|auth|errors)": ?(\{\}|null|\[("\PC{0,9}")?\]|[0-9]{1,24}|"\PC{0,9}"),? ?){0,3}\}?"#
                    .prop_map(String::into_bytes),
            ],
        ) {
            let answer = Answer {
                what: "look".to_owned(),
                address: "http://vault".to_owned(),
                status: StatusCode::from_u16(status).expect("it has three digits"),
                form,
                body: Zeroizing::new(body),
            };
            let told = [
                answer.data::<Value>().and_then(|said| answer.granted_if_any(said)).err(),
                answer.auth::<Value>().and_then(|said| answer.granted(said)).err(),
                answer.done().and_then(|said| answer.granted(said)).err(),
                answer.pem().and_then(|said| answer.granted(said)).err(),
            ];
            for obstacle in told.into_iter().flatten() {
                prop_assert!(obstacle.text.starts_with("tried to look on Vault at http://vault: it answered "));
            }
        }
    }
}
