//! The push of what is published to a Pushgateway or a remote-write endpoint.

mod client;
mod error;
mod gateway;
mod known;
mod message;
mod post;
mod remote;

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Config, Push};
use crate::model::run::Run;
use crate::model::time::Moment as _;
pub use error::Error;
pub use remote::Remote;

/// The label `job` of all that is pushed.
const JOB: &str = "vso-prober";

/// Pushes runs that are over, to all that is configured, and gives up after `limit`. What failed is returned.
pub async fn once(config: &Config, runs: &[Run], limit: Duration) -> Vec<Error> {
    let until = Instant::now().later(limit);
    let Push {
        pushgateway,
        remote_write,
    } = &config.push;
    let gateway = async {
        match pushgateway {
            Some(receiver) => gateway::push(receiver, config, runs, until).await,
            None => Ok(()),
        }
    };
    let remote = async {
        match remote_write {
            Some(remote) => {
                Remote::new(remote, &config.instance)?
                    .labelled(&config.labels)
                    .write_runs(config, runs, until)
                    .await
            }
            None => Ok(()),
        }
    };
    let (gateway, remote) = tokio::join!(gateway, remote);
    [gateway, remote]
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

/// Asks each target that is configured whether it answers, by its key, and pushes nothing.
pub async fn reach(config: &Config, limit: Duration) -> Vec<(&'static str, Result<(), Error>)> {
    let until = Instant::now().later(limit);
    let mut answers = Vec::new();
    if let Some(receiver) = &config.push.pushgateway {
        answers.push((gateway::KEY, gateway::reach(receiver).await));
    }
    if let Some(remote) = &config.push.remote_write {
        let answer = match Remote::new(remote, &config.instance) {
            Ok(remote) => remote.reach(until).await,
            Err(error) => Err(error),
        };
        answers.push((remote::KEY, answer));
    }
    answers
}

/// What `serve` takes no heed of, and why.
pub const fn unfit_to_serve(push: &Push) -> Option<&'static str> {
    if push.pushgateway.is_some() {
        Some(
            "`push.pushgateway` is for `probe --push`: a Pushgateway never forgets, so scrape `serve`, or send its metrics by `push.remoteWrite`",
        )
    } else {
        None
    }
}
