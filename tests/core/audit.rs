//! Tests of the judge of audit logs: each rule has its own lines, `tests/audit/RULE/{positive,negative}-*.jsonl`, and what is
//! known beside them, `context.json`.

mod devices;
mod entry;
mod namespaces;
mod wary;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde::Deserialize;
use vso_prober::audit::address::{Mode, range};
use vso_prober::audit::context::{Context, Persistence, Reader, Settings, Window};
use vso_prober::audit::entry::{Entry, parse};
use vso_prober::audit::facts::Facts;
use vso_prober::audit::finding::{Confidence, Finding, RuleName, State};
use vso_prober::audit::identity::{Identities, Person};
use vso_prober::audit::presence::{Line, Presence};
use vso_prober::audit::review::Review;
use vso_prober::audit::trap::Trap;
use vso_prober::audit::workload::Workloads;
use vso_prober::audit::{Judge, Taken};
use vso_prober::model::clock::Offset;

/// A context, as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    identities: Identities,
    traps: Vec<Trap>,
    probers: Vec<Person>,
    readers: Vec<KnownReader>,
    account: Option<String>,
    persistence: Option<Persistence>,
    clock_error_milliseconds: u64,
    presence: Vec<Line>,
    #[serde(default)]
    address: Option<Mode>,
    #[serde(default)]
    trusted: Vec<String>,
    #[serde(default)]
    windows: Vec<Window>,
}

#[derive(Deserialize)]
struct KnownReader {
    path: Option<String>,
    #[serde(rename = "displayName")]
    display_name: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn context(rule: &str) -> Context {
    let text = read(&folder().join(rule).join("context.json"));
    let known: Known = serde_json::from_str(&text).expect("a context");
    let readers = known.readers.into_iter().map(|reader| Reader {
        path: reader.path,
        person: Person {
            display_name: Some(reader.display_name),
            ..Person::default()
        },
    });
    let trusted = known
        .trusted
        .iter()
        .map(|text| range(text).expect("a range"));
    Context {
        settings: Settings {
            address: known.address,
            trusted: trusted.collect(),
            ..Settings::default()
        },
        presence: Presence::new(known.presence),
        identities: known.identities,
        workloads: Workloads::default(),
        traps: known.traps,
        probers: known.probers,
        readers: readers.collect(),
        account: known
            .account
            .map(|account| account.try_into().expect("an account")),
        offset: Some(Offset {
            ahead: SignedDuration::ZERO,
            error: Duration::from_millis(known.clock_error_milliseconds),
        }),
        persistence: known.persistence,
        counts: !known.windows.is_empty(),
        windows: known.windows,
        events_until: None,
    }
}

/// The files of a rule whose names begin so, with their entries.
fn files(rule: &str, beginning: &str) -> Vec<(String, Vec<Entry>)> {
    let listed = fs::read_dir(folder().join(rule)).expect("a folder");
    let paths = listed.map(|file| file.expect("a file").path());
    let mut files: Vec<_> = paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            name.starts_with(beginning).then(|| (name, entries(&path)))
        })
        .collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

fn entries(path: &Path) -> Vec<Entry> {
    let entry =
        |line: &str| parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
    read(path).lines().map(entry).collect()
}

fn findings(entries: impl IntoIterator<Item = Entry>, context: &Context) -> Vec<Finding> {
    let mut judge = Judge::default();
    for entry in entries {
        judge.take("vault-0", entry, context);
    }
    judge.judge(context, None);
    judge.findings()
}

/// The same, by a review of whole logs.
fn reviewed(entries: &[Entry], context: &Context) -> Vec<Finding> {
    let mut facts = Facts::default();
    for entry in entries {
        facts.learn(entry, context);
    }
    let mut review = Review::new(&facts, context);
    for entry in entries {
        review.weigh("vault-0", entry);
    }
    review.findings()
}

#[test]
fn each_rule_finds_its_own_lines_and_no_innocent_ones() {
    for rule in RuleName::ALL {
        let context = context(rule.name());
        let positive = files(rule.name(), "positive");
        let negative = files(rule.name(), "negative");
        assert!(
            !positive.is_empty() && !negative.is_empty(),
            "{}",
            rule.name()
        );
        for (name, entries) in positive {
            let found = findings(entries, &context);
            let own: Vec<_> = found
                .iter()
                .filter(|finding| finding.rule == rule)
                .collect();
            assert_eq!(own.len(), 1, "{}/{name}: {found:#?}", rule.name());
            assert_eq!(own[0].state, State::Confirmed);
        }
        for (name, entries) in negative {
            let found = findings(entries, &context);
            assert_eq!(found, [], "{}/{name}", rule.name());
        }
    }
}

