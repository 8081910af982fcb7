//! Tests of reading expositions: what was written is read back, whatever the labels hold; a real operator's is
//! understood; and nothing that is sent does any harm.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use prometheus_parse::{Scrape, Value};
use proptest::prelude::*;
use vso_prober::exposition::samples;
use vso_prober::model::Kind;
use vso_prober::model::snapshot::{Snapshot, Void};
use vso_prober::operator::exposition::read;

const QUIET: &str = include_str!("../operator/metrics-quiet-before.txt");
const CREATED: &str = include_str!("../operator/metrics-quiet-after-one-create.txt");
const UPDATED: &str = include_str!("../operator/metrics-quiet-after-one-update.txt");
const LOAD: &str = include_str!("../operator/metrics-load-before.txt");
const LOADED: &str = include_str!("../operator/metrics-load-after-300.txt");
const RECORDED: [&str; 5] = [QUIET, CREATED, UPDATED, LOAD, LOADED];

type Labels = Vec<(String, String)>;
/// A sample that is to be read.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// What is read: name, labels and value of each sample.
fn all(text: &str) -> Vec<(String, Labels, f64)> {
    let owned = |sample: vso_prober::exposition::Sample| {
        let labels = sample
            .labels()
            .map(|(name, value)| (name.to_owned(), value.into_owned()));
        (sample.name.to_owned(), labels.collect(), sample.value)
    };
    samples(text).map(owned).collect()
}

/// One line, read.
fn check(line: &str, expected: Option<Expected>) {
    let expected = expected.map(|(name, labels, value)| {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        (name.to_owned(), labels.collect::<Labels>(), value)
    });
    assert_eq!(all(&format!("{line}\n")).pop(), expected, "{line}");
}

#[test]
fn every_form_of_a_line_is_read() {
    check("up 1", Some(("up", &[], 1.0)));
    check("up{} 1", Some(("up", &[], 1.0)));
    check("  up  1  ", Some(("up", &[], 1.0)));
    check("up 1\r", Some(("up", &[], 1.0)));
    check("up 1 1700000000000", Some(("up", &[], 1.0)));
    check(
        "up{a=\"b\"} 1.5e3 1700000000.123",
        Some(("up", &[("a", "b")], 1500.0)),
    );
    check(
        "up { a = \"b\" , c = \"d\" , } 2",
        Some(("up", &[("a", "b"), ("c", "d")], 2.0)),
    );
    check(
        "x_total{a=\"b\"} 3 # {run=\"7\"} 0.5 1700.0",
        Some(("x_total", &[("a", "b")], 3.0)),
    );
    check("x_total 3 # {run=\"7\"} 0.5", Some(("x_total", &[], 3.0)));
    check(
        "up{a=\"1,2=3}4{5\"} 1",
        Some(("up", &[("a", "1,2=3}4{5")], 1.0)),
    );
    check(
        r#"up{a="q\"b\\n\nx\y"} 1"#,
        Some(("up", &[("a", "q\"b\\n\nx\\y")], 1.0)),
    );
    check(
        r#"{"a.name",b="c"} 1"#,
        Some(("a.name", &[("b", "c")], 1.0)),
    );
    check(r#"{"a.name"} 1"#, Some(("a.name", &[], 1.0)));
    check(
        r#"up{"a label"="b"} 1"#,
        Some(("up", &[("a label", "b")], 1.0)),
    );
    check("up +Inf", Some(("up", &[], f64::INFINITY)));
    check("up -Inf", Some(("up", &[], f64::NEG_INFINITY)));
    for none in [
        "",
        " ",
        "#",
        "# HELP up 1",
        "# TYPE up gauge",
        "# EOF",
        "up",
        "up{",
        "up{}",
        "up{a}",
        "up{a=} 1",
        "up{a=\"b} 1",
        "up{a=\"b\" 1",
        "up{a=b} 1",
        "{} 1",
        "up one",
        "{a=\"b\"} 1",
        "<p>up</p> 1",
    ] {
        check(none, None);
    }
    assert!(
        samples("up NaN\n")
            .next()
            .is_some_and(|sample| sample.value.is_nan())
    );
}

#[test]
fn a_body_that_was_cut_off_lacks_its_last_line_only() {
    assert_eq!(all("a 1\nb 2\nc 12").len(), 2);
    let longest = format!("a{{b=\"{}\"}} 1\nc 2\n", "x".repeat(1 << 20));
    assert_eq!(all(&longest).len(), 2);
    let endless = format!("a{{{}", "b=\"c\",".repeat(1 << 17));
    assert_eq!(all(&endless).len(), 0);
}

/// What is read of a text by another parser.
fn oracle(text: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    let lines = text.lines().map(|line| io::Result::Ok(line.to_owned()));
    let scrape = Scrape::parse(lines).expect("a recorded exposition is a good one");
    let mut all = BTreeMap::new();
    for sample in scrape.samples {
        let labels: BTreeMap<_, _> = sample
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) = sample.value {
            all.insert((sample.metric, labels), value);
        }
    }
    all
}

