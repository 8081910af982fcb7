//! The command `doctor`: checks every precondition, or prints the least rights for the configuration.

use std::io::Write as _;

use anyhow::Context as _;

use super::{Error, Settings, Stdout};
use crate::cli::{DoctorArgs, Exit, Only, ReportFormat};
use crate::config::Config;
use crate::doctor::{self, Check, Fix, Found, Topic};
use crate::rights::{POLICY, Rights, Subject, policy, reference, roles};

pub(super) async fn run(settings: &Settings, args: &DoctorArgs) -> Result<Exit, Error> {
    let (name, text) = settings.read()?;
    let config = match settings.check(&text, &name) {
        Ok(config) => part(choose(config, &args.probes)?, args.only)?,
        Err(problems) if args.print_policy || args.print_rbac => {
            return Err(Error::problems(problems));
        }
        Err(problems) => {
            let check = Check {
                check: Topic::Configuration,
                subject: name.into(),
                result: Found::Finding,
                text: problems.to_string().into(),
                fix: Some(Fix::Do(
                    "fix what is named; `vso-prober config schema` prints what is allowed".into(),
                )),
            };
            print(&report(&[check], args.output)?)?;
            return Ok(Exit::Usage);
        }
    };
    if args.print_policy || args.print_rbac {
        print(&rights(&config, args))?;
        return Ok(Exit::Good);
    }
    let checks = doctor::examine(&config, args.leader_elect).await;
    print(&report(&checks, args.output)?)?;
    Ok(exit(&checks))
}

/// The configuration with the probes of these names only.
fn choose(mut config: Config, names: &[String]) -> Result<Config, Error> {
    for name in names {
        if !config.probes.iter().any(|probe| probe.name == *name) {
            return Err(Error::Usage(format!("there is no probe `{name}`")));
        }
    }
    if !names.is_empty() {
        config.probes.retain(|probe| names.contains(&probe.name));
    }
    Ok(config)
}

/// The configuration as far as one part of `serve` goes by it.
fn part(mut config: Config, only: Option<Only>) -> Result<Config, Error> {
    match only {
        None => {}
        Some(Only::Probes) => config.audit = None,
        Some(Only::Audit) if config.audit.is_none() => {
            let text = "`--only audit` needs `audit` in the configuration; `vso-prober config example` has one";
            return Err(Error::Usage(text.to_owned()));
        }
        Some(Only::Audit) => config.probes.clear(),
    }
    Ok(config)
}

/// The least rights, as they were asked for.
fn rights(config: &Config, args: &DoctorArgs) -> String {
    let rights = Rights::of(config, args.leader_elect);
    let mut text = String::new();
    if args.print_rbac {
        let home = &config.kubernetes.namespace;
        let account = args.service_account.as_deref().unwrap_or(POLICY);
        let (namespace, name) = reference(account, home);
        let subject = Subject::Account {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        text.push_str(&roles(&rights, &subject));
    }
    if args.print_policy {
        text.push_str(&policy(&rights.paths));
    }
    text
}

fn report(checks: &[Check], format: ReportFormat) -> Result<String, Error> {
    Ok(match format {
        ReportFormat::Table => doctor::render(checks),
        ReportFormat::Json => {
            let json = serde_json::to_string_pretty(checks);
            json.context("can't write the outcome as JSON")? + "\n"
        }
    })
}

fn print(text: &str) -> Result<(), Error> {
    let written = Stdout.write_all(text.as_bytes());
    Ok(written.context("tried to write to stdout")?)
}

/// A finding goes before what could not be looked at: it is enough to know what to do next.
fn exit(checks: &[Check]) -> Exit {
    let any = |found| checks.iter().any(|check| check.result == found);
    if any(Found::Finding) {
        Exit::Failed
    } else if any(Found::Unknown) {
        Exit::Unknown
    } else {
        Exit::Good
    }
}