#[test]
fn a_finding_says_what_happened_and_how_sure_it_is() {
    let mut told = String::new();
    for rule in RuleName::ALL {
        let context = context(rule.name());
        for (name, entries) in files(rule.name(), "positive") {
            let found = findings(entries, &context);
            for finding in found.iter().filter(|finding| finding.rule == rule) {
                let (confidence, count) = (finding.confidence.name(), finding.count);
                let (rule, text) = (rule.name(), &finding.text);
                let line = writeln!(told, "{rule}/{name}: {confidence}, {count}\n  {text}");
                line.expect("a string takes it");
            }
        }
    }
    let saved = folder().join("sentences.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&saved, &told).expect("it can be written");
    }
    assert_eq!(told, read(&saved), "BLESS=1 writes it anew");
}

/// What a stolen token does, before it is known what became of the operator.
#[test]
fn a_suspect_is_confirmed_after_the_grace_or_dismissed() {
    let mut context = context("address");
    let lines = files("address", "positive-read-from-elsewhere").remove(0).1;
    let stolen = lines.iter().map(Entry::time).max().expect("lines");
    let after = |seconds| Some(stolen + SignedDuration::from_secs(seconds));
    let mut judge = Judge::default();
    for entry in lines {
        judge.take("vault-0", entry, &context);
    }
    let states = |found: &[Finding]| {
        found
            .iter()
            .map(|finding| finding.state)
            .collect::<Vec<_>>()
    };
    let changed = judge.judge(&context, after(1));
    assert_eq!(states(&changed), [State::Suspect]);
    assert_eq!(judge.judge(&context, after(59)), [], "nothing has changed");
    let mut confirmed = judge.clone();
    assert_eq!(
        states(&confirmed.judge(&context, after(61))),
        [State::Confirmed]
    );
    assert_eq!(
        confirmed.judge(&context, after(600)),
        [],
        "settled, and it stays"
    );
    assert_eq!(states(&confirmed.findings()), [State::Confirmed]);
    let id = changed[0].id.clone();
    assert_eq!(confirmed.findings()[0].id, id);
    // A Pod that was late to be seen.
    let late = r#"{"pod":"vso-2","address":"10.1.0.66","from":"2027-01-15T08:00:30Z"}"#;
    let late = serde_json::from_str(late).expect("a line");
    context.presence = Presence::new(context.presence.lines().chain([late]));
    let changed = judge.judge(&context, after(59));
    assert_eq!(states(&changed), [State::Dismissed]);
    assert_eq!(changed[0].id, id);
    assert_eq!(judge.judge(&context, after(600)), []);
}

#[test]
fn a_shared_identity_is_one_step_less_sure() {
    let mut context = context("address");
    let lines = files("address", "positive-read-from-elsewhere").remove(0).1;
    let shared = context.identities.iter().cloned().map(|mut identity| {
        identity.shared = true;
        identity
    });
    context.identities = Identities::new(shared);
    let found = findings(lines, &context);
    assert_eq!(found[0].confidence, Confidence::Medium);
    assert!(
        found[0].shared && found[0].text.contains("other workloads use"),
        "{}",
        found[0].text
    );
}

/// A tenant's own Pods use its ServiceAccount too, wherever the operator is.
#[test]
fn what_a_workload_does_from_its_own_pods_is_no_finding_but_of_canaries() {
    for rule in [RuleName::Absent, RuleName::Address] {
        for (name, lines) in files(rule.name(), "positive") {
            let mut context = context(rule.name());
            let shared = context.identities.iter().cloned().map(|mut identity| {
                identity.shared = true;
                identity
            });
            context.identities = Identities::new(shared);
            let of_rule = |context: &Context| {
                let found = findings(lines.clone(), context);
                let own = found.iter().filter(|finding| finding.rule == rule);
                own.count()
            };
            assert_eq!(of_rule(&context), 1, "{name}");
            for entry in &lines {
                if let Entry::Vault(entry) = entry
                    && let Some(address) = entry.address
                {
                    let account = &entry.who.service_account;
                    context
                        .workloads
                        .see(account, address, entry.time, entry.time);
                }
            }
            assert_eq!(of_rule(&context), 0, "{name}");
            // Nobody looked then, so that it may have been one of them.
            context.workloads = Workloads::default();
            let before = lines[0].time() - SignedDuration::from_hours(1);
            context.workloads.look(before, Duration::ZERO);
            assert_eq!(of_rule(&context), 0, "{name}");
        }
    }
}

#[test]
fn a_canary_tells_although_nobody_knows_who_shares_the_identity() {
    for (name, lines) in files("honey", "positive") {
        let mut context = context("honey");
        let found = findings(lines.clone(), &context).len();
        let before = lines[0].time() - SignedDuration::from_hours(1);
        context.workloads.look(before, Duration::ZERO);
        assert_eq!(findings(lines, &context).len(), found, "{name}");
    }
}

