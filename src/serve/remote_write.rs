//! The task that sends the metrics by remote write.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::config::{Config, Receiver};
use crate::health::Health;
use crate::publish::Publisher;
use crate::push::{Error, Remote, unfit_to_serve};
use crate::shutdown::Shutdown;

/// The instance, and what else every series bears.
type Labels = (String, BTreeMap<String, String>);

/// The task that sends now, and earlier ones that send what was published last.
#[derive(Default)]
pub struct RemoteWriter {
    current: Option<(Receiver, Labels, Shutdown)>,
    tasks: JoinSet<()>,
}

impl RemoteWriter {
    /// Sends where this configuration says, from now on.
    ///
    /// # Errors
    /// That can't be done: then nothing is sent.
    pub fn configure(
        &mut self,
        config: &Config,
        publisher: &Arc<Publisher>,
        health: &Health,
    ) -> Result<(), Error> {
        if let Some(why) = unfit_to_serve(&config.push) {
            tracing::warn!("{why}");
        }
        let asked = config.push.remote_write.as_ref();
        let labels = (config.instance.clone(), config.labels.clone());
        if let Some((remote, known, over)) = &self.current {
            if asked == Some(remote) && labels == *known {
                return Ok(());
            }
            over.ask();
            self.current = None;
        }
        let Some(asked) = asked else { return Ok(()) };
        let remote = Remote::new(asked, &config.instance)?.labelled(&config.labels);
        let over = Shutdown::default();
        let sent = remote.run(publisher.clone(), over.clone());
        let may_end = {
            let over = over.clone();
            move || over.asked()
        };
        let who = "remote write".to_owned();
        self.tasks.spawn(health.clone().keep(who, may_end, sent));
        self.current = Some((asked.clone(), labels, over));
        Ok(())
    }

    /// Sends what was published last, and says farewell.
    pub async fn end(mut self) {
        if let Some((_, _, over)) = &self.current {
            over.ask();
        }
        while self.tasks.join_next().await.is_some() {}
    }
}
