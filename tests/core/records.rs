//! The corpus: saved records of the faults in docs/faults.md, each with the run that is claimed of it.
//!
//! `tests/records/NAME.json` is a record as `probe --record` saves it, with two keys more: `rows`, the trials of
//! docs/faults.md that it is of, and `operator`, who played it: `stand-in`, or a version. `NAME.run.json` is its run.
//! `BLESS=1 cargo test --test core records::` writes the runs anew: then read the difference, and say in the commit why each changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;
use serde_json::Value;
use vso_prober::judge::judge;
use vso_prober::model::run::Run;
use vso_prober::model::{Verdict, saved};
use vso_prober::operator::account;

/// What a file of the corpus says beside its record.
#[derive(Deserialize)]
struct Label {
    rows: Vec<String>,
    operator: String,
}

struct Sample {
    file: PathBuf,
    text: String,
    label: Label,
    run: Run,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn samples() -> Vec<Sample> {
    let entries = fs::read_dir(root().join("tests/records")).expect("there is a corpus");
    let files = entries.map(|entry| entry.expect("a folder can be read to its end").path());
    let mut files: Vec<_> = files.filter(|file| is_record(file)).collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = read(&file);
            let label = serde_json::from_str(&text);
            let label = label.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let record = saved::read(text.as_bytes());
            let record = record.unwrap_or_else(|error| panic!("{} {error}", file.display()));
            Sample {
                run: judge(&record, &account(&record)),
                label,
                text,
                file,
            }
        })
        .collect()
}

fn is_record(file: &Path) -> bool {
    let name = file.to_string_lossy();
    name.ends_with(".json") && !name.ends_with(".run.json")
}

#[test]
fn every_record_is_judged_as_before() {
    let bless = env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for Sample { file, run, .. } in samples() {
        let expected = file.with_extension("run.json");
        let judged = serde_json::to_string_pretty(&run).expect("a run is JSON") + "\n";
        if bless {
            fs::write(&expected, judged).expect("it can be written");
            continue;
        }
        let before = fs::read_to_string(&expected).unwrap_or_default();
        if judged != before {
            let name = expected.display();
            wrong.push(format!("{name}:\n{}", difference(&before, &judged)));
        }
    }
    let count = wrong.len();
    assert!(
        wrong.is_empty(),
        "{count} runs are judged otherwise; `BLESS=1` takes them as they are now\n{}",
        wrong.join("\n")
    );
}

/// The lines that differ, from the first to the last.
fn difference(before: &str, now: &str) -> String {
    let (before, now): (Vec<_>, Vec<_>) = (before.lines().collect(), now.lines().collect());
    let pairs = before.iter().zip(&now);
    let same = pairs.take_while(|(before, now)| before == now).count();
    let (before, now) = (&before[same..], &now[same..]);
    let pairs = before.iter().rev().zip(now.iter().rev());
    let end = pairs.take_while(|(before, now)| before == now).count();
    let lines = |sign, lines: &[&str]| {
        let lines = lines[..lines.len() - end].iter();
        let lines: Vec<_> = lines.map(|line| format!("{sign} {line}\n")).collect();
        lines.concat()
    };
    lines('-', before) + &lines('+', now)
}

/// The verdicts of each row of docs/faults.md, by its trial.
fn rows() -> BTreeMap<String, String> {
    let text = read(&root().join("docs/faults.md"));
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, _, _, verdicts, _, _, trial, _] = cells[..] else {
            return None;
        };
        let trial = trial.strip_prefix('`')?.strip_suffix('`')?;
        Some((trial.to_owned(), verdicts.to_owned()))
    });
    rows.collect()
}

#[test]
fn every_record_is_of_a_fault_and_has_a_verdict_of_it() {
    let rows = rows();
    let mut wrong = Vec::new();
    for Sample {
        file, label, run, ..
    } in samples()
    {
        let file = file.display();
        let version = label
            .operator
            .split('.')
            .all(|part| part.parse::<u32>().is_ok());
        if label.operator != "stand-in" && !version {
            wrong.push(format!("{file}: `operator` is `{}`", label.operator));
        }
        let verdict = match run.decisive().and_then(|step| step.cause) {
            Some(cause) => format!("`{cause}`"),
            None => format!("`{}`", Verdict::Success),
        };
        for row in &label.rows {
            match rows.get(row) {
                None => wrong.push(format!("{file}: docs/faults.md has no row `{row}`")),
                Some(verdicts) if verdicts == "–" || verdicts.contains(&verdict) => {}
                Some(verdicts) => {
                    wrong.push(format!("{file}: {verdict}, and `{row}` has {verdicts}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fault_with_a_run_has_a_record() {
    let samples = samples();
    let had: BTreeSet<_> = samples
        .iter()
        .flat_map(|sample| &sample.label.rows)
        .collect();
    let missing: Vec<_> = rows()
        .into_iter()
        .filter(|(row, verdicts)| verdicts != "–" && !had.contains(row))
        .map(|(row, _)| row)
        .collect();
    assert_eq!(missing, [""; 0], "rows of docs/faults.md without a record");
}

/// How values begin that are secret: tokens, what is encoded in JSON, keys.
const SECRET: [&str; 5] = ["hvs.", "hvb.", "hvr.", "eyJ", "-----BEGIN"];
/// How the names of a database's users begin. The operator's own events quote them where PostgreSQL knows one no more.
const USER: &str = "v-kubernet-";

#[test]
fn no_record_holds_a_secret() {
    let mut wrong = Vec::new();
    for Sample { file, text, .. } in samples() {
        let file = file.display();
        let said = SECRET.iter().filter(|start| text.contains(**start));
        wrong.extend(said.map(|start| format!("{file}: `{start}`")));
        let record: Value = serde_json::from_str(&text).expect("it was read before");
        texts(&record, &mut |text| {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_./".contains(c));
            wrong.extend(
                words
                    .filter(|word| is_odd(word))
                    .map(|word| format!("{file}: `{word}`")),
            );
        });
    }
    assert!(
        wrong.is_empty(),
        "what may be secrets:\n{}",
        wrong.join("\n")
    );
}

/// Whether a word is as random as a token or a password, and is no lease's ID: those are names.
fn is_odd(word: &str) -> bool {
    let has = |wanted: fn(&char) -> bool| word.chars().any(|c| wanted(&c));
    let random =
        has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    let lease = word.contains("/creds/") || word.contains("/issue/");
    let moment = word.parse::<jiff::Timestamp>().is_ok();
    word.len() >= 18 && random && !lease && !moment && !word.starts_with(USER)
}

/// Tells every text in a value, keys included.
fn texts(value: &Value, tell: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => tell(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, tell)),
        Value::Object(values) => {
            for (key, value) in values {
                tell(key);
                texts(value, tell);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
