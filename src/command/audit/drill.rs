//! The command `audit drill`: misuse on purpose, which `serve` is to find.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::time::{Instant, interval};
use url::Url;

use crate::audit::finding::{Finding, State};
use crate::cli::{AuditDrillArgs, DrillRule, Exit};
use crate::command::{Error, Settings, Stdout};
use crate::config::Config;
use crate::rights::auth_ref;
use crate::serve::Drill;
use crate::wire::sibling::{Sibling, Untold};

/// How often it is looked whether there is a finding, and how long each look may take.
const POLL: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(10);

/// Does it, and waits for its finding.
pub(super) async fn run(settings: &Settings, args: &AuditDrillArgs) -> Result<Exit, Error> {
    let config = settings.load()?;
    let audit = config.audit.as_ref().ok_or_else(|| {
        let none =
            "`audit drill` needs `audit` in the configuration; `vso-prober config example` has one";
        Error::Usage(none.to_owned())
    })?;
    let drill = match args.rule {
        DrillRule::Honey => Drill::decoy(audit, config.vault.namespace.as_deref())
            .map_err(|unready| Error::Usage(unready.to_string()))?,
        DrillRule::Address => {
            let probe = config.probes.first().ok_or_else(|| {
                Error::Usage("the drill of the rule `address` needs a probe".to_owned())
            })?;
            Drill::login(auth_ref(&probe.target), &config.kubernetes.namespace)
        }
    };
    let judge = Judge::new(args.url.as_deref(), &config)?;
    let before = judge.findings(&drill).await?;
    let begun = Instant::now();
    let done = drill.go(&config).await?;
    say(&format!("{}\n", done.text))?;
    let mut polls = interval(POLL);
    while begun.elapsed() < audit.lag {
        polls.tick().await;
        let now = judge.findings(&drill).await?;
        if let Some(found) = of_drill(now, &before, done.request.as_deref()) {
            say(&told(&found, begun.elapsed()))?;
            // The drill did what it is for, whether or not there is a metric of it.
            if let Err(untold) = judge.succeeded(&found).await {
                tracing::warn!(
                    "{untold}; `vso_audit_drill_last_success_timestamp_seconds` does not tell of this drill"
                );
            }
            return Ok(Exit::Good);
        }
    }
    say(&judge.excuse(&drill, audit.lag).await?)?;
    Ok(Exit::Failed)
}

/// The finding of the drill: the one that has its request, where that is known. Else, and where a finding has more requests than it
/// shows, the one that was not there before, or not with so many.
fn of_drill(now: Vec<Finding>, before: &[Finding], request: Option<&str>) -> Option<Finding> {
    now.into_iter().find(|found| {
        let earlier = before.iter().find(|earlier| earlier.id == found.id);
        let more = earlier.is_none_or(|earlier| found.count > earlier.count);
        let shown = u64::try_from(found.requests.len()).is_ok_and(|shown| shown == found.count);
        let its = match request {
            Some(id) if shown => found.requests.iter().any(|one| one.id == id),
            Some(_) | None => more,
        };
        found.state != State::Dismissed && its
    })
}

fn told(found: &Finding, after: Duration) -> String {
    format!(
        "found after {:.1} s: {} {}, {} confidence, finding {}\n  {}\n",
        after.as_secs_f64(),
        found.state.name(),
        found.rule.name(),
        found.confidence.name(),
        found.id,
        found.text,
    )
}

fn say(text: &str) -> Result<(), Error> {
    let written = Stdout.write_all(text.as_bytes());
    Ok(written.context("tried to write to stdout")?)
}

/// The prober that judges the audit logs.
struct Judge(Sibling);

#[derive(Deserialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Judge {
    fn new(url: Option<&str>, config: &Config) -> Result<Self, Error> {
        let own = || format!("http://{}", reached(config.server.listen));
        let url = url.map_or_else(own, str::to_owned);
        let wrong = |why: &str| Error::Usage(format!("`--url` can't be used: {why}"));
        let parsed = Url::parse(&url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.cannot_be_a_base() {
            return Err(wrong("it must begin with `http://` or `https://`"));
        }
        Sibling::at(parsed, LIMIT)
            .map(Self)
            .map_err(|why| wrong(&why))
    }

    /// The findings that the drill may be one of.
    async fn findings(&self, drill: &Drill) -> Result<Vec<Finding>, Error> {
        let query = [("rule", drill.rule().name()), ("limit", "1000")];
        let told = self.0.tells("findings", &query).await;
        let told: Findings = told.map_err(|untold| failed(&untold))?;
        let mut findings = told.findings;
        if let Some(path) = drill.path() {
            findings.retain(|found| found.requests.iter().any(|one| one.path == path.as_str()));
        }
        Ok(findings)
    }

    /// Tells it that a drill was found, for its metric.
    async fn succeeded(&self, found: &Finding) -> Result<(), Untold> {
        self.0.tell("drills", &[("finding", &found.id)]).await
    }

    /// Why there may be no finding.
    async fn excuse(&self, drill: &Drill, lag: Duration) -> Result<String, Error> {
        let sources = self.0.sources().await.map_err(|untold| failed(&untold))?;
        let rule = drill.rule().name();
        let mut text = format!("not found within {} s\n", lag.as_secs());
        for source in &sources {
            if let Some(reason) = &source.reason {
                let _ = writeln!(text, "  source {}: {reason}", source.name);
            }
        }
        let off = sources.iter().flat_map(|source| &source.off);
        if let Some(off) = off.into_iter().find(|off| off.rule == rule) {
            let _ = writeln!(text, "  the rule {rule} is off: {}", off.reason);
        }
        Ok(text)
    }
}

fn failed(untold: &Untold) -> Error {
    Error::Obstacle(format!(
        "{untold}; that is where `serve` tells what it found: name the prober that judges the audit logs by `--url`"
    ))
}

/// From where on this machine an address that is listened on is reached.
fn reached(listen: SocketAddr) -> SocketAddr {
    let mut reached = listen;
    match listen {
        SocketAddr::V4(at) if at.ip().is_unspecified() => {
            reached.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        SocketAddr::V6(at) if at.ip().is_unspecified() => {
            reached.set_ip(Ipv6Addr::LOCALHOST.into());
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => {}
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_reached_where_it_listens() {
        let check = |listen: &str, expected: &str| {
            let reached = reached(listen.parse().expect("an address"));
            assert_eq!(reached.to_string(), expected);
        };
        check("0.0.0.0:9465", "127.0.0.1:9465");
        check("[::]:9465", "[::1]:9465");
        check("10.0.0.1:80", "10.0.0.1:80");
    }
}
