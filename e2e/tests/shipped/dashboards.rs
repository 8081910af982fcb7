//! Tests of the shipped dashboards: they follow the rules of Grafana's dashboard-linter, and they and the alerting rules
//! use only metrics that the prober or the operator exports. They need no lab.

mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::lab::Rules;
use promql::{Names, Selector, names};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What a target adds to what it exposes, as Prometheus Operator configures it.
const OF_TARGETS: [&str; 3] = ["job", "instance", "namespace"];
/// Labels with a closed set of values, so that a value that never comes is a slip.
const CLOSED: [&str; 5] = ["cause", "party", "result", "method", "controller"];
/// What goes by another rule than the linter's, and why.
const EXCEPTIONS: [(&str, &str, &str); 3] = [
    (
        "Good runs",
        "$__range",
        "one figure for the whole time shown",
    ),
    (
        "Runs without a verdict",
        "$__range",
        "one figure for the whole time shown",
    ),
    ("slo:", "instance", "recorded over all instances"),
];
/// Controllers that the samples of the operator in the repository leave out.
const LEFT_OUT: [&str; 3] = ["vaultconnection", "vaultdynamicsecret", "vaultpkisecret"];

fn board(name: &str) -> Result<Value> {
    let path = Path::new(ROOT).join("manifests/dashboards").join(name);
    let text = fs::read_to_string(&path)?;
    serde_json::from_str(&text).with_context(|| format!("`{}`", path.display()))
}

fn boards() -> Result<[Value; 2]> {
    Ok([board("vso-sync.json")?, board("vso-controllers.json")?])
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    list(board, "panels").filter(|panel| panel["type"] != "row")
}

fn excepted(whom: &str, what: &str) -> bool {
    let matches =
        |(name, exception, _): &(&str, &str, &str)| whom.starts_with(name) && *exception == what;
    EXCEPTIONS.iter().any(matches)
}

#[test]
fn variables_keep_to_the_linters_rules() -> Result<()> {
    for board in boards()? {
        ensure!(board["editable"] == false, "editable");
        let source = &board["templating"]["list"][0];
        ensure!(
            source["name"] == "datasource" && source["type"] == "datasource",
            "{source}"
        );
        ensure!(
            source["query"] == "prometheus" && source["label"] == "Data source",
            "{source}"
        );
        let mut seen = BTreeSet::new();
        for variable in list(&board["templating"], "list").skip(1) {
            let name = variable["name"].as_str().context("a name")?;
            ensure!(
                variable["type"] == "query" && variable["datasource"]["uid"] == "${datasource}",
                "{name}"
            );
            ensure!(
                variable["refresh"] == 2,
                "{name} is not read again when the time changes"
            );
            ensure!(
                variable["multi"] == true && variable["allValue"] == ".+",
                "{name}"
            );
            let label = variable["label"].as_str().context("a label")?;
            ensure!(label.to_lowercase() == name, "{name}: {label}");
            seen.insert(name);
        }
        ensure!(
            seen.contains("job") && seen.contains("instance"),
            "{seen:?}"
        );
    }
    Ok(())
}

#[test]
fn panels_keep_to_the_linters_rules() -> Result<()> {
    let mut used = BTreeSet::new();
    for board in boards()? {
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&board) {
            let title = panel["title"].as_str().unwrap_or_default();
            ensure!(
                !title.is_empty() && titles.insert(title),
                "a title: {panel}"
            );
            ensure!(ids.insert(panel["id"].as_u64()), "{title}: its id");
            ensure!(
                panel["description"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.')),
                "{title}: its description"
            );
            ensure!(
                panel["datasource"]["uid"] == "${datasource}",
                "{title}: its data source"
            );
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
            ensure!(
                matches!(unit, Some("s" | "cps" | "percentunit" | "bytes" | "none")),
                "{title}: its unit"
            );
            ensure!(list(panel, "targets").count() > 0, "{title} shows nothing");
            for target in list(panel, "targets") {
                let query = target["expr"].as_str().context("a query")?;
                for selector in names(query).selectors {
                    keeps_to_the_rules(title, &selector, &mut used)
                        .with_context(|| format!("{title}: {query}"))?;
                }
            }
        }
    }
    let needless: Vec<_> = EXCEPTIONS
        .iter()
        .filter(|exception| !used.contains(exception.0))
        .collect();
    ensure!(needless.is_empty(), "nothing needs {needless:?}");
    Ok(())
}

