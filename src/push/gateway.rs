//! A Pushgateway: the last value of each gauge, kept until the next run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::post::Post;
use super::{Error, JOB};
use crate::config::{Config, Receiver};
use crate::model::run::Run;
use crate::model::{Kind, Step};
use crate::publish::one_shot::{Gauge, gauges};

/// Where it is configured.
pub(super) const KEY: &str = "push.pushgateway";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The gauges of one group, the last value of each.
type Group = BTreeMap<&'static str, Gauge>;

/// Pushes what the runs tell, the later going before the earlier.
///
/// Each step is a group of its own, as a POST replaces whole families of a group: a step that failed, or was not come
/// to, must not take away the last success of another.
pub(super) async fn push(
    receiver: &Receiver,
    config: &Config,
    runs: &[Run],
    until: Instant,
) -> Result<(), Error> {
    let post = Post::new(KEY, receiver)?;
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, TEXT)]);
    let mut refused = Ok(());
    for ((probe, kind, step), group) in groups(config, runs) {
        let what = format!("the gauges of `{probe}`, step `{step}`");
        let mut path = vec![
            "metrics",
            "job",
            JOB,
            "instance",
            &config.instance,
            "probe",
            probe,
            "step",
            step.as_str(),
        ];
        for (label, value) in &config.labels {
            path.extend([label.as_str(), value]);
        }
        let url = post.below(&path);
        let body = text(kind, &group).into_bytes();
        match post.send(&what, &url, &headers, body, until).await {
            Err(error) if error.is_of_the_content() => refused = refused.and(Err(error)),
            // All else would fare the same.
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    refused
}

/// Asks whether it is ready.
pub(super) async fn reach(receiver: &Receiver) -> Result<(), Error> {
    let post = Post::new(KEY, receiver)?;
    post.look(&post.below(&["-", "ready"])).await
}

fn groups<'a>(config: &'a Config, runs: &[Run]) -> BTreeMap<(&'a str, Kind, Step), Group> {
    let mut runs: Vec<_> = runs.iter().collect();
    runs.sort_by_key(|run| run.finished);
    let mut groups = BTreeMap::<_, Group>::new();
    for run in runs {
        let Some(probe) = config.probe(&run.probe) else {
            continue;
        };
        for (step, gauges) in gauges(probe, run) {
            let key = (probe.name.as_str(), run.kind, step);
            let named = gauges.into_iter().map(|gauge| (gauge.name, gauge));
            groups.entry(key).or_default().extend(named);
        }
    }
    groups
}

/// The text of a group, without timestamps, which a Pushgateway refuses.
fn text(kind: Kind, group: &Group) -> String {
    let mut text = String::new();
    for gauge in group.values() {
        let Gauge {
            name,
            help,
            labels,
            value,
        } = gauge;
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{kind=\"{kind}\""
        );
        for (label, value) in labels {
            // Neither IDs nor causes hold what would have to be escaped.
            let _ = write!(text, ",{label}=\"{value}\"");
        }
        let _ = writeln!(text, "}} {value}");
    }
    text
}
