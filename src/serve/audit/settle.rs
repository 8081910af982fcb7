//! The turn of the auditor: it judges what came, keeps it, acknowledges it, and tells what was found.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::Auditor;
use super::counts::{VOID, unix};
use crate::audit::finding::{Finding, State};
use crate::audit::rule::{self, books};
use crate::config::KUBERNETES;
use crate::http::{AuditNews, RuleOff, SourceStatus};
use crate::model::clock::Offset;
use crate::model::text::Text;
use crate::model::time::Moment as _;
use crate::publish::Fact;
use crate::tail::Status;

/// How often it is told, if nothing changes.
const TELL: Duration = Duration::from_secs(1);
/// How often all that is not settled is judged anew: every suspect is to be told within two seconds.
const JUDGE: Duration = Duration::from_secs(1);
/// Why no line is heeded at first.
const WAITING: &str =
    "waiting for the operator's Pods and the VaultAuths, without which nothing can be judged";

impl Auditor {
    /// Judges, keeps, acknowledges and tells.
    pub(super) fn settle(&mut self) {
        let now = Timestamp::now();
        self.look_at_sources(now);
        self.place_decoys();
        self.weigh(now);
        self.context.presence = self.tracker.presence(now);
        self.context.offset = Offset::bounded(&self.own.bounds, now);
        let mut changed = std::mem::take(&mut self.changed);
        // As long as it is not known whose lines are to be heeded, nothing is suspicious, and nothing is explained.
        if self.ready() && self.judged.is_none_or(|judged| judged.later(JUDGE) <= now) {
            self.judged = Some(now);
            self.replay(now);
            changed.extend(self.judge.judge(&self.context, Some(now)));
        }
        for finding in &changed {
            self.counts.changed(finding);
            tell(finding);
        }
        // First it is told, for the disk may be slow: what is not kept comes again.
        if !changed.is_empty() || self.told.is_none_or(|told| told.later(TELL) <= now) {
            self.told = Some(now);
            self.publish(now);
        }
        self.keep(!changed.is_empty(), now);
        for finding in &changed {
            self.notice.tell(finding);
        }
    }

    /// Has the decoys written, once it is known who the prober is: or else its own touch would be found.
    fn place_decoys(&mut self) {
        if !self.own.people().is_empty()
            && let Some(decoys) = self.decoys.take()
        {
            self.tasks.spawn(decoys.place());
        }
    }

    /// Compares what the operator counted in each window with the log, once no line of it is to come any more.
    fn weigh(&mut self, now: Timestamp) {
        let lag = self.context.settings.lag;
        for window in &self.context.windows {
            let new = self.weighed.is_none_or(|weighed| window.to > weighed);
            if new && window.to.later(lag) <= now {
                self.weighed = Some(window.to);
                let facts = self.judge.facts();
                let result = match books::weigh(facts, &self.context, window) {
                    _ if !facts.whole(window.from) => VOID,
                    Ordering::Equal => "balanced",
                    Ordering::Greater => "over",
                    Ordering::Less => "under",
                };
                self.counts.window(result);
            }
        }
    }

    /// Says of each source why it can't be read, if it can't, and until when the API server's events have come.
    fn look_at_sources(&mut self, now: Timestamp) {
        let whole = self.own.whole(now, self.context.settings.lag);
        for (name, status) in &self.statuses {
            let Status { down, absent, .. } = &*status.borrow();
            // What Vault is asked stands in the logs of its other nodes.
            let idle = *absent && whole && name.as_str() != KUBERNETES;
            let down = down.as_ref().filter(|_| !idle);
            self.counts.source(name).unread = down.map(Text::to_string);
        }
        let recent = now.earlier(self.context.settings.remember);
        let kubernetes = self.counts.sources.get(KUBERNETES);
        let come = kubernetes.is_some_and(|source| source.down(recent).is_none());
        let read = self.statuses.get(KUBERNETES);
        let read = read.and_then(|status| status.borrow().whole_until);
        let lag = self.context.settings.lag;
        self.context.events_until = read.filter(|_| come).map(|read| read.earlier(lag));
    }

    /// Why it is not known where the operator is, if it was not seen within `lag`.
    fn unseen(&self, now: Timestamp) -> Option<String> {
        let seen = self.tracker.seen()?;
        let late = seen.later(self.context.settings.lag) < now;
        late.then(|| format!("the operator's Pods could not be looked at since {seen}"))
    }

    /// Tells what there is to tell, to whoever asks and as metrics.
    fn publish(&self, now: Timestamp) {
        let settings = &self.context.settings;
        let findings = self.judge.findings();
        let facts = self.judge.facts();
        let mode = facts.mode(&self.context);
        let off: Vec<_> = rule::off(facts, &self.context)
            .into_iter()
            .map(|(rule, reason)| RuleOff { rule, reason })
            .collect();
        let blind = if self.ready() {
            let missed = self.own.missed(now, settings.lag);
            missed.or_else(|| self.unseen(now))
        } else {
            Some(WAITING.to_owned())
        };
        let offset = self.context.offset;
        let recent = now.earlier(settings.remember);
        let sources = self.counts.sources.iter().map(|(name, source)| {
            let reason = source.down(recent).or_else(|| blind.clone());
            SourceStatus {
                name: name.clone(),
                up: reason.is_none(),
                reason,
                last_line: source.last_line,
                clock_offset_seconds: offset.map(|offset| offset.ahead.as_secs_f64()),
                clock_error_seconds: offset.map(|offset| offset.error.as_secs_f64()),
                address_mode: mode.name(),
                off: off.clone(),
            }
        });
        let sources = sources.collect();
        let present = self.tracker.seen().map(|_| self.tracker.present());
        let mut figures = self.counts.figures(
            &findings,
            present,
            mode,
            now,
            settings.remember,
            blind.is_none(),
        );
        figures.drilled = unix(self.board.drilled());
        let difference = self.judge.difference();
        figures.difference = difference.map_or_else(Vec::new, |difference| {
            let operator = [("login", difference.logins), ("read", difference.reads)];
            let operator = operator.map(|(operation, more)| (operation, "operator", more));
            let tokens = difference.tokens.map(|more| ("login", "kubernetes", more));
            operator.into_iter().chain(tokens).collect()
        });
        self.publisher.publish(Fact::Audit(Some(Box::new(figures))));
        self.board.tell(AuditNews {
            findings,
            sources,
            presence: self.context.presence.lines().collect(),
        });
    }
}

/// Tells the log.
fn tell(finding: &Finding) {
    let Finding {
        id,
        state,
        confidence,
        text,
        advice,
        count,
        ..
    } = finding;
    let (rule, state, confidence) = (finding.rule.name(), state.name(), confidence.name());
    match finding.state {
        State::Confirmed => {
            tracing::error!(rule, state, confidence, %text, %advice, count, finding = id, "somebody acts in the operator's name");
        }
        State::Suspect => {
            tracing::warn!(rule, state, confidence, %text, count, finding = id, "somebody may act in the operator's name");
        }
        State::Dismissed => {
            tracing::info!(rule, state, %text, finding = id, "the suspicion is explained");
        }
    }
}
