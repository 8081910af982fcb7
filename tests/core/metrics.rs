//! Tests of the metrics: these facts give this text, in every format, and nothing is left out.
#![expect(
    clippy::float_cmp,
    reason = "what is compared is counted, not computed"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{
    Histogram, MetricFamily,
};
use prost::Message as _;
use vso_prober::config::check::load;
use vso_prober::config::{self, Probe};
use vso_prober::history::History;
use vso_prober::model::cause::Cause;
use vso_prober::model::correlation::Coefficient;
use vso_prober::model::name::ObjectRef;
use vso_prober::model::run::{Run, StepReport};
use vso_prober::model::signal::Signal;
use vso_prober::model::snapshot::Void;
use vso_prober::model::standing::Standing;
use vso_prober::model::{Stage, Step, Verdict};
use vso_prober::publish::{AuditFigures, Fact, Publisher, SourceFigures};

use super::kit::{self, start};

/// Every name of the contract, with its type.
const NAMES: &[(&str, &str)] = &[
    ("vso_probe_latency_seconds", "histogram"),
    ("vso_probe_lateness_seconds", "histogram"),
    ("vso_probe_stage_seconds", "histogram"),
    ("vso_probe_runs_total", "counter"),
    ("vso_probe_failures_total", "counter"),
    ("vso_probe_success", "gauge"),
    ("vso_probe_last_run_timestamp_seconds", "gauge"),
    ("vso_probe_last_success_timestamp_seconds", "gauge"),
    ("vso_probe_slo_total", "counter"),
    ("vso_probe_slo_good_total", "counter"),
    ("vso_probe_slo_objective_ratio", "gauge"),
    ("vso_probe_slo_threshold_seconds", "gauge"),
    ("vso_probe_interval_seconds", "gauge"),
    ("vso_probe_rotation_margin_seconds", "gauge"),
    ("vso_probe_secret_writes_total", "counter"),
    ("vso_probe_leaked_leases_total", "counter"),
    ("vso_probe_leftovers", "gauge"),
    ("vso_probe_last_failure_info", "gauge"),
    ("vso_probe_correlation_ratio", "gauge"),
    ("vso_probe_correlation_samples", "gauge"),
    ("vso_probe_windows_void_total", "counter"),
    ("vso_probe_explained_ratio", "gauge"),
    ("vso_operator_up", "gauge"),
    ("vso_operator_info", "gauge"),
    ("vso_operator_scrape_duration_seconds", "gauge"),
    ("vso_prober_build_info", "gauge"),
    ("vso_probe_sync_seconds", "histogram"),
    ("vso_prober_watch_delay_seconds", "histogram"),
    ("vso_prober_schedule_lag_seconds", "gauge"),
    ("vso_prober_skipped_runs_total", "counter"),
    ("vso_prober_leader", "gauge"),
    ("vso_prober_config_last_reload_successful", "gauge"),
];

/// A probe of each kind; `steps` are those of the first.
fn probes(steps: &str) -> Vec<Probe> {
    let text = format!(
        "vault: {{address: 'http://127.0.0.1:8200', auth: {{token: {{env: VAULT_TOKEN}}}}}}
probes:
- name: kv
  static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 1s}}
  steps: {steps}
  timeout: 300ms
- name: postgres
  dynamic: {{authRef: probe, mount: database, path: creds/probe}}
  steps: {{create: 120ms}}
  every: 10m
  timeout: 200ms
"
    );
    load(&text, "c.yaml", |_| None)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .probes
}

fn configured(steps: &str, operator_metrics: bool) -> Fact {
    Fact::Configured {
        probes: probes(steps),
        operator_metrics,
    }
}

fn report(step: Step, latency: f64) -> StepReport {
    let poll_driven = step.poll_driven();
    StepReport {
        due_seconds: poll_driven.then_some(0.5),
        lateness_seconds: poll_driven.then_some((latency - 0.5).max(0.0)),
        within_seconds: 0.123,
        timeout_seconds: 0.3,
        stages: BTreeMap::from([(Stage::Submit, 0.003), (Stage::Deliver, latency - 0.003)]),
        watch_delay_seconds: Some(0.0004),
        watch_delay_most_seconds: Some(0.0034),
        ..kit::report(step, latency)
    }
}

