//! The traces of canaries: who asked for the secret of each, for as long as a run may ask for it.

use std::collections::VecDeque;

use super::context::Context;
use super::entry::{Half, VaultEntry};
use super::trap::Kind;
use crate::model::trace::{Call, Caller};

/// So many canaries are remembered, the latest ones: an hour of eight a minute.
const CANARIES: usize = 500;
/// So many requests for one: a run that goes on for long is one of polls.
const CALLS: usize = 200;

/// What the log says of the latest canaries.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// By the canaries' names, the latest last.
    canaries: VecDeque<(String, Vec<Call>)>,
}

impl Traces {
    /// Takes in a line, if it is of a canary.
    pub fn take(&mut self, entry: &VaultEntry, context: &Context) {
        let canary = context.touched(entry);
        if canary.is_none_or(|(trap, _)| trap.kind != Kind::Canary) {
            return;
        }
        let Some((_, name)) = entry.path.trim_end_matches('/').rsplit_once('/') else {
            return;
        };
        let calls = self.of(name);
        let room = calls.len() < CALLS;
        match calls.iter_mut().find(|call| *call.id == *entry.id) {
            // A second device writes the same lines.
            Some(call) if entry.half == Half::Response => {
                call.answered.get_or_insert(entry.time);
            }
            // The lines of two devices, or of a shipper, may come in any order.
            Some(call) => call.asked = call.asked.min(entry.time),
            None if room => {
                let operator = context.identities.of(entry).is_some();
                calls.push(Call {
                    id: entry.id.as_str().into(),
                    operation: entry.operation.as_str().into(),
                    by: if operator {
                        Caller::Operator
                    } else {
                        Caller::Other
                    },
                    asked: entry.time,
                    answered: (entry.half == Half::Response).then_some(entry.time),
                });
            }
            None => {}
        }
    }

    fn of(&mut self, name: &str) -> &mut Vec<Call> {
        let known = self.canaries.iter().position(|(known, _)| known == name);
        let at = known.unwrap_or_else(|| {
            if self.canaries.len() == CANARIES {
                self.canaries.pop_front();
            }
            self.canaries.push_back((name.to_owned(), Vec::new()));
            self.canaries.len() - 1
        });
        &mut self.canaries[at].1
    }

    /// The requests for a canary's secret, in the order of their first lines.
    pub fn calls(&self, canary: &str) -> Vec<Call> {
        let found = self.canaries.iter().find(|(known, _)| known == canary);
        let mut calls = found.map_or_else(Vec::new, |(_, calls)| calls.clone());
        calls.sort_by_key(|call| call.asked);
        calls
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::audit::entry::{Entry, parse};
    use crate::audit::trap::Trap;

    fn line(kind: &str, id: &str, operation: &str, path: &str, second: i64) -> VaultEntry {
        let time = Timestamp::from_second(1_800_000_000 + second).expect("a time");
        let line = serde_json::json!({
            "time": time, "type": kind,
            "request": {"id": id, "operation": operation, "path": path},
        });
        match parse(line.to_string().as_bytes()) {
            Ok(Entry::Vault(entry)) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_of_one_request_are_one_call_in_whatever_order_they_come() {
        let context = Context {
            traps: vec![Trap {
                mount: "kvv2".into(),
                path: "vso-prober/default".into(),
                kind: Kind::Canary,
                namespace: String::new(),
            }],
            ..Context::default()
        };
        let path = "kvv2/data/vso-prober/default/c/vsop-kv-a";
        let lines = [
            line("request", "1", "update", path, 1),
            line("response", "1", "update", path, 2),
            line("request", "2", "read", path, 3),
            line("response", "2", "read", path, 4),
            line("request", "3", "read", "kvv2/data/other", 4),
            line(
                "request",
                "4",
                "delete",
                &path.replace("data", "metadata"),
                5,
            ),
        ];
        let told = |order: &[usize]| {
            let mut traces = Traces::default();
            for at in order {
                traces.take(&lines[*at], &context);
            }
            traces.calls("vsop-kv-a")
        };
        let calls = told(&[0, 1, 2, 3, 4, 5]);
        let ids: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["1", "2", "4"]);
        assert!(calls[0].answered > Some(calls[0].asked) && calls[2].answered.is_none());
        assert_eq!(told(&[0, 1, 0, 1, 2, 3, 2, 5]), calls);
        assert!(Traces::default().calls("vsop-kv-a").is_empty());
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let context = Context {
            traps: vec![Trap {
                mount: "kvv2".into(),
                path: "vso-prober".into(),
                kind: Kind::Canary,
                namespace: String::new(),
            }],
            ..Context::default()
        };
        let mut traces = Traces::default();
        for number in 0..CANARIES + 2 {
            let path = format!("kvv2/data/vso-prober/vsop-kv-{number}");
            traces.take(&line("request", "1", "read", &path, 1), &context);
        }
        for number in 0..CALLS + 2 {
            let (id, path) = (number.to_string(), "kvv2/data/vso-prober/vsop-kv-9");
            traces.take(&line("request", &id, "read", path, 1), &context);
        }
        assert_eq!(traces.canaries.len(), CANARIES);
        assert!(traces.calls("vsop-kv-0").is_empty());
        assert_eq!(traces.calls("vsop-kv-9").len(), CALLS);
    }
}
