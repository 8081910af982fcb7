//! Leases in Vault: whether they live, and how to end them.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{OwnLease, Vault, refusal};
use crate::model::record::Obstacle;
use crate::model::time;

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
    #[serde(default)]
    issue_time: Option<Timestamp>,
    #[serde(default)]
    expire_time: Option<Timestamp>,
}

/// The life of a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// It has time left.
    Lives(Term),
    /// It has none left, and Vault is revoking it.
    Ending,
    /// Vault knows it no more.
    Ended,
}

/// The time that Vault grants a lease, as far as it tells.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Term {
    /// From its issue to its end: told by one clock, so that no other matters.
    pub whole: Option<Duration>,
    /// Its end, by Vault's clock.
    pub ends: Option<Timestamp>,
}

impl Life {
    /// Whether it has time left.
    pub const fn lives(self) -> bool {
        matches!(self, Self::Lives(_))
    }
}

impl Vault {
    /// What Vault says of a lease.
    pub async fn lease_life(&self, lease: &OwnLease) -> Result<Life, Obstacle> {
        let id = lease.id();
        let what = format!("look up lease `{id}`");
        let answer = self
            .put("sys/leases/lookup", &json!({ "lease_id": id }))
            .await?;
        let status = answer.status();
        if status.is_success() {
            let Ok(Lookup { data }) = answer.json().await else {
                return Ok(Life::Lives(Term::default()));
            };
            // A revocation that was not waited for leaves the lease without any time, until it is done.
            if data.ttl <= 0 {
                return Ok(Life::Ending);
            }
            let whole = data
                .issue_time
                .zip(data.expire_time)
                .and_then(|(from, to)| to.duration_since(from).try_into().ok())
                .map(time::clamped);
            return Ok(Life::Lives(Term {
                whole,
                ends: data.expire_time,
            }));
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
    pub async fn lease_revoke(&self, lease: &OwnLease) -> Result<(), Obstacle> {
        let id = lease.id();
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