fn blamed(report: StepReport, cause: Cause, proven: bool) -> StepReport {
    StepReport {
        proven,
        ..kit::blamed(report, cause)
    }
}

/// The run number `number`, which ended in that minute of 2026.
fn run(number: u16, probe: &str, steps: Vec<StepReport>) -> Run {
    let started = start() + SignedDuration::from_mins(number.into());
    Run {
        run: format!("run{number:04}").into(),
        canary: ObjectRef::new("vso-probe", format!("vsop-{probe}-{number}")),
        started,
        finished: started + SignedDuration::from_secs(4),
        secret_writes: 2,
        ..kit::run(probe, steps)
    }
}

fn over(run: Run) -> Fact {
    Fact::Run {
        run: Arc::new(run),
        correlations: BTreeMap::new(),
    }
}

fn told(facts: impl IntoIterator<Item = Fact>) -> Publisher {
    let publisher = Publisher::default();
    facts.into_iter().for_each(|fact| publisher.publish(fact));
    publisher
}

fn text(publisher: &Publisher) -> String {
    let exposition = publisher.expose(None);
    assert_eq!(
        exposition.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );
    String::from_utf8(exposition.body.into()).expect("text")
}

/// The value of the one series that begins with `series`.
fn value(text: &str, series: &str) -> f64 {
    let found: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(series))
        .collect();
    let [line] = found[..] else {
        panic!("{} series begin with {series}: {found:?}", found.len());
    };
    let value = line.rsplit(' ').next().expect("a value");
    value.parse().expect("a number")
}

const STEPS: &str = "{create: 123ms, update: 123ms, delete: 200ms}";

/// A success, a failure and a run without a verdict, with all that is told beside them.
fn facts() -> Vec<Fact> {
    let good = run(
        1,
        "kv",
        vec![
            report(Step::Create, 0.012),
            report(Step::Update, 0.514),
            report(Step::Delete, 0.02),
        ],
    );
    let mut update = blamed(report(Step::Update, 0.81), Cause::ResourceIgnored, false);
    update.void = Some(Void::Restart);
    update.explained_ratio = Some(0.25);
    let mut failed = run(2, "kv", vec![report(Step::Create, 0.016), update]);
    failed.leftovers = vec!["VaultStaticSecret vso-probe/vsop-kv-2".to_owned()];
    let unknown = blamed(
        report(Step::Create, 0.2),
        Cause::ProberVaultUnreachable,
        false,
    );
    let coefficient = Coefficient {
        signal: Signal::QueueSeconds,
        spearman: 0.75,
        pearson: Some(0.5),
        samples: 24.5,
        interval: [0.5, 0.9],
        strong: true,
    };
    vec![
        configured(STEPS, true),
        Fact::Standing(Standing::Leads),
        Fact::Scrape {
            up: true,
            seconds: 0.011,
            version: Some("1.0.1".to_owned()),
        },
        Fact::Begun {
            probe: "kv".into(),
            lag_seconds: 0.002,
        },
        over(good),
        Fact::Run {
            run: Arc::new(failed),
            correlations: BTreeMap::from([(Step::Create, vec![coefficient])]),
        },
        Fact::Skipped { probe: "kv".into() },
        over(run(3, "postgres", vec![unknown])),
        Fact::Reload { successful: false },
    ]
}

#[test]
fn these_facts_give_this_text() {
    let text = text(&told(facts())).replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(text);
}

#[test]
fn every_name_of_the_contract_exists_from_the_first_scrape() {
    let first = text(&told([configured(STEPS, true)]));
    let typed: Vec<_> = first
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut sorted = typed.clone();
    sorted.sort_unstable();
    let mut expected = NAMES.to_vec();
    expected.sort_unstable();
    assert_eq!(sorted, expected);

    for (probe, kind, steps) in [
        ("kv", "static", &["create", "update", "delete"][..]),
        ("postgres", "dynamic", &["create"]),
    ] {
        for step in steps {
            let at = format!("{{probe=\"{probe}\",kind=\"{kind}\",step=\"{step}\"");
            for name in [
                "latency_seconds_count",
                "success",
                "last_run_timestamp_seconds",
                "last_success_timestamp_seconds",
                "slo_total",
                "slo_good_total",
            ] {
                let series = format!("vso_probe_{name}{at}}}");
                assert_eq!(value(&first, &series), 0.0, "{series}");
            }
            for result in Verdict::ALL {
                let series = format!("vso_probe_runs_total{at},result=\"{result}\"}}");
                assert_eq!(value(&first, &series), 0.0, "{series}");
            }
            for cause in Cause::ALL {
                let party = cause.party();
                let series =
                    format!("vso_probe_failures_total{at},cause=\"{cause}\",party=\"{party}\"}}");
                assert_eq!(value(&first, &series), 0.0, "{series}");
            }
        }
    }
}

