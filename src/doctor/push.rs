//! The check of the receivers of pushes.

use std::time::Duration;

use super::fix::Fix;
use super::{Ledger, Topic};
use crate::config::Config;
use crate::push::{self, Error};

/// How long a target may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks each target, and pushes nothing.
pub(super) async fn look(config: &Config, ledger: &mut Ledger) {
    for (key, answer) in push::reach(config, LIMIT).await {
        match answer {
            Ok(()) => ledger.good(Topic::Push, key, "answers"),
            Err(error @ Error::Refused { status, .. }) if status.as_u16() == 400 => {
                let text =
                    format!("{error}; the request was empty, which not every receiver accepts");
                ledger.warning(Topic::Push, key, text, None);
            }
            Err(error) => {
                let fix = format!(
                    "start the receiver, or set `{key}.url` to its URL: `kubectl get services -A` lists the services in the cluster"
                );
                ledger.finding(Topic::Push, key, error.to_string(), Fix::words(fix));
            }
        }
    }
}
