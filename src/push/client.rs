//! The client of a receiver: its CA, and what lets in there, a credential and headers.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Request, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::spawn_blocking;

use super::Error;
use crate::config::{Credential, Receiver};
use crate::wire::{self, causes};

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The client of a receiver. The files that its configuration names may change at any time.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Where the receiver is configured.
    key: &'static str,
    receiver: Receiver,
    /// The client, and what the CA's file held when it was made.
    made: Arc<Mutex<(Vec<u8>, reqwest::Client)>>,
}

/// What requests are made with.
pub(super) struct Granted {
    pub(super) http: reqwest::Client,
    /// The headers that let in.
    pass: HeaderMap,
    /// A name, and a password.
    basic: Option<(String, SecretString)>,
}

impl Granted {
    /// The request, with all that lets in.
    pub(super) fn admit(&self, request: RequestBuilder) -> reqwest::Result<Request> {
        let request = request.headers(self.pass.clone());
        match &self.basic {
            Some((name, password)) => request.basic_auth(name, Some(password.expose_secret())),
            None => request,
        }
        .build()
    }

    /// A text without what lets in, should it have come back; `sent` are the headers of the request.
    pub(super) fn concealed(&self, text: &str, sent: &HeaderMap) -> String {
        let secrets = sent.values().filter(|value| value.is_sensitive());
        let secrets = secrets.filter_map(|value| value.to_str().ok());
        let secrets = secrets.map(|secret| {
            let bearer = secret.strip_prefix("Bearer ");
            let bare = bearer.or_else(|| secret.strip_prefix("Basic "));
            bare.unwrap_or(secret)
        });
        let password = self.basic.iter().map(|(_, word)| word.expose_secret());
        let secrets = secrets.chain(password);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }
}

impl Client {
    pub(super) fn new(key: &'static str, receiver: &Receiver) -> Result<Self, Error> {
        let authority = receiver.ca_file.as_deref().map_or(Vec::new(), content);
        let http = made(key, receiver).map_err(Error::Client)?;
        Ok(Self {
            key,
            receiver: receiver.clone(),
            made: Arc::new(Mutex::new((authority, http))),
        })
    }

    /// Reads the files anew: a token may be a projected one, and a CA may rotate. Off the runtime's workers.
    pub(super) async fn grant(&self) -> Result<Granted, Error> {
        let client = self.clone();
        let granted = spawn_blocking(move || client.read()).await;
        granted.unwrap_or_else(|error| Err(Error::Client(error.to_string())))
    }

    fn read(&self) -> Result<Granted, Error> {
        let mut granted = Granted {
            http: self.http(),
            pass: HeaderMap::new(),
            basic: None,
        };
        self.fill(&mut granted).map_err(Error::Credential)?;
        Ok(granted)
    }

    /// The client, with the CA of now. One that can't be read keeps the former in force.
    fn http(&self) -> reqwest::Client {
        let mut current = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = self.receiver.ca_file.as_deref() {
            let authority = content(file);
            if authority != current.0 {
                match made(self.key, &self.receiver) {
                    Ok(http) => *current = (authority, http),
                    Err(error) => tracing::warn!(error, "keeping the receiver's former CA"),
                }
            }
        }
        current.1.clone()
    }

    fn fill(&self, granted: &mut Granted) -> Result<(), String> {
        for header in &self.receiver.headers {
            let (name, value) = wire::http::header(header)?;
            granted.pass.insert(name, value);
        }
        let Some(credential) = &self.receiver.credential else {
            return Ok(());
        };
        let (key, file) = credential.file();
        let what = format!("`{}.{key}`", self.key);
        match credential {
            Credential::Bearer(_) => {
                let token = wire::http::credential(&what, file)?;
                granted
                    .pass
                    .insert(AUTHORIZATION, wire::http::bearer(&token));
            }
            Credential::Basic { username, .. } => {
                granted.basic = Some((username.clone(), password(&what, file)?));
            }
        }
        Ok(())
    }
}

/// What a file holds; nothing, if it can't be read.
fn content(file: &Path) -> Vec<u8> {
    wire::file::read(file).map_or(Vec::new(), |content| content.to_vec())
}

fn made(key: &str, receiver: &Receiver) -> Result<reqwest::Client, String> {
    let ca_key = format!("{key}.caFile");
    let authority = receiver.ca_file.as_deref();
    let authority = authority.map(|file| (ca_key.as_str(), file));
    wire::http::builder(&receiver.url, authority)?
        .timeout(REQUEST_LIMIT)
        .connect_timeout(CONNECT_LIMIT)
        // Who answers elsewhere gets neither a credential nor the samples.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| causes(&error))
}

/// A password, which may have blanks in it: the file's first line, its only one.
fn password(what: &str, file: &Path) -> Result<SecretString, String> {
    let content = wire::http::secret(what, file)?;
    let text = content.expose_secret().trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.contains(char::is_control) {
        return Err(format!(
            "tried to read {what} from {}: it must hold the password on one line",
            file.display()
        ));
    }
    Ok(text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_lets_in_is_not_told() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let value = |text| {
            let mut value = HeaderValue::from_static(text);
            value.set_sensitive(true);
            value
        };
        let pass = HeaderMap::from_iter([
            (AUTHORIZATION, value("Bearer hvs.secret")),
            (HeaderName::from_static("x-gateway"), value("sesame")),
            (
                HeaderName::from_static("content-encoding"),
                HeaderValue::from_static("token"),
            ),
        ]);
        let granted = Granted {
            http: made("push", &Receiver::default()).unwrap(),
            pass: HeaderMap::new(),
            basic: Some(("prober".to_owned(), "pass word".into())),
        };
        assert_eq!(
            granted.concealed("bad token hvs.secret, sesame and pass word here", &pass),
            "bad token …, … and … here"
        );
    }

    #[test]
    fn a_password_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let read = password("`a`", &file);
            read.map(|password| password.expose_secret().to_owned())
        };
        assert_eq!(read("a b\r\n").unwrap(), "a b");
        for odd in ["", "\n", "secret\nmore"] {
            let told = read(odd).unwrap_err();
            assert!(told.contains("`a`") && !told.contains("secret"), "{told}");
        }
    }
}