/// The operator's own are there only where they are read.
#[test]
fn what_is_not_read_is_not_told() {
    assert!(!text(&told([configured(STEPS, false)])).contains("vso_operator"));
}

#[test]
fn what_was_given_up_lies_above_every_finite_bucket() {
    // It ends a moment before its time, as a clock may have it.
    let failed = |step, latency| blamed(report(step, latency), Cause::OperatorDown, false);
    let publisher = told([
        configured(STEPS, false),
        over(run(1, "kv", vec![failed(Step::Create, 0.2999)])),
        over(run(2, "kv", vec![failed(Step::Update, 0.7999)])),
    ]);
    let text = text(&publisher);
    for series in [
        "latency_seconds_bucket{probe=\"kv\",kind=\"static\",step=\"create\",le=",
        "latency_seconds_bucket{probe=\"kv\",kind=\"static\",step=\"update\",le=",
        "lateness_seconds_bucket{probe=\"kv\",kind=\"static\",step=\"update\",le=",
    ] {
        let series = format!("vso_probe_{series}");
        let buckets: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with(&series))
            .collect();
        let (infinite, finite) = buckets.split_last().expect("buckets");
        assert_eq!(*infinite, format!("{series}\"+Inf\"}} 1"));
        assert!(finite.len() > 10, "{finite:?}");
        assert!(
            finite.iter().all(|line| line.ends_with("} 0")),
            "{finite:?}"
        );
        // One edge lies exactly on the threshold.
        assert!(
            finite.contains(&format!("{series}\"0.123\"}} 0").as_str()),
            "{finite:?}"
        );
    }
}

#[test]
fn without_a_verdict_nothing_is_spent() {
    let unknown = blamed(report(Step::Create, 0.1), Cause::ProberWatchLost, true);
    let publisher = told([
        configured(STEPS, false),
        over(run(1, "kv", vec![report(Step::Create, 0.1)])),
        over(run(2, "kv", vec![unknown])),
    ]);
    let text = text(&publisher);
    let at = "{probe=\"kv\",kind=\"static\",step=\"create\"";
    for (name, expected) in [
        ("slo_total", 1.0),
        ("slo_good_total", 1.0),
        ("latency_seconds_count", 1.0),
        ("success", 1.0),
    ] {
        assert_eq!(
            value(&text, &format!("vso_probe_{name}{at}}}")),
            expected,
            "{name}"
        );
    }
    let unknown = format!("vso_probe_runs_total{at},result=\"unknown\"}}");
    assert_eq!(value(&text, &unknown), 1.0);
    assert!(!text.contains("vso_probe_last_failure_info{"));
}

#[test]
fn a_reload_keeps_what_stays_and_drops_what_goes() {
    let publisher = told(facts());
    publisher.publish(configured("{create: 123ms}", false));
    let text = text(&publisher);
    assert!(
        !text.contains("step=\"update\""),
        "a step that went is told"
    );
    assert!(!text.contains("vso_operator"), "the operator is told of");
    let at = "{probe=\"kv\",kind=\"static\",step=\"create\"}";
    for (name, expected) in [("latency_seconds_count", 2.0), ("slo_total", 2.0)] {
        assert_eq!(
            value(&text, &format!("vso_probe_{name}{at}")),
            expected,
            "{name}"
        );
    }
    let only_postgres = probes("{create: 123ms}").split_off(1);
    publisher.publish(Fact::Configured {
        probes: only_postgres,
        operator_metrics: false,
    });
    publisher.publish(over(run(9, "kv", vec![report(Step::Create, 0.1)])));
    assert!(
        !self::text(&publisher).contains("\"kv\""),
        "a probe that went is told"
    );
    assert_eq!(publisher.probes().len(), 1);
}

