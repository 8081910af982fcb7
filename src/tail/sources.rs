//! The sources of audit lines, each read by a task of its own.

mod file;
mod pods;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::intake::Intake;
use super::outlet::Outlet;
use super::position::Positions;
use super::{Batch, SourceName, Status};
use crate::config::{self, AuditSource, Begin, Feed};
use crate::health::Health;
use crate::shutdown::Shutdown;
use file::FileSource;
use pods::PodLogs;

/// The sources that are read.
pub struct Sources {
    outlet: Outlet,
    state: PathBuf,
    positions: Arc<Positions>,
    statuses: BTreeMap<SourceName, watch::Receiver<Status>>,
    intake: Intake,
    health: Health,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl Sources {
    /// No source yet. The positions of files are in `state`, which is created if it is not there; batches come by what
    /// is returned. All sources end with the shutdown.
    ///
    /// # Errors
    /// The positions can't be read.
    pub fn open(
        state: &Path,
        health: &Health,
        shutdown: &Shutdown,
    ) -> io::Result<(Self, mpsc::Receiver<Batch>)> {
        let (outlet, batches) = Outlet::new();
        let sources = Self {
            intake: Intake::new(outlet.clone()),
            outlet,
            state: state.to_owned(),
            positions: Arc::new(Positions::open(state)?),
            statuses: BTreeMap::new(),
            health: health.clone(),
            shutdown: shutdown.clone(),
            tasks: JoinSet::new(),
        };
        Ok((sources, batches))
    }

    /// Begins to read a source. Those of `http` are read by [`Self::intake`], those of Pods by way of `kubernetes`.
    pub fn add(&mut self, source: &AuditSource, kubernetes: &config::Kubernetes) {
        match &source.feed {
            Feed::File { path, from } => self.add_file(&source.name, path, *from),
            Feed::Http { bearer_token_file } => {
                let status = self.intake.add(&source.name, bearer_token_file.clone());
                self.statuses.insert(source.name.clone(), status);
            }
            Feed::PodLogs {
                namespace,
                selector,
                container,
            } => {
                let (status, told) = watch::channel(Status::default());
                self.statuses.insert(source.name.clone(), told);
                let pods = PodLogs {
                    source: source.name.clone(),
                    namespace: namespace.clone(),
                    selector: selector.clone(),
                    container: container.clone(),
                    kubernetes: kubernetes.clone(),
                    state: self.state.clone(),
                    outlet: self.outlet.clone(),
                    status: Arc::new(status),
                };
                self.spawn(&source.name, pods.run(self.shutdown.clone()));
            }
        }
    }

    /// Begins to read a file.
    pub fn add_file(&mut self, source: &SourceName, path: &Path, begin: Begin) {
        let (status, told) = watch::channel(Status::default());
        self.statuses.insert(source.clone(), told);
        let file = FileSource {
            source: source.clone(),
            path: path.to_owned(),
            begin,
            positions: self.positions.clone(),
            outlet: self.outlet.clone(),
            status,
        };
        self.spawn(source, file.run(self.shutdown.clone()));
    }

    fn spawn(&mut self, source: &SourceName, work: impl Future<Output = ()> + Send + 'static) {
        let ending = self.shutdown.clone();
        let may_end = move || ending.asked();
        let who = format!("the audit source {source}");
        self.tasks
            .spawn(self.health.clone().keep(who, may_end, work));
    }

    /// What takes the lines of `http` sources, which were added before.
    pub const fn intake(&self) -> &Intake {
        &self.intake
    }

    /// How each source is, from now on.
    pub const fn statuses(&self) -> &BTreeMap<SourceName, watch::Receiver<Status>> {
        &self.statuses
    }

    /// Waits until all have ended, and saved how far they were acknowledged.
    pub async fn end(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
