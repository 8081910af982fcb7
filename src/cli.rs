//! The command line, and what the exit code says.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::telemetry::Format;

/// A synthetic end-to-end prober for HashiCorp's Vault Secrets Operator.
///
/// It writes a canary secret to Vault, asks the operator for it, times what comes back, checks it,
/// cleans up, and says who is at fault if something is.
#[derive(Debug, Parser)]
#[command(name = "vso-prober", version, propagate_version = true)]
#[command(after_help = "\
Exit codes:
  0  every step was good
  1  a step failed or missed its threshold
  2  wrong usage or configuration
  3  unknown: no verdict on the operator
  4  good, but the push failed
  70 a task of the prober's own has stopped: a bug, and the log names the task
")]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "VSO_PROBER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The form of the log, on stderr.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub log_format: Format,
    /// Says more; twice says everything. `RUST_LOG` goes before it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the probes once, print the outcome, exit.
    Probe(ProbeArgs),
    /// Judge saved records again: print what they say and exit as `probe` does. Needs no configuration, no cluster
    /// and no Vault.
    Judge(JudgeArgs),
    /// Run the probes on schedule, and serve metrics and runs over HTTP.
    Serve(ServeArgs),
    /// Check every precondition of a run, and say for each what is wrong and what puts it right.
    ///
    /// Exits with 0 if all is well, warnings allowed; with 1 for a finding; with 2 if the configuration can't be
    /// used; with 3 if something could not be looked at.
    Doctor(DoctorArgs),
    /// Remove canaries that an earlier run left behind and that are past their expiry.
    Cleanup(CleanupArgs),
    /// Check the configuration, or show what it may say.
    Config {
        /// What to show.
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

/// How to run the probes.
#[derive(Args, Debug)]
pub struct ProbeArgs {
    /// Run only these probes, by name.
    #[arg(long = "probe", value_name = "NAME", num_args = 1..)]
    pub probes: Vec<String>,
    /// Run each probe this often.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Have up to this many runs at once. One run at a time measures best.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub parallel: u16,
    /// Where the outcome goes.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Push the outcome to where the configuration's `push` says.
    #[arg(long)]
    pub push: bool,
    /// Save the record of each run in this folder, for `judge` and for bug reports: all that was seen, without any
    /// secret value.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// Where the outcome goes, and in which form.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// The form of the outcome.
    #[arg(
        short = 'o',
        long = "format",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output_format: OutputFormat,
    /// Write the outcome to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What to judge again.
#[derive(Args, Debug)]
pub struct JudgeArgs {
    /// The records: files that `probe --record` or `serve` wrote.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where the outcome goes.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How to serve.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Run the probes only while holding the Lease `vso-prober-INSTANCE` in the canaries' namespace, so that
    /// of several replicas one is at work.
    #[arg(long)]
    pub leader_elect: bool,
    /// Let HTTP requests reload the configuration and run probes: `POST /-/reload`, `POST
    /// /api/v1/probes/NAME/run`.
    #[arg(long = "web.enable-lifecycle")]
    pub web_enable_lifecycle: bool,
}

/// What to check.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Check for these probes only, by name.
    #[arg(long = "probe", value_name = "NAME", num_args = 1..)]
    pub probes: Vec<String>,
    /// The form of the outcome.
    #[arg(
        short = 'o',
        long = "format",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output_format: ReportFormat,
    /// Print the least policy for Vault that the configuration needs, and check nothing.
    #[arg(long)]
    pub print_policy: bool,
    /// Print the least roles for Kubernetes that the configuration needs, and check nothing.
    #[arg(long)]
    pub print_rbac: bool,
    /// The ServiceAccount that `--print-rbac` grants them to; by default `vso-prober` in the canaries' namespace.
    #[arg(long, value_name = "[NAMESPACE/]NAME", requires = "print_rbac")]
    pub service_account: Option<String>,
    /// Have in mind what `serve --leader-elect` does, too.
    #[arg(long)]
    pub leader_elect: bool,
}

/// The form of what was checked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ReportFormat {
    /// A table for people.
    #[default]
    Table,
    /// An array of objects.
    Json,
}

/// The form of an outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum OutputFormat {
    /// A table for people, with a timeline bar a step.
    #[default]
    Table,
    /// One object a run, one a line.
    Json,
    /// JUnit XML.
    Junit,
}

/// What to remove.
#[derive(Args, Debug)]
pub struct CleanupArgs {
    /// Remove every canary of this prober, also those in use.
    #[arg(long)]
    pub all: bool,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What to show of the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration file and tell all problems at once.
    Check {
        /// The file; by default that of `--config`.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print a commented example.
    Example,
}

/// What the exit code says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Every step was good.
    Good,
    /// A step failed or missed its threshold.
    Failed,
    /// Wrong usage or configuration.
    Usage,
    /// No verdict on the operator.
    Unknown,
    /// Every step was good, but the outcome could not be pushed.
    PushFailed,
    /// A task of `serve` has stopped that must not.
    Broken,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unknown => 3,
            Exit::PushFailed => 4,
            // As `EX_SOFTWARE` of sysexits.h.
            Exit::Broken => 70,
        })
    }
}