#[test]
fn openmetrics_has_the_run_as_exemplar() {
    let publisher = told(facts());
    let exposition = publisher.expose(Some("application/openmetrics-text;version=1.0.0"));
    assert_eq!(
        exposition.content_type,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = String::from_utf8(exposition.body.into()).expect("text");
    let bucket = "vso_probe_latency_seconds_bucket{le=\"0.025\",probe=\"kv\",kind=\"static\",step=\"create\"} 2";
    let line = text
        .lines()
        .find(|line| line.starts_with(bucket))
        .expect("the bucket of the last creation");
    assert_eq!(
        line.strip_prefix(bucket),
        Some(" # {run=\"run0002\"} 0.016 1767225724.0")
    );
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn protobuf_has_native_histograms_with_exemplars() {
    let publisher = told(facts());
    let exposition = publisher.expose(Some(
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9,text/plain;q=0.5",
    ));
    let mut body = &exposition.body[..];
    let mut families = BTreeMap::new();
    while !body.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut body).expect("a message");
        assert!(!family.metric.is_empty(), "{} has no series", family.name);
        families.insert(family.name.clone(), family);
    }
    let latency = &families["vso_probe_latency_seconds"];
    // As many series as configured steps: each is classic and native at once.
    assert_eq!(latency.metric.len(), 4);
    let create: &Histogram = latency.metric[0].histogram.as_ref().expect("a histogram");
    assert_eq!(create.sample_count, 2);
    assert!(!create.positive_span.is_empty() && !create.positive_delta.is_empty());
    let exemplars: Vec<_> = create
        .bucket
        .iter()
        .filter_map(|bucket| bucket.exemplar.as_ref())
        .map(|exemplar| exemplar.label[0].value.as_str())
        .collect();
    assert_eq!(exemplars, ["run0002"]);
    assert_eq!(
        families["vso_probe_runs_total"].metric[0]
            .counter
            .as_ref()
            .expect("a counter")
            .value,
        2.0
    );
}

#[test]
fn a_rare_failure_is_not_pushed_out() {
    let publisher = told([configured(STEPS, false)]);
    let history = History::default();
    history.configure(&probes(STEPS));
    let add = |run: Run| {
        history.append(&Arc::new(run.clone()), None);
        publisher.publish(over(run));
    };
    let failed = blamed(report(Step::Create, 0.3), Cause::OperatorDown, false);
    add(run(0, "kv", vec![failed]));
    for number in 1..1000 {
        let good = vec![report(Step::Create, 0.01)];
        add(run(number, "kv", good));
        let noise = blamed(report(Step::Create, 0.2), Cause::ProberStarved, false);
        add(run(number, "postgres", vec![noise]));
    }
    let runs = history.latest(Some("kv"), 1000);
    assert!(runs.len() < 200, "{} runs are kept", runs.len());
    assert_eq!(runs[0].run, "run0999");
    assert_eq!(runs.last().map(|run| run.run.as_str()), Some("run0000"));
    assert!(history.run("run0000").is_some() && history.run("run0500").is_none());
    assert_eq!(history.latest(None, 3).len(), 3);
    history.configure(&probes(STEPS)[1..]);
    assert!(history.latest(Some("kv"), 10).is_empty());
    history.append(
        &Arc::new(run(9, "kv", vec![report(Step::Create, 0.1)])),
        None,
    );
    assert!(history.run("run0009").is_none(), "its probe went");

    let status = publisher.probes();
    let kv = &status[0];
    let failure = kv.last_failure.as_ref().expect("it failed");
    assert_eq!(failure.cause, Some(Cause::OperatorDown));
    assert_eq!(
        kv.last_run.as_ref().map(|run| run.run.as_str()),
        Some("run0999")
    );
    assert!(kv.last_success.is_some() && status[1].last_success.is_none());
}

