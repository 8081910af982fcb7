//! The decoys, which the prober writes where they are not there yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use serde::de::IgnoredAny;
use tokio::time::interval;

use crate::config::{Decoy, KvPath};
use crate::model::record::Obstacle;
use crate::vault::Vault;

/// How often what could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// What an access key of AWS is made of, and a secret one.
const KEY: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decoys that may not be there yet.
pub(super) struct Decoys {
    vault: Arc<Vault>,
    missing: Vec<KvPath>,
}

impl Decoys {
    pub(super) fn new(vault: Arc<Vault>, all: &[Decoy]) -> Self {
        Self {
            vault,
            missing: all.iter().map(Decoy::kv_path).collect(),
        }
    }

    /// Writes each that is not there, until all are. What is there is left as it is. Of a trouble the log is told once.
    pub(super) async fn place(mut self) {
        let mut troubled = false;
        let mut tries = interval(AGAIN);
        loop {
            tries.tick().await;
            let mut missing = Vec::new();
            for at in self.missing {
                if let Err(obstacle) = place(&self.vault, &at).await {
                    if !troubled {
                        let error = obstacle.text;
                        tracing::warn!(decoy = %at, %error, "can't see to it that a decoy is there; grant `create` and `read` on its data, or write it by hand");
                    }
                    missing.push(at);
                }
            }
            if missing.is_empty() {
                return;
            }
            troubled = true;
            self.missing = missing;
        }
    }
}

async fn place(vault: &Vault, at: &KvPath) -> Result<(), Obstacle> {
    let there = vault.kv_read::<IgnoredAny>(at).await?;
    if there.is_some() {
        return Ok(());
    }
    let key = format!("AKIA{}", random(KEY, 16));
    let secret = random(SECRET, 40);
    let data = HashMap::from([
        ("access_key_id", key.as_str()),
        ("secret_access_key", secret.as_str()),
    ]);
    vault.kv_write(at, 0, &data).await?;
    tracing::info!(decoy = %at, "wrote a decoy");
    Ok(())
}

/// What looks like a key, and opens nothing.
fn random(letters: &[u8], length: usize) -> String {
    let mut rng = rand::rng();
    let letter = |_| letters.get(rng.random_range(0..letters.len()));
    let drawn = (0..length).filter_map(letter);
    drawn.map(|letter| char::from(*letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_decoy_is_another_key() {
        let (one, other) = (random(KEY, 16), random(KEY, 16));
        assert!(one.len() == 16 && other.len() == 16 && one != other);
        assert!(one.bytes().all(|letter| KEY.contains(&letter)), "{one}");
    }
}