fn keeps_to_the_rules(
    title: &str,
    selector: &Selector,
    used: &mut BTreeSet<&'static str>,
) -> Result<()> {
    let metric = &selector.metric;
    let mut except = |whom: &str, what: &str| {
        let excepted = excepted(whom, what);
        let names = EXCEPTIONS.iter().map(|(name, ..)| *name);
        used.extend(names.filter(|name| excepted && whom.starts_with(name)));
        excepted
    };
    for label in ["job", "instance"] {
        let wanted = (label.to_owned(), format!("${label}"));
        ensure!(
            selector.matchers.contains(&wanted) || except(metric, label),
            "`{metric}` has no matcher of `{label}`"
        );
    }
    if let Some(window) = &selector.window {
        ensure!(
            window == "$__rate_interval" || except(title, window),
            "[{window}]"
        );
    }
    let counts = ["_total", "_bucket", "_sum", "_count"]
        .iter()
        .any(|suffix| metric.ends_with(suffix));
    let over_time = matches!(selector.function.as_deref(), Some("rate" | "increase"));
    ensure!(
        !counts || over_time,
        "`{metric}` is a counter, and shown as it is"
    );
    Ok(())
}

/// Everything that is exported: each name, with its labels and their values.
#[derive(Debug, Default)]
struct Exported(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Exported {
    /// Takes in the text of an exposition, or of a snapshot of one.
    fn add(&mut self, text: &str, more: &[&str]) {
        for line in text.lines() {
            let told = line
                .strip_prefix("# TYPE ")
                .and_then(|line| line.split(' ').next());
            let (name, labels) = match line.split_once('{') {
                _ if told.is_some() => (told.unwrap_or_default(), ""),
                Some((name, rest)) => {
                    (name, rest.rsplit_once('}').map_or("", |(labels, _)| labels))
                }
                None => (line.split(' ').next().unwrap_or_default(), ""),
            };
            let own = self.0.entry(name.to_owned()).or_default();
            for label in more.iter().copied().chain(OF_TARGETS) {
                own.entry(label.to_owned()).or_default();
            }
            for label in labels.split("\",") {
                if let Some((name, value)) = label.split_once("=\"") {
                    let value = value.trim_end_matches('"').to_owned();
                    own.entry(name.to_owned()).or_default().insert(value);
                }
            }
        }
    }

    fn all() -> Result<Self> {
        let mut exported = Self::default();
        let tests = Path::new(ROOT).join("tests");
        let read =
            |name: &str| fs::read_to_string(tests.join(name)).with_context(|| name.to_owned());
        exported.add(
            &read("core/snapshots/core__metrics__these_facts_give_this_text.snap")?,
            &[],
        );
        exported.add(
            &read("core/snapshots/core__metrics__the_audit_has_its_series_once_there_is_one.snap")?,
            &[],
        );
        // The URL of a push has these.
        exported.add(
            &read("core/snapshots/core__push__a_pushgateway_gets_a_group_a_step.snap")?,
            &["probe", "step"],
        );
        for name in [
            "metrics-load-after-300.txt",
            "metrics-quiet-after-one-update.txt",
        ] {
            exported.add(&read(&format!("operator/{name}"))?, &[]);
        }
        // Where there is no series yet, the rule for all of the name holds.
        for (name, labels) in &mut exported.0 {
            if name.starts_with("vso_probe_") {
                for label in ["probe", "kind", "step"] {
                    labels.entry(label.to_owned()).or_default();
                }
            }
        }
        exported.recorded(&Rules::shipped()?);
        // What Prometheus itself exports of the alerts.
        let own = "ALERTS{alertname=\"\",alertstate=\"\",probe=\"\",kind=\"\",step=\"\"} 1";
        exported.add(own, &[]);
        Ok(exported)
    }

    /// Takes in what the rules record: with any label that one of them gives.
    fn recorded(&mut self, rules: &Rules) {
        let recorded: Vec<_> = rules
            .each()
            .filter_map(|rule| Some((rule["record"].as_str()?, rule)))
            .collect();
        let mut labels: BTreeSet<String> = BTreeSet::new();
        for (_, rule) in &recorded {
            let names = names(rule["expr"].as_str().unwrap_or_default());
            labels.extend(names.labels);
            labels.extend(names.strings);
            labels.extend(
                rule["labels"]
                    .as_object()
                    .into_iter()
                    .flat_map(|labels| labels.keys().cloned()),
            );
        }
        for (name, _) in recorded {
            let labels = labels.iter().map(|label| (label.clone(), BTreeSet::new()));
            self.0.entry(name.to_owned()).or_default().extend(labels);
        }
    }

    /// Insists that all that a query names is there.
    fn has(&self, query: &str) -> Result<()> {
        let Names {
            selectors, labels, ..
        } = names(query);
        ensure!(!selectors.is_empty(), "it names nothing");
        let mut known = BTreeSet::new();
        for Selector {
            metric, matchers, ..
        } in &selectors
        {
            let own = self
                .0
                .get(metric)
                .with_context(|| format!("nobody exports `{metric}`"))?;
            known.extend(own.keys());
            for (label, value) in matchers {
                let values = own
                    .get(label)
                    .with_context(|| format!("`{metric}` has no label `{label}`"))?;
                let mut wanted = value.split('|').filter(|value| {
                    CLOSED.contains(&label.as_str()) && !value.contains(['$', '%', '.'])
                });
                let missing = wanted.find(|value| {
                    !values.contains(*value) && !LEFT_OUT.contains(value) && !values.is_empty()
                });
                ensure!(missing.is_none(), "`{metric}` has no `{label}` {missing:?}");
            }
        }
        let missing = labels.iter().find(|label| !known.contains(label));
        ensure!(missing.is_none(), "none of it has a label {missing:?}");
        Ok(())
    }
}

#[test]
fn the_dashboards_name_only_what_is_exported() -> Result<()> {
    let exported = Exported::all()?;
    for board in boards()? {
        for panel in panels(&board) {
            for target in list(panel, "targets") {
                let query = target["expr"].as_str().context("a query")?;
                exported.has(query).with_context(|| query.to_owned())?;
            }
        }
        for variable in list(&board["templating"], "list").skip(1) {
            let query = variable["definition"].as_str().context("a query")?;
            let (selector, label) = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
                .context("it lists values")?;
            exported
                .has(&format!("sum by ({label}) ({selector})"))
                .with_context(|| query.to_owned())?;
        }
    }
    Ok(())
}

#[test]
fn the_rules_name_only_what_is_exported() -> Result<()> {
    let exported = Exported::all()?;
    for rule in Rules::shipped()?.each() {
        let query = rule["expr"].as_str().context("an expression")?;
        exported.has(query).with_context(|| query.to_owned())?;
        // Those in the text of an alert too.
        let text = rule["annotations"]["description"]
            .as_str()
            .unwrap_or_default();
        for rest in text.split("(printf").skip(1) {
            let query = rest
                .split('"')
                .nth(1)
                .context("a query")?
                .replace("%q", "\"\"");
            exported.has(&query).with_context(|| query.clone())?;
        }
    }
    Ok(())
}

#[test]
fn what_is_not_exported_is_found() -> Result<()> {
    let exported = Exported::all()?;
    for wrong in [
        "sum(rate(vso_probe_nothing_total[5m]))",
        "vso_probe_success{nobody=\"x\"}",
        "sum by (nothing) (vso_probe_success)",
        "vso_probe_failures_total{cause=\"no_such_cause\"}",
        "vso_probe_success * on (probe) group_left (nothing) vso_probe_last_failure_info",
    ] {
        ensure!(exported.has(wrong).is_err(), "{wrong}");
    }
    Ok(())
}
