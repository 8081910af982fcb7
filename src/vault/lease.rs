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

#[derive(Deserialize)]
struct Lookup {
    data: LookupData,
}

#[derive(Deserialize)]
struct LookupData {
    ttl: i64,
}

/// The life of a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// It has time left.
    Lives,
    /// It has none left, and Vault is revoking it.
    Ending,
    /// Vault knows it no more.
    Ended,
}

impl Vault {
    /// What Vault says of a lease.
    pub async fn lease_life(&self, id: &str) -> Result<Life, Obstacle> {
        let what = format!("look up lease `{id}`");
        let answer = self
            .put("sys/leases/lookup", &json!({ "lease_id": id }))
            .await?;
        let status = answer.status();
        if status.is_success() {
            // A revocation that was not waited for leaves the lease without any time, until it is done.
            let ttl = answer
                .json::<Lookup>()
                .await
                .map_or(1, |lookup| lookup.data.ttl);
            return Ok(if ttl > 0 { Life::Lives } else { Life::Ending });
        }
        let Errors { errors } = answer.json().await.unwrap_or(Errors { errors: Vec::new() });
        if status == 400 && errors.iter().any(|error| error.contains("invalid lease")) {
            return Ok(Life::Ended);
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