#[test]
fn a_real_operators_exposition_reads_as_by_another_parser() {
    for text in RECORDED {
        let ours: BTreeMap<_, _> = all(text)
            .into_iter()
            .map(|(name, labels, value)| ((name, labels.into_iter().collect()), value))
            .collect();
        let theirs = oracle(text);
        assert!(theirs.len() > 50, "the oracle is of use");
        for (series, value) in theirs {
            assert_eq!(ours.get(&series), Some(&value), "{series:?}");
        }
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(ours.len(), lines);
    }
}

const CONNECTION: &str = "vso-probe/probe";

fn snapshot(text: &str) -> Snapshot {
    read(text, "pod").expect("it is the operator's")
}

#[test]
fn a_real_operators_numbers_are_told_apart() {
    let delta = |from, to| {
        snapshot(from)
            .delta(&snapshot(to), 10.0, Kind::Static, Some(CONNECTION))
            .expect("it counted on")
    };
    let near = |number: f64, expected: f64| {
        assert!(
            (number - expected).abs() < 1e-6,
            "{number} is not {expected}"
        );
    };
    let created = delta(QUIET, CREATED);
    near(created.reconciles, 2.0);
    near(created.reconcile_seconds, 0.031_106_454);
    near(created.queue_seconds, 0.000_010_094);
    near(created.vault_reads, 2.0);
    near(created.vault_read_seconds, 0.003_157_485);
    near(created.logins, 0.0);
    near(created.window_seconds, 10.0);
    near(delta(CREATED, UPDATED).reconciles, 1.0);
    let load = delta(LOAD, LOADED);
    near(load.reconciles, 600.0);
    near(load.vault_reads, 600.0);
    near(load.queue_seconds, 155.627_121_282);
    near(load.cpu_seconds, 1.39);
    let quiet = snapshot(QUIET);
    assert_eq!(quiet.version, None, "this one was built without");
    assert!(quiet.processes["pod"] > 1.7e9);
    assert_eq!(snapshot(LOADED).connections.len(), 2);
    assert_eq!(
        quiet.controllers.keys().collect::<Vec<_>>(),
        [&Kind::Static]
    );
}

#[test]
fn numbers_that_do_not_count_on_are_void() {
    let (from, to) = (snapshot(QUIET), snapshot(CREATED));
    let void = |from: &Snapshot, to: &Snapshot| {
        from.delta(to, 1.0, Kind::Static, Some(CONNECTION))
            .map(|_| ())
    };
    assert_eq!(void(&from, &to), Ok(()));
    assert_eq!(void(&to, &from), Err(Void::CounterReset));
    let mut restarted = to.clone();
    restarted.processes.insert("pod".to_owned(), 1.0);
    assert_eq!(void(&from, &restarted), Err(Void::Restart));
    let mut scaled = to.clone();
    scaled.processes.insert("another".to_owned(), 1.0);
    assert_eq!(void(&from, &scaled), Err(Void::Restart));
    let led = |leader: &str, of: &Snapshot| Snapshot {
        leader: Some(leader.to_owned()),
        ..of.clone()
    };
    assert_eq!(
        void(&led("a", &from), &led("b", &to)),
        Err(Void::LeaderChanged)
    );
    assert_eq!(void(&led("a", &from), &led("a", &to)), Ok(()));
    assert_eq!(
        void(&from, &led("b", &to)),
        Ok(()),
        "who leads was not told before"
    );
}

#[test]
fn what_is_no_number_does_not_poison_a_sum() {
    let name = "controller_runtime_reconcile_time_seconds_sum";
    let text = |values: &[&str]| {
        let mut text = String::new();
        for (priority, value) in values.iter().enumerate() {
            let _ = writeln!(
                text,
                "{name}{{controller=\"vaultstaticsecret\",priority=\"{priority}\"}} {value}"
            );
        }
        text
    };
    let sum = |values: &[&str]| {
        snapshot(&text(values)).controllers[&Kind::Static]
            .reconciles
            .seconds
    };
    let near = |sum: f64, expected: f64| assert!((sum - expected).abs() < 1e-9, "{sum}");
    near(sum(&["1", "NaN", "2.5", "-7", "+Inf", "-Inf"]), 3.5);
    near(sum(&["NaN"]), 0.0);
    assert!(sum(&["1e308", "1e308", "1e308"]).is_finite());
}

