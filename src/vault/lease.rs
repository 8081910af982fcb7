//! Leases in Vault: look-up and revocation.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::answer::Said;
use super::{OwnLease, Vault};
use crate::model::record::Obstacle;
use crate::model::time::LONGEST;

/// What Vault tells of a lease.
#[derive(Deserialize)]
struct Lookup {
    /// The lease that it tells of.
    id: String,
    ttl: i64,
    #[serde(default)]
    issue_time: Option<String>,
    #[serde(default)]
    expire_time: Option<String>,
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

impl Lookup {
    fn life(&self) -> Life {
        // A revocation that was not waited for leaves the lease without any time, until it is done.
        if self.ttl <= 0 {
            return Life::Ending;
        }
        let time = |text: &Option<String>| text.as_ref()?.parse::<Timestamp>().ok();
        let (from, ends) = (time(&self.issue_time), time(&self.expire_time));
        let whole = from.zip(ends).and_then(|(from, to)| {
            let whole: Duration = to.duration_since(from).try_into().ok()?;
            (whole <= LONGEST).then_some(whole)
        });
        Life::Lives(Term { whole, ends })
    }
}

impl Vault {
    /// What Vault says of a lease.
    pub async fn lease_life(&self, lease: &OwnLease) -> Result<Life, Obstacle> {
        let id = lease.id();
        let what = format!("look up lease `{id}`");
        let body = json!({ "lease_id": id });
        let request = self.plain(&what, Method::PUT, "sys/leases/lookup", Some(&body))?;
        let request = self.within(&what, request, lease.namespace())?;
        let answer = self.ask(&what, request).await?;
        match answer.data::<Lookup>()? {
            Said::Yes(lookup) if lookup.id == id => Ok(lookup.life()),
            Said::Yes(_) => Err(answer.foreign()),
            Said::No(no)
                if no.code == 400
                    && no
                        .errors
                        .iter()
                        .any(|error| error.contains("invalid lease")) =>
            {
                Ok(Life::Ended)
            }
            Said::No(no) => Err(answer.refused(&no)),
        }
    }

    /// Revokes the lease, and returns when it is done.
    pub async fn lease_revoke(&self, lease: &OwnLease) -> Result<(), Obstacle> {
        let id = lease.id();
        let what = format!("revoke lease `{id}`");
        let body = json!({ "lease_id": id, "sync": true });
        let request = self.plain(&what, Method::PUT, "sys/leases/revoke", Some(&body))?;
        let request = self.within(&what, request, lease.namespace())?;
        let answer = self.ask(&what, request).await?;
        answer.granted(answer.done()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_bounds_are_not_told() {
        let life = |ttl, from: &str, to: &str| {
            let (from, to) = (from.to_owned(), to.to_owned());
            let lookup = Lookup {
                id: String::new(),
                ttl,
                issue_time: Some(from),
                expire_time: Some(to),
            };
            match lookup.life() {
                Life::Lives(term) => term.whole,
                _ => Some(Duration::ZERO),
            }
        };
        let (from, to) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00.5Z");
        assert_eq!(life(1, from, to), Some(Duration::from_millis(3_600_500)));
        assert_eq!(life(i64::MAX, to, from), None, "it ends before it begins");
        assert_eq!(life(1, from, "9999-12-31T23:59:59.999999Z"), None);
        assert_eq!(life(1, "0000-01-01T00:00:00Z", to), None);
        assert_eq!(life(1, "yesterday", to), None);
        assert_eq!(life(i64::MIN, from, to), Some(Duration::ZERO));
    }
}
