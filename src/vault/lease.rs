//! Leases in Vault: whether they live, and how to end them.

use serde::Deserialize;
use serde_json::json;

use super::{Vault, refusal};
use crate::model::record::Obstacle;

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

impl Vault {
    /// Whether Vault knows the lease as one that lives.
    pub async fn lease_lives(&self, id: &str) -> Result<bool, Obstacle> {
        let what = format!("look up lease `{id}`");
        let answer = self
            .put("sys/leases/lookup", &json!({ "lease_id": id }))
            .await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(true);
        }
        let Errors { errors } = answer.json().await.unwrap_or(Errors { errors: Vec::new() });
        if status == 400 && errors.iter().any(|error| error.contains("invalid lease")) {
            return Ok(false);
        }
        Err(refusal(
            &self.config.address,
            &what,
            status.as_u16(),
            &errors,
        ))
    }

    /// Revokes the lease, and returns when it is done.
    pub async fn lease_revoke(&self, id: &str) -> Result<(), Obstacle> {
        let body = json!({ "lease_id": id, "sync": true });
        let answer = self.put("sys/leases/revoke", &body).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let Errors { errors } = answer.json().await.unwrap_or(Errors { errors: Vec::new() });
        let what = format!("revoke lease `{id}`");
        Err(refusal(
            &self.config.address,
            &what,
            status.as_u16(),
            &errors,
        ))
    }
}
