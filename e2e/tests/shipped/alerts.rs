//! Tests of the shipped alerts: promtool accepts them, each fires when it should and at no other time, and a
//! week of chance fires none. They need promtool, and no lab.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::lab::{Rules, Tools, promtool, yaml};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SEED: u64 = 1;
/// A minute is a scrape.
const WEEK: usize = 7 * 24 * 60;

/// A folder with the rules in `rules`.
fn folder(rules: &Rules) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("rules"))?;
    rules.write(&folder.path().join("rules"))?;
    Ok(folder)
}

/// The files of tests, in the syntax of promtool.
fn tests() -> Result<Vec<PathBuf>> {
    let files = Path::new(ROOT)
        .join("e2e/tests/shipped/alerts")
        .read_dir()?;
    let files: Vec<_> = files
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    ensure!(!files.is_empty(), "there are no tests");
    Ok(files)
}

fn alerts(rules: &Rules) -> impl Iterator<Item = (&str, &Value)> {
    rules
        .each()
        .filter_map(|rule| Some((rule["alert"].as_str()?, rule)))
}

#[tokio::test]
async fn promtool_has_nothing_to_say() -> Result<()> {
    let folder = folder(&Rules::shipped()?)?;
    for file in folder.path().join("rules").read_dir()? {
        let file = file?.path();
        let file = file.to_str().context("a path is text")?;
        let (content, said) = promtool(
            folder.path(),
            &["check", "rules", "--lint=all", "--lint-fatal", file],
        )
        .await?;
        ensure!(content, "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn each_fires_when_it_should_and_resolves() -> Result<()> {
    let folder = folder(&Rules::shipped()?)?;
    for file in tests()? {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.context("a file has a name")?;
        fs::copy(&file, folder.path().join(name))?;
        let (content, said) = promtool(folder.path(), &["test", "rules", name]).await?;
        ensure!(content, "{said}");
    }
    Ok(())
}

#[test]
fn each_is_shown_to_fire_and_not_to() -> Result<()> {
    let (mut fire, mut rest) = (BTreeSet::new(), BTreeSet::new());
    for file in tests()? {
        let file = yaml(&file)?;
        let cases = file["tests"].as_array().into_iter().flatten();
        for check in cases.flat_map(|case| case["alert_rule_test"].as_array().into_iter().flatten())
        {
            let name = check["alertname"].as_str().context("no name")?.to_owned();
            let fires = check["exp_alerts"]
                .as_array()
                .is_some_and(|alerts| !alerts.is_empty());
            if fires { &mut fire } else { &mut rest }.insert(name);
        }
    }
    let rules = Rules::shipped()?;
    let all: BTreeSet<_> = alerts(&rules).map(|(name, _)| name.to_owned()).collect();
    ensure!(fire == all, "fire: {fire:?}, of {all:?}");
    ensure!(rest == all, "do not: {rest:?}, of {all:?}");
    Ok(())
}

#[test]
fn each_tells_who_is_to_act_and_where_to_read_on() -> Result<()> {
    let rules = Rules::shipped()?;
    let mut books = BTreeSet::new();
    for (name, rule) in alerts(&rules) {
        let severity = rule["labels"]["severity"].as_str();
        ensure!(
            matches!(severity, Some("critical" | "warning")),
            "{name}: {severity:?}"
        );
        // Its own, or that of the cause.
        let joined = rule["expr"]
            .as_str()
            .is_some_and(|text| text.contains("group_left (party)"));
        ensure!(joined != rule["labels"]["party"].is_string(), "{name}");
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            ensure!(text.len() > 10, "{name} has no {annotation}");
        }
        let book = format!("docs/runbooks/{name}.md");
        ensure!(rule["annotations"]["runbook_url"] == book, "{name}");
        let text = fs::read_to_string(Path::new(ROOT).join(&book)).context(book)?;
        let begin = format!("# {name}\n\n## Look at\n");
        ensure!(text.starts_with(&begin), "{name}: {text}");
        books.insert(format!("{name}.md"));
    }
    let there: BTreeSet<_> = Path::new(ROOT)
        .join("docs/runbooks")
        .read_dir()?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    ensure!(there == books, "{there:?} are not {books:?}");
    Ok(())
}

#[tokio::test]
async fn a_week_of_chance_is_no_alert() -> Result<()> {
    let noise = noise(&mut StdRng::seed_from_u64(SEED));
    // Long windows cost too much to be looked at every minute, and no page waits for them.
    for (evaluation, files, slow) in [
        ("1m", ["slo.yaml", "prober.yaml"], false),
        ("30m", ["slo.yaml", "prober.yaml"], true),
    ] {
        let mut rules = Rules::shipped()?;
        if !slow {
            rules.without_group("vso-prober-sli-long");
        }
        let folder = folder(&rules)?;
        let test = json!({
            "rule_files": files.map(|file| format!("rules/{file}")),
            "evaluation_interval": evaluation,
            "tests": [{
                "interval": "1m",
                "input_series": noise,
                "promql_expr_test": [{
                    "eval_time": format!("{WEEK}m"),
                    "expr": "count_over_time(ALERTS{alertstate=\"firing\"}[7d])",
                    "exp_samples": [],
                }],
            }],
        });
        fs::write(folder.path().join("noise.yaml"), test.to_string())?;
        let (content, said) = promtool(folder.path(), &["test", "rules", "noise.yaml"]).await?;
        ensure!(content, "{said}");
    }
    Ok(())
}

/// A week of two probes that fail by chance once in 2,000 steps, of a prober that is restarted once a day, and of scrapes
/// of which one in a hundred is missed.
fn noise(rng: &mut impl Rng) -> Vec<Value> {
    let mut restarts: BTreeSet<_> = (0..7).map(|_| rng.random_range(0..WEEK)).collect();
    restarts.insert(WEEK);
    let missed: BTreeSet<_> = (0..WEEK).filter(|_| rng.random_bool(0.01)).collect();
    let scraped = |values: Vec<f64>| -> String {
        let shown = values.iter().enumerate().map(|(minute, value)| {
            if missed.contains(&minute) {
                "_".to_owned()
            } else {
                value.to_string()
            }
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    let mut series = Vec::new();
    let mut add = |name: &str, labels: &str, values: Vec<f64>| {
        let series_name = format!("{name}{{job=\"p\",namespace=\"n\",instance=\"a\"{labels}}}");
        series.push(json!({"series": series_name, "values": scraped(values)}));
    };
    let constant = |value: f64| vec![value; WEEK];
    add("vso_prober_build_info", "", constant(1.0));
    add("vso_prober_leader", "", constant(1.0));
    add("vso_operator_up", "", constant(1.0));
    add(
        "vso_prober_config_last_reload_successful",
        "",
        constant(1.0),
    );
    let mut failures = 0;
    for (probe, every, steps) in [
        ("kv", 1.0, &["create", "update", "delete"][..]),
        ("pg", 10.0, &["create"]),
    ] {
        for step in steps {
            let at = format!(",probe=\"{probe}\",kind=\"static\",step=\"{step}\"");
            let (mut due, mut total, mut good, mut last) = (0.0, 0.0, 0.0, 0.0);
            let mut columns: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for minute in 0..WEEK {
                if restarts.contains(&minute) {
                    (total, good) = (0.0, 0.0);
                }
                let now = f64::from(u32::try_from(minute).expect("a week is short"));
                while due <= now {
                    let fails = rng.random_bool(0.0005);
                    failures += u32::from(fails);
                    total += 1.0;
                    good += f64::from(u8::from(!fails));
                    last = due * 60.0;
                    due += every * rng.random_range(0.5..1.5);
                }
                for (name, value) in [("total", total), ("good", good), ("last", last)] {
                    columns.entry(name).or_default().push(value);
                }
            }
            let mut column = |name| columns.remove(name).unwrap_or_default();
            add("vso_probe_slo_total", &at, column("total"));
            add("vso_probe_slo_good_total", &at, column("good"));
            add("vso_probe_last_run_timestamp_seconds", &at, column("last"));
            add("vso_probe_slo_objective_ratio", &at, constant(0.99));
            add("vso_probe_interval_seconds", &at, constant(every * 60.0));
        }
    }
    assert!(
        (5..50).contains(&failures),
        "{failures} failures are no such week"
    );
    series
}

#[tokio::test]
async fn kustomize_makes_what_the_page_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let base = "https://wiki.example.com/vso-prober";
    let text = fs::read_to_string(Path::new(ROOT).join("docs/alerting.md"))?;
    // What the page says is what is tried.
    for (name, number) in [("kustomization.yaml", 0), ("runbooks.yaml", 1)] {
        let block = text
            .split("```yaml\n")
            .nth(number + 1)
            .and_then(|rest| rest.split("```").next());
        let block = block.context("the page has the files")?;
        fs::write(folder.path().join(name), block.replace("BASE", base))?;
    }
    std::os::unix::fs::symlink(
        fs::canonicalize(Path::new(ROOT).join("manifests"))?,
        folder.path().join("manifests"),
    )?;
    let output = Command::new(Tools::find()?.kubectl()?)
        .args(["kustomize", "--load-restrictor=LoadRestrictionsNone"])
        .arg(folder.path())
        .output()
        .await?;
    let (built, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let urls: Vec<_> = built
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: "))
        .collect();
    ensure!(!urls.is_empty(), "{said}");
    for url in urls {
        ensure!(
            url.starts_with(&format!("{base}/docs/runbooks/VSO")),
            "{url}"
        );
    }
    ensure!(
        built.matches("kind: PrometheusRule").count() == 4,
        "{built}"
    );
    ensure!(built.contains("grafana_dashboard: \"1\""), "{built}");
    Ok(())
}
