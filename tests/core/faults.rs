//! Checks of docs/faults.md and docs/causes.md against the trials that inject the faults, and the causes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use vso_prober::model::cause::Cause;

/// The suites whose every trial has a row.
const WHOLE: [&str; 5] = [
    "causes",
    "innocent",
    "operator_faults",
    "vault_outages",
    "own_faults",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A row of a table: the verdicts, who plays the operator, and the trial.
struct Row {
    verdicts: String,
    operator: String,
    trial: String,
}

fn rows() -> Vec<Row> {
    let text = read(&root().join("docs/faults.md"));
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, _, _, verdicts, _, operator, trial, _] = cells[..] else {
            return None;
        };
        let trial = trial.strip_prefix('`')?.strip_suffix('`')?;
        Some(Row {
            verdicts: verdicts.to_owned(),
            operator: operator.to_owned(),
            trial: trial.to_owned(),
        })
    });
    rows.collect()
}

/// The trials of a suite, and whether each needs the stand-in.
fn trials(suite: &str) -> BTreeMap<String, bool> {
    let text = read(
        &root()
            .join("e2e/tests/suites")
            .join(suite)
            .with_extension("rs"),
    );
    let named = |call: &str| -> Vec<String> {
        let calls = text.split(call).skip(1);
        calls
            .filter_map(|rest| {
                let (name, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
                Some(name.to_owned())
            })
            .collect()
    };
    let faults = named(".fault(").into_iter().map(|name| (name, true));
    let mut trials: BTreeMap<_, _> = faults.collect();
    trials.extend(named(".trial(").into_iter().map(|name| (name, false)));
    // One suite makes its trials of a table.
    if let Some((_, table)) = text.split_once("const GIVEN") {
        let (table, _) = table.split_once("];").expect("a table has an end");
        let given = table.lines().filter_map(|line| {
            let (name, _) = line.trim().strip_prefix("(\"")?.split_once('"')?;
            Some((name.replace('-', "_"), false))
        });
        trials.extend(given);
    }
    trials
}

#[test]
fn every_row_has_its_trial_and_says_who_plays_the_operator() {
    let mut wrong = Vec::new();
    for row in rows() {
        let (suite, name) = row.trial.split_once("::").expect("`suite::trial`");
        let Some(stand_in) = trials(suite).get(name).copied() else {
            wrong.push(format!("there is no trial `{}`", row.trial));
            continue;
        };
        let operator = if stand_in { "stand-in" } else { "both" };
        if row.operator != operator {
            wrong.push(format!("`{}` is run with: {operator}", row.trial));
        }
    }
    assert_eq!(
        wrong, [""; 0],
        "docs/faults.md is not true to e2e/tests/suites"
    );
}

#[test]
fn every_trial_of_the_suites_of_faults_has_a_row() {
    let listed: BTreeSet<_> = rows().into_iter().map(|row| row.trial).collect();
    let missing: Vec<_> = WHOLE
        .iter()
        .flat_map(|suite| {
            trials(suite)
                .into_keys()
                .map(move |name| format!("{suite}::{name}"))
        })
        .filter(|trial| !listed.contains(trial))
        .collect();
    assert_eq!(missing, [""; 0], "trials without a row in docs/faults.md");
}

#[test]
fn every_cause_is_told_with_its_party() {
    let text = read(&root().join("docs/faults.md"));
    let known = |cause: &Cause| format!("`{cause}` ({})", cause.party());
    let causes: BTreeSet<_> = Cause::ALL.iter().map(known).collect();
    let missing: Vec<_> = causes
        .iter()
        .filter(|cause| !text.contains(*cause))
        .collect();
    assert_eq!(missing, [""; 0], "causes without a word in docs/faults.md");
    for row in rows() {
        for verdict in row.verdicts.split(", ") {
            let known = causes.contains(verdict) || ["`success`", "–"].contains(&verdict);
            assert!(
                known,
                "`{}`: {verdict} is no cause with its party",
                row.trial
            );
        }
    }
}

#[test]
fn the_page_of_causes_has_each_with_its_advice() {
    let text = read(&root().join("docs/causes.md"));
    let told: BTreeSet<_> = text
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split(" | ").collect();
            let [cause, party, _, advice] = cells[..] else {
                return None;
            };
            let cause = cause.strip_prefix("| `")?.strip_suffix('`')?;
            Some((cause, party, advice.strip_suffix(" |")?))
        })
        .collect();
    let party = |cause: &Cause| cause.party().as_str();
    let causes: BTreeSet<_> = Cause::ALL
        .iter()
        .map(|cause| (cause.as_str(), party(cause), cause.advice()))
        .collect();
    assert_eq!(told, causes, "docs/causes.md is not true to the causes");
}