#[test]
fn what_was_kept_is_recalled_and_nothing_is_counted_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config::History {
        path: folder.path().join("runs"),
        retention: Duration::from_secs(24 * 60 * 60),
    };
    let opened = || {
        let publisher = told([configured(STEPS, false)]);
        let history = History::default();
        history.configure(&probes(STEPS));
        let recall = |run: &Arc<Run>| publisher.publish(Fact::Recalled(run.clone()));
        history.open(&config, recall).expect("a folder can be made");
        (history, publisher)
    };
    let (history, _) = opened();
    let add = |history: &History, run: Run| history.append(&Arc::new(run), None);
    add(&history, run(1, "kv", vec![report(Step::Create, 0.01)]));
    let failed = blamed(report(Step::Create, 0.3), Cause::OperatorDown, false);
    add(&history, run(2, "kv", vec![failed]));
    history.close();
    // Killed while it wrote.
    let file = config.path.join("2026-01-01.jsonl");
    let mut text = std::fs::read_to_string(&file).expect("a file a day");
    text.push_str("{\"schema\":\"vso-pro");
    std::fs::write(&file, text).expect("it can be written");

    let (next, publisher) = opened();
    let ids = |history: &History| -> Vec<_> {
        let runs = history.latest(None, 10);
        runs.iter().map(|run| run.run.clone()).collect()
    };
    assert_eq!(ids(&next), ["run0002", "run0001"]);
    let text = text_of_create(&publisher);
    for line in [
        "vso_probe_last_success_timestamp_seconds{probe=\"kv\",kind=\"static\",step=\"create\"} 1767225664.0",
        "vso_probe_slo_total{probe=\"kv\",kind=\"static\",step=\"create\"} 0",
    ] {
        assert!(text.contains(&line.to_owned()), "{text:#?}");
    }
    assert!(publisher.probes()[0].last_failure.is_some());

    // Two days on, what is older than one goes.
    let later = run(2 * 24 * 60, "kv", vec![report(Step::Create, 0.01)]);
    add(&next, later);
    next.close();
    assert_eq!(ids(&opened().0), ["run2880"]);
}

fn text_of_create(publisher: &Publisher) -> Vec<String> {
    let text = text(publisher);
    let lines = text.lines().filter(|line| line.contains("\"create\""));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_status_names_the_signal_that_is_strong() {
    let status = told(facts()).probes();
    let json = serde_json::to_value(&status).expect("plain data");
    insta::assert_json_snapshot!(json);
}

/// Every name of the contract's part on the audit, with its type.
const AUDIT_NAMES: &[(&str, &str)] = &[
    ("vso_audit_address_mode_info", "gauge"),
    ("vso_audit_books_difference", "gauge"),
    ("vso_audit_books_windows_total", "counter"),
    ("vso_audit_bytes_total", "counter"),
    ("vso_audit_drill_last_success_timestamp_seconds", "gauge"),
    ("vso_audit_findings_total", "counter"),
    ("vso_audit_gaps_total", "counter"),
    ("vso_audit_lag_seconds", "gauge"),
    ("vso_audit_last_line_timestamp_seconds", "gauge"),
    ("vso_audit_lines_total", "counter"),
    ("vso_audit_open_findings", "gauge"),
    ("vso_audit_operator_present", "gauge"),
    ("vso_audit_suspects", "gauge"),
    ("vso_audit_up", "gauge"),
];

#[test]
fn the_audit_has_its_series_once_there_is_one() {
    let figures = AuditFigures {
        findings: [(("address", "high"), 2)].into(),
        open: [
            (("address", "high"), 1),
            (("moved", "medium"), 0),
            (("agent", "low"), 0),
        ]
        .into(),
        suspects: [("honey", 0)].into(),
        sources: [(
            "vault-0".to_owned(),
            SourceFigures {
                up: true,
                lines: [("used", 7)].into(),
                gaps: [("truncated", 0)].into(),
                ..SourceFigures::default()
            },
        )]
        .into(),
        present: Some(true),
        mode: "pod",
        modes: vec!["pod", "off"],
        windows: [("balanced", 3)].into(),
        drilled: 1_790_000_000.0,
        difference: vec![("login", "operator", -1)],
    };
    assert!(!text(&told([])).contains("vso_audit"), "there is none");
    let text = text(&told([Fact::Audit(Some(Box::new(figures)))]));
    for (name, kind) in AUDIT_NAMES {
        let family = format!("# TYPE {name} {kind}");
        assert!(text.contains(&family), "no `{family}`: {text}");
    }
    let own = text.lines().filter(|line| line.contains("vso_audit_"));
    insta::assert_snapshot!(own.collect::<Vec<_>>().join("\n"));
}