#[test]
fn pods_are_summed_and_one_that_stands_by_is_one() {
    let standby = "vso_build_info{git_version=\"1.4.1\"} 1\nprocess_start_time_seconds 5\nprocess_cpu_seconds_total 2\n";
    let mut whole = read(QUIET, "a").expect("it works");
    let alone = whole.clone();
    whole.add(read(standby, "b").expect("it stands by"));
    assert_eq!(whole.processes.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(whole.version.as_deref(), Some("1.4.1"));
    assert!((whole.cpu_seconds - alone.cpu_seconds - 2.0).abs() < 1e-9);
    assert_eq!(whole.controllers, alone.controllers);
    whole.add(alone.clone());
    let reconciles = |of: &Snapshot| of.controllers[&Kind::Static].reconciles.count;
    assert!((reconciles(&whole) - 2.0 * reconciles(&alone)).abs() < 1e-9);
    assert_eq!(
        read("up 1\n# TYPE go_goroutines gauge\ngo_goroutines 5\n", ""),
        None
    );
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::INFINITY),
        (0..1000_u32).prop_map(f64::from)
    ]
}

fn any_series() -> impl Strategy<Value = (String, Labels, f64)> {
    let text = prop_oneof!["[ -~\n\\\\\"{},=]{0,12}", any::<String>()];
    let labels = prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,5}", text, 0..4);
    ("[a-zA-Z_:][a-zA-Z0-9_:]{0,10}", labels, any_value())
        .prop_map(|(name, labels, value)| (name, labels.into_iter().collect(), value))
}

/// Writes a series as Prometheus' own libraries do.
fn write((name, labels, value): &(String, Labels, f64), tail: &str) -> String {
    let escape = |text: &str| {
        text.replace('\\', r"\\")
            .replace('"', r#"\""#)
            .replace('\n', r"\n")
    };
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, text)| format!("{name}=\"{}\"", escape(text)))
        .collect();
    let value = match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if *value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => format!("{value:e}"),
    };
    if labels.is_empty() {
        format!("{name} {value}{tail}\n")
    } else {
        format!("{name}{{{}}} {value}{tail}\n", labels.join(","))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read_back(
        series in prop::collection::vec(any_series(), 0..20),
        tail in prop_oneof![Just(""), Just(" 1700000000000"), Just(" # {a=\"b\"} 1 1700.5")],
    ) {
        let mut text = "# HELP a It is a, \"b\" and {c}.\n# TYPE a counter\n".to_owned();
        for series in &series {
            text += &write(series, tail);
        }
        text += "# EOF\n";
        let read = all(&text);
        prop_assert_eq!(read.len(), series.len());
        for (read, written) in read.iter().zip(&series) {
            prop_assert_eq!((&read.0, &read.1), (&written.0, &written.1));
            prop_assert!(read.2.to_bits() == written.2.to_bits() || (read.2.is_nan() && written.2.is_nan()));
        }
    }

    #[test]
    fn a_mutated_exposition_does_no_harm(
        which in 0..RECORDED.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..40),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = RECORDED[which].as_bytes().to_vec();
        for (at, byte, how) in cuts {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.matches('\n').count();
        prop_assert!(samples(&text).count() <= lines);
        if let Some(later) = read(&text, "pod") {
            let delta = snapshot(QUIET).delta(&later, 1.0, Kind::Static, Some(CONNECTION));
            if let Ok(delta) = delta {
                let numbers = [delta.reconciles, delta.reconcile_seconds, delta.queue_seconds, delta.cpu_seconds];
                prop_assert!(numbers.iter().all(|number| number.is_finite() && *number >= 0.0));
            }
            let saved = serde_json::to_string(&later).expect("a snapshot is plain data");
            prop_assert_eq!(serde_json::from_str::<Snapshot>(&saved).expect("it was written so"), later);
        }
    }

    #[test]
    fn any_text_is_read_to_its_end(text in any::<String>()) {
        prop_assert!(samples(&text).count() <= text.len());
        let _ = read(&text, "");
    }
}
