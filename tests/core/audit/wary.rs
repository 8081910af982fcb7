//! Tests of what is not said for want of knowledge, and of what is forgotten for want of room.

use std::net::Ipv4Addr;

use jiff::SignedDuration;
use serde_json::Value;
use vso_prober::audit::Judge;
use vso_prober::audit::context::Context;
use vso_prober::audit::entry::Entry;
use vso_prober::audit::finding::{Finding, RuleName, State};
use vso_prober::audit::rule;

use super::{context, files, findings};

fn lines(rule: RuleName, name: &str) -> Vec<Entry> {
    files(rule.name(), name).remove(0).1
}

fn judge_of(lines: &[Entry], context: &Context) -> Judge {
    let mut judge = Judge::default();
    for entry in lines {
        judge.take("vault-0", entry.clone(), context);
    }
    judge
}

fn found(mut judge: Judge, context: &Context) -> Vec<Finding> {
    judge.judge(context, None);
    judge.findings()
}

fn is_off(rule: RuleName, judge: &Judge, context: &Context) -> bool {
    let off = rule::off(judge.facts(), context);
    off.iter().any(|(known, _)| *known == rule)
}

#[test]
fn where_events_may_have_been_missed_their_absence_says_nothing() {
    let context = context("unbacked");
    let lines = lines(RuleName::Unbacked, "positive-minted-elsewhere");
    let login = lines[lines.len() - 1].time();
    let missed = |seconds: i64| {
        let mut judge = judge_of(&lines, &context);
        judge.events_missed(login + SignedDuration::from_secs(seconds));
        let saved = serde_json::to_string(&judge.saved()).expect("JSON");
        let resumed = Judge::resumed(serde_json::from_str(&saved).expect("what was saved"));
        assert_eq!(resumed, judge);
        // Events of before come late.
        let mut late = resumed.clone();
        for entry in &lines {
            late.take("kubernetes", entry.clone(), &context);
        }
        assert_eq!(found(late, &context), found(resumed, &context));
        found(judge, &context).len()
    };
    assert_eq!(
        [-60, -20, 20].map(missed),
        [1, 0, 0],
        "the token may have been issued 30 s before"
    );
    let mut judge = judge_of(&lines, &context);
    judge.unwatch_events();
    assert!(is_off(RuleName::Unbacked, &judge, &context));
    assert_eq!(found(judge, &context), []);
}

#[test]
fn a_log_that_shows_no_request_of_the_operators_says_nothing_by_its_silence() {
    let context = context("unbacked");
    let shown = |name| {
        let judge = judge_of(&lines(RuleName::Unbacked, name), &context);
        !is_off(RuleName::Unbacked, &judge, &context)
    };
    assert!(shown("positive-minted-elsewhere"));
    assert!(!shown("negative-no-request-of-the-operators"));
}

#[test]
fn without_vaults_clock_no_login_is_unbacked() {
    let mut context = context("unbacked");
    let lines = lines(RuleName::Unbacked, "positive-minted-elsewhere");
    assert_eq!(findings(lines.iter().cloned(), &context).len(), 1);
    context.offset = None;
    let judge = judge_of(&lines, &context);
    assert!(is_off(RuleName::Unbacked, &judge, &context));
    assert_eq!(found(judge, &context), []);
}

#[test]
fn as_long_as_the_prober_is_not_known_a_canary_says_nothing() {
    let mut context = context("honey");
    let lines = lines(RuleName::Honey, "positive-canary-by-a-tenant");
    assert_eq!(findings(lines.iter().cloned(), &context).len(), 1);
    context.probers.clear();
    let judge = judge_of(&lines, &context);
    assert!(is_off(RuleName::Honey, &judge, &context));
    assert_eq!(found(judge, &context), []);
}

#[test]
fn a_finding_that_is_over_keeps_its_count_and_little_else() {
    let context = context("address");
    let mut lines = lines(RuleName::Address, "positive-read-from-elsewhere");
    let last = lines[lines.len() - 1].clone();
    for number in 0..50 {
        let mut entry = last.clone();
        if let Entry::Vault(vault) = &mut entry {
            vault.id = format!("again-{number}");
        }
        lines.push(entry);
    }
    let mut judge = judge_of(&lines, &context);
    let after = |seconds| Some(last.time() + SignedDuration::from_secs(seconds));
    judge.judge(&context, after(70));
    let full = judge.findings();
    let kept = |judge: &Judge| {
        let saved = serde_json::to_value(judge.saved()).expect("JSON");
        let hits = &saved["ledger"][0]["hits"];
        ["seen", "requests"].map(|part| hits[part].as_array().map(Vec::len))
    };
    judge.judge(&context, after(100));
    judge.judge(&context, after(3700));
    assert_eq!(kept(&judge), [Some(51), Some(32)]);
    judge.judge(&context, after(3800));
    assert_eq!(kept(&judge), [Some(0), Some(10)]);
    assert_eq!((judge.findings(), full[0].count), (full.clone(), 51));
    assert_eq!(full[0].state, State::Confirmed);
    let mut late = last.clone();
    if let Entry::Vault(vault) = &mut late {
        vault.id = "late".to_owned();
    }
    judge.take("vault-0", late, &context);
    judge.judge(&context, after(3900));
    assert_eq!(kept(&judge), [Some(0), Some(10)]);
    assert_eq!(judge.findings(), full, "what comes later is not counted");
    // One more of the same is the same finding.
    let more = judge_of(&lines, &context);
    assert_eq!(found(more, &context)[0].id, full[0].id);
}

/// Whoever has a token may use it from as many addresses as they like.
#[test]
fn of_a_token_that_was_used_from_everywhere_its_owner_is_not_forgotten() {
    let context = context("moved");
    let mut lines = lines(RuleName::Moved, "positive-token-from-two");
    let last = lines[lines.len() - 1].clone();
    for number in 0..200u8 {
        let mut entry = last.clone();
        if let Entry::Vault(vault) = &mut entry {
            vault.id = format!("everywhere-{number}");
            vault.time += SignedDuration::from_secs(1);
            vault.address = Some(Ipv4Addr::new(10, 77, 0, number).into());
        }
        lines.push(entry);
    }
    let judge = judge_of(&lines, &context);
    let saved = serde_json::to_value(judge.saved()).expect("JSON");
    let tokens = saved["facts"]["tokens"].as_object().expect("tokens");
    let addresses = tokens
        .values()
        .map(|uses| uses.as_object().map(serde_json::Map::len));
    assert_eq!(addresses.max(), Some(Some(32)));
    let moved = found(judge, &context);
    let moved = moved
        .iter()
        .filter(|finding| finding.rule == RuleName::Moved);
    assert_eq!(moved.count(), 201);
    lines.reverse();
    let reversed = found(judge_of(&lines, &context), &context);
    let reversed = reversed
        .iter()
        .filter(|finding| finding.rule == RuleName::Moved);
    assert_eq!(reversed.count(), 201);
}

#[test]
fn what_the_version_before_wrote_is_read() {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for new in ["missed", "closed", "said", "namespace"] {
                    map.remove(new);
                }
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    for rule in [RuleName::Unbacked, RuleName::Address, RuleName::Moved] {
        let context = context(rule.name());
        let (_, lines) = files(rule.name(), "positive").remove(0);
        let judge = judge_of(&lines, &context);
        let mut saved = serde_json::to_value(judge.saved()).expect("JSON");
        strip(&mut saved);
        let old = Judge::resumed(serde_json::from_value(saved).expect("what was saved"));
        assert_eq!(old, judge);
        assert_eq!(found(old, &context), found(judge, &context));
    }
}
