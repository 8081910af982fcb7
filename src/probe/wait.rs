//! The wait for the proof of a step.

use std::time::Duration;

use tokio::time::Instant;

use super::clients::QUESTION_LIMIT;
use super::{Journey, verify};
use crate::model::Mark;
use crate::model::promise::Promise;
use crate::model::proof::Proof;
use crate::model::record::End;
use crate::operator::Reader;

/// How often Vault is asked in one step what a Secret should hold that somebody writes again and again.
const QUESTIONS: u32 = 16;

/// What is waited for, and when it is given up, whatever the operator still announces: at `last`.
pub(super) struct Wait<'a> {
    pub(super) proof: &'a Proof,
    pub(super) promise: Promise,
    pub(super) timeout: Duration,
    pub(super) started: Mark,
    pub(super) submitted: Mark,
    pub(super) last: Instant,
}

impl Journey<'_> {
    /// Waits for the proof, no longer than the timeout beyond the moment when it is due.
    pub(super) async fn await_proof(
        &mut self,
        wait: &Wait<'_>,
        watch: Option<&verify::Watch>,
    ) -> End {
        let reader = Reader::new(wait.proof, wait.promise, wait.started, wait.submitted);
        self.reader = Some(reader.again(&self.timeline));
        let end = self.read_on(wait, watch).await;
        self.reader = None;
        end
    }

    /// Takes in what is seen until the proof is, or the time is up.
    async fn read_on(&mut self, wait: &Wait<'_>, watch: Option<&verify::Watch>) -> End {
        let (mut asked, mut questions) = (false, 0);
        loop {
            self.collect();
            let asks = |reader: &Reader| reader.effect().is_none() && reader.asks();
            if !asked && questions < QUESTIONS && self.reader.as_ref().is_some_and(asks) {
                (asked, questions) = (true, questions + 1);
                if let Err(end) = self.ask_given(QUESTION_LIMIT).await {
                    return end;
                }
            }
            let reader = match &self.reader {
                Some(reader) if reader.effect().is_some() => return End::Proven,
                Some(reader) if !reader.foiled() => reader,
                Some(_) | None => return End::TimedOut,
            };
            let due = reader.due().unwrap_or(wait.started);
            let deadline = self.instant(due.plus(wait.timeout)).min(wait.last);
            let before = self.timeline.secret().map(|(_, content)| content.clone());
            if let Err(end) = self.look(deadline).await {
                return end;
            }
            let after = self.timeline.secret().map(|(_, content)| content);
            if after != before.as_ref() {
                asked = false;
                if let Some(watch) = watch {
                    watch.changed();
                }
            }
        }
    }

    /// Takes in the next sighting, or says why there was none.
    pub(super) async fn look(&mut self, deadline: Instant) -> Result<(), End> {
        tokio::select! {
            biased;
            sighting = self.sightings.next() => self.note(sighting.map_err(End::Met)?),
            () = self.shutdown.wait() => return Err(End::Interrupted),
            () = tokio::time::sleep_until(deadline) => return Err(End::TimedOut),
        }
        Ok(())
    }
}
