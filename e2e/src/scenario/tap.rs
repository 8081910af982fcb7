//! A wire-tap between the prober and Vault, to know the tokens and the values that went over it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::relay::{Relay, pass};

type Transcript = Arc<Mutex<Vec<u8>>>;

/// Forwards connections and remembers each direction of each of them. Dropping it cuts them.
#[derive(Debug)]
pub struct Tap {
    relay: Relay,
    transcripts: Arc<Mutex<Vec<Transcript>>>,
}

impl Tap {
    /// Listens on loopback and forwards to `address`, an `http://` URL.
    pub async fn start(address: &str) -> Result<Self> {
        let transcripts: Arc<Mutex<Vec<Transcript>>> = Arc::default();
        let kept = transcripts.clone();
        let relay = Relay::start(address, move |near, far| {
            let begin = || {
                let transcript = Transcript::default();
                let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
                all.push(transcript.clone());
                transcript
            };
            let (up, down) = (begin(), begin());
            async move {
                pass(
                    near,
                    far,
                    |bytes| keep(&up, bytes),
                    |bytes| keep(&down, bytes),
                )
                .await;
            }
        })
        .await?;
        Ok(Self { relay, transcripts })
    }

    /// Its URL.
    pub fn address(&self) -> String {
        self.relay.address()
    }

    /// Every token that went over it, of the prober's own logins too.
    pub fn tokens(&self) -> BTreeSet<String> {
        let mut tokens = self.between("x-vault-token: ", "\r");
        tokens.extend(self.between("\"client_token\":\"", "\""));
        tokens
    }

    /// What stood in the JSON strings of this key.
    pub fn values(&self, key: &str) -> BTreeSet<String> {
        self.between(&format!("\"{key}\":\""), "\"")
    }

    fn between(&self, before: &str, after: &str) -> BTreeSet<String> {
        let all = self
            .transcripts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeSet::new();
        for transcript in all.iter() {
            let bytes = transcript.lock().unwrap_or_else(PoisonError::into_inner);
            let text = String::from_utf8_lossy(&bytes);
            // Lower case keeps the length of ASCII, which is all that HTTP and Vault speak.
            let lower = text.to_ascii_lowercase();
            let starts = lower.match_indices(before).map(|(at, _)| at + before.len());
            let values = starts.filter_map(|start| text[start..].split(after).next());
            found.extend(values.filter(|value| !value.is_empty()).map(str::to_owned));
        }
        found
    }
}

fn keep(transcript: &Transcript, bytes: &[u8]) -> Duration {
    let mut all = transcript.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend_from_slice(bytes);
    Duration::ZERO
}
