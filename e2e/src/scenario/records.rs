//! The records of every run of every trial, stored in the folder `RECORDS`: samples for `tests/records`.
//!
//! In `RECORDS/SUITE::TRIAL` there is a file for each run that `probe` took, below `records` in it one for each that `serve`
//! took and that was not good, and `secrets.txt`: what no record may hold. That file is for a search, and for nobody else.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::Recording;
use crate::lab::Lab;

/// Keeps the records of a suite's trials.
#[derive(Debug)]
pub(super) struct Records {
    /// The folder of all trials.
    folder: PathBuf,
    /// The name of the trial under way.
    trial: Mutex<String>,
    /// What the canaries' Secrets hold.
    recording: Recording,
    /// What the lab's own secrets are.
    known: BTreeSet<String>,
}

impl Records {
    /// Begins to keep records, if `RECORDS` is set.
    pub(super) async fn start(lab: &Lab) -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os("RECORDS").filter(|folder| !folder.is_empty()) else {
            return Ok(None);
        };
        let read = |file: &std::path::Path| {
            let text = fs::read_to_string(file);
            text.with_context(|| format!("could not read `{}`", file.display()))
        };
        let known = [
            read(lab.prober_token_file())?,
            read(lab.approle_files().1)?,
            lab.vault().token().to_owned(),
        ];
        Ok(Some(Self {
            folder: folder.into(),
            trial: Mutex::default(),
            recording: Recording::start(&lab.client()).await?,
            known: known.iter().map(|text| text.trim().to_owned()).collect(),
        }))
    }

    /// Takes in that a trial begins.
    pub(super) fn begin(&self, trial: &str) {
        let mut under_way = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        trial.clone_into(&mut under_way);
    }

    /// The folder of the trial under way.
    pub(super) fn folder(&self) -> PathBuf {
        let trial = self.trial.lock().unwrap_or_else(PoisonError::into_inner);
        self.folder.join(&*trial)
    }

    /// Writes down, beside the records of the trial under way, what no record may hold.
    pub(super) fn end(&self) -> Result<()> {
        let folder = self.folder();
        if !folder.is_dir() {
            return Ok(());
        }
        let mut secrets = self.known.clone();
        secrets.extend(self.recording.all_values());
        let text = secrets.into_iter().collect::<Vec<_>>().join("\0");
        fs::write(folder.join("secrets.txt"), text).context("could not write secrets.txt")
    }
}