#[test]
fn one_finding_counts_what_comes_later() {
    let context = context("address");
    let (_, lines) = files("address", "positive-read-from-elsewhere").remove(0);
    let line = |entry: &Entry, number: i64| {
        let mut entry = entry.clone();
        let Entry::Vault(vault) = &mut entry else {
            return entry;
        };
        vault.time += SignedDuration::from_secs(number * 60);
        vault.id = format!("{}-{number}", vault.id);
        entry
    };
    let last = &lines[lines.len() - 2..];
    let more: Vec<_> = (1..=70)
        .flat_map(|number| last.iter().map(move |entry| line(entry, number)))
        .collect();
    let found = findings(lines.iter().cloned().chain(more), &context);
    // Sixty minutes and what began within them are one finding.
    let counts: Vec<_> = found
        .iter()
        .map(|finding| (finding.count, finding.requests.len()))
        .collect();
    assert_eq!(counts, [(61, 10), (10, 10)]);
    assert!(
        found[0].requests.iter().all(|request| request.granted),
        "both lines are one request"
    );
}

#[test]
fn whoever_floods_the_log_is_found_in_bounded_room() {
    let context = context("address");
    let (_, lines) = files("address", "positive-read-from-elsewhere").remove(0);
    let last = lines[lines.len() - 1].clone();
    let now = last.time() + SignedDuration::from_secs(2);
    let mut judge = Judge::default();
    for entry in lines {
        judge.take("vault-0", entry, &context);
    }
    for number in 0..15_000 {
        let mut entry = last.clone();
        let Entry::Vault(vault) = &mut entry else {
            panic!("{last:?}")
        };
        vault.id = format!("flood-{number}");
        judge.take("vault-0", entry, &context);
    }
    let changed = judge.judge(&context, Some(now));
    let states: Vec<_> = changed.iter().map(|finding| finding.state).collect();
    assert_eq!(states, [State::Confirmed], "the first had to be settled");
    let found = judge.findings();
    assert_eq!(
        (found.len(), found[0].count, found[0].requests.len()),
        (1, 15_001, 10)
    );
    let saved = serde_json::to_string(&judge.saved()).expect("JSON");
    assert!(saved.len() < 12 << 20, "{}", saved.len());
}

#[test]
fn a_line_that_comes_again_is_a_duplicate() {
    let context = context("address");
    let (_, lines) = files("address", "positive-read-from-elsewhere").remove(0);
    let last = lines.iter().map(Entry::time).max().expect("lines");
    let mut judge = Judge::default();
    let take = |judge: &mut Judge| {
        let taken = lines
            .iter()
            .cloned()
            .map(|entry| matches!(judge.take("vault-0", entry, &context), Taken::Used(_)));
        taken.filter(|used| *used).count()
    };
    let used = take(&mut judge);
    assert!(used > 10, "{used} of {}", lines.len());
    assert_eq!(take(&mut judge), 0, "open ones are");
    judge.judge(&context, Some(last + SignedDuration::from_secs(100)));
    assert_eq!(take(&mut judge), 0, "settled ones are remembered");
    let saved = serde_json::to_string(&judge.saved()).expect("JSON");
    assert!(!saved.contains("hmac"), "{saved}");
    let saved = serde_json::from_str(&saved).expect("what was saved");
    let mut resumed = Judge::resumed(saved);
    assert_eq!(resumed, judge);
    assert_eq!(take(&mut resumed), 0, "after a restart too");
}

/// All the lines of a rule.
fn lines(rule: RuleName) -> Vec<Entry> {
    let all = ["positive", "negative"].map(|beginning| files(rule.name(), beginning));
    all.into_iter()
        .flatten()
        .flat_map(|(_, entries)| entries)
        .collect()
}

fn rules() -> impl Strategy<Value = RuleName> {
    prop::sample::select(RuleName::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_lines_in_any_order_and_number_give_the_same_findings(
        (rule, order) in rules().prop_flat_map(|rule| {
            let count = lines(rule).len();
            let once: Vec<usize> = (0..count).collect();
            let again = prop::collection::vec(0..count, 0..count);
            (Just(rule), (Just(once), again).prop_map(|(once, again)| [once, again].concat()).prop_shuffle())
        })
    ) {
        let context = context(rule.name());
        let lines = lines(rule);
        let expected = findings(lines.iter().cloned(), &context);
        let found = findings(order.iter().map(|at| lines[*at].clone()), &context);
        prop_assert_eq!(&expected, &found);
        let order: Vec<_> = order.iter().map(|at| lines[*at].clone()).collect();
        prop_assert_eq!(expected, reviewed(&order, &context));
    }
}
