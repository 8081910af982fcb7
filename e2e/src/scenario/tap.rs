//! A wire-tap between the prober and Vault, to know the tokens and the values that went over it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

type Transcript = Arc<Mutex<Vec<u8>>>;

/// Forwards connections and remembers each direction of each of them. Dropping it cuts them.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    transcripts: Arc<Mutex<Vec<Transcript>>>,
    task: JoinHandle<()>,
}

impl Tap {
    /// Listens on loopback and forwards to `address`, an `http://` URL.
    pub async fn start(address: &str) -> Result<Self> {
        let to: SocketAddr = address
            .strip_prefix("http://")
            .and_then(|rest| rest.parse().ok())
            .with_context(|| format!("`{address}` is no address to tap"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let transcripts: Arc<Mutex<Vec<Transcript>>> = Arc::default();
        let kept = transcripts.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let begin = || {
                    let transcript = Transcript::default();
                    let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(transcript.clone());
                    transcript
                };
                let (up, down) = (begin(), begin());
                connections.spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else {
                        return;
                    };
                    let (near_reads, near_writes) = near.into_split();
                    let (far_reads, far_writes) = far.into_split();
                    tokio::join!(
                        copy(near_reads, far_writes, up),
                        copy(far_reads, near_writes, down)
                    );
                });
            }
        });
        Ok(Self {
            address,
            transcripts,
            task,
        })
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
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

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    transcript: Transcript,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        keep(&transcript, &buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

fn keep(transcript: &Transcript, bytes: &[u8]) {
    let mut all = transcript.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend_from_slice(bytes);
}
