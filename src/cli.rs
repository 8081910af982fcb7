//! The command line, and the exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::telemetry::Format;

/// A synthetic end-to-end prober for HashiCorp's Vault Secrets Operator.
///
/// It writes a canary secret to Vault, asks the operator to sync it, times and checks the result,
/// cleans up, and says who has to act if something is wrong.
#[derive(Debug, Parser)]
#[command(name = "vso-prober", version, propagate_version = true)]
#[command(after_help = "\
Exit codes:
  0  every step was good
  1  a step failed or missed its threshold
  2  wrong usage or configuration
  3  unknown: the prober itself failed, so nothing can be said about the operator
  4  every step was good, but the push failed
  70 a task of `serve` stopped: a bug in the prober; the log names the task
")]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, env = "VSO_PROBER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What goes before the configuration's `kubernetes`.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// The format of the log, on stderr.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub log_format: Format,
    /// Log more (`-v` debug, `-vv` trace); `RUST_LOG` overrides it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The script that completes this command line in a shell.
    pub fn completions(shell: Shell) -> Vec<u8> {
        let mut script = Vec::new();
        let mut command = Self::command();
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, &mut command, name, &mut script);
        script
    }
}

/// What goes before the configuration's `kubernetes`.
#[derive(Args, Clone, Debug)]
pub struct KubernetesArgs {
    /// The namespace of the canaries, in place of `kubernetes.namespace`.
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig, in place of `kubernetes.context`.
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// The kubeconfig, in place of the ServiceAccount, of `KUBECONFIG` and of `~/.kube/config`.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
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
    /// Check every precondition of a run, and print a fix for each finding.
    ///
    /// Exits with 0 if all is well (warnings are allowed), 1 for a finding, 2 if the configuration can't be
    /// used, 3 if something could not be checked.
    Doctor(DoctorArgs),
    /// Find who acts in the operator's name, by the audit logs of Vault and of the API server.
    Audit {
        /// What to do.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Remove canaries that earlier runs left behind, once they have expired.
    Cleanup(CleanupArgs),
    /// Check the configuration, print its schema or an example.
    Config {
        /// What to show.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a script that completes commands and flags in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// How to run the probes.
#[derive(Args, Debug)]
pub struct ProbeArgs {
    /// Run only these probes, by name.
    #[arg(long = "probe", value_name = "NAME", num_args = 1..)]
    pub probes: Vec<String>,
    /// Run each probe N times.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Run up to N runs at once. One at a time measures best.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub parallel: u16,
    /// Where the outcome goes.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Push the outcome to the receivers of the configuration's `push`.
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
    /// The format of the output.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
    /// Write the output to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
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
    /// Run the probes only while holding the Lease `vso-prober-INSTANCE` in the canaries' namespace: of
    /// several replicas, one probes.
    #[arg(long)]
    pub leader_elect: bool,
    /// Let HTTP requests reload the configuration and run probes: `POST /-/reload`, `POST
    /// /api/v1/probes/NAME/run`.
    #[arg(long = "web.enable-lifecycle")]
    pub web_enable_lifecycle: bool,
    /// Do only this: run the probes, or judge the audit logs of the configuration's `audit` [default: both].
    #[arg(long, value_enum, value_name = "WHAT")]
    pub only: Option<Only>,
}

/// A part of what `serve` does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Only {
    /// To run the probes.
    Probes,
    /// To judge audit logs.
    Audit,
}

/// What to check.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Check for these probes only, by name.
    #[arg(long = "probe", value_name = "NAME", num_args = 1..)]
    pub probes: Vec<String>,
    /// The format of the output.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
    /// Print the least Vault policy for the configuration, and check nothing.
    #[arg(long)]
    pub print_policy: bool,
    /// Print the least Kubernetes roles for the configuration, and check nothing.
    #[arg(long)]
    pub print_rbac: bool,
    /// The ServiceAccount that `--print-rbac` grants the roles to [default: `vso-prober` in the canaries' namespace].
    #[arg(long, value_name = "[NAMESPACE/]NAME", requires = "print_rbac")]
    pub service_account: Option<String>,
    /// Include what `serve --leader-elect` needs.
    #[arg(long)]
    pub leader_elect: bool,
    /// Only what `serve --only` of the same needs [default: both].
    #[arg(long, value_enum, value_name = "WHAT")]
    pub only: Option<Only>,
}

/// The form of what was checked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ReportFormat {
    /// A table.
    #[default]
    Table,
    /// A JSON array of objects.
    Json,
}

/// The form of an outcome.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum OutputFormat {
    /// A table with a timeline bar for each step.
    #[default]
    Table,
    /// One JSON object for each run, one a line.
    Json,
    /// JUnit XML.
    Junit,
}

/// What to do with audit logs.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Judge saved logs: plain, gzip or zstd, in any order. Needs no cluster and no Vault; a configuration tells it the prober
    /// and its canaries.
    ///
    /// Exits with 0 if nothing was found, 1 for a confirmed finding, 2 for wrong usage, 3 if a file can't be read or has
    /// lines that are no audit entries.
    Check(AuditCheckArgs),
    /// Send a log to another prober as it grows, over its rotations: a sidecar beside Vault. Needs no configuration, and no
    /// right in Kubernetes or Vault.
    ///
    /// Each line is sent at least once, and read on from where it was taken after a restart. The very first start begins at
    /// the log's end. Runs until it is told to stop; exits with 3 if the other side refuses it.
    Forward(AuditForwardArgs),
    /// Do harmless misuse on purpose, and wait until the prober that judges the audit logs has found it. The finding raises its
    /// alert as any other does.
    ///
    /// Exits with 0 if it was found, 1 if it was not within `audit.lag`, 2 for wrong usage, 3 if it could not be done or
    /// nobody could be asked.
    Drill(AuditDrillArgs),
}

/// Which misuse, and who is to find it.
#[derive(Args, Debug)]
pub struct AuditDrillArgs {
    /// The rule that is to find it: `honey` asks for the first of `audit.decoys` without a token, which needs no right; `address`
    /// logs in as the operator does for the first probe, which needs the right to create tokens of that ServiceAccount.
    #[arg(long, value_enum, default_value_t, value_name = "RULE")]
    pub rule: DrillRule,
    /// Where `serve` tells its findings [default: this machine, at the port of the configuration's `server.listen`].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// The rule that is to find the misuse of a drill.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum DrillRule {
    /// A decoy is touched.
    #[default]
    Honey,
    /// The operator's identity is used from an address that is not the operator's.
    Address,
}

/// Which log to send, and where.
#[derive(Args, Debug)]
pub struct AuditForwardArgs {
    /// The name of the source in the other prober's `audit.sources`.
    #[arg(long, value_name = "NAME")]
    pub source: String,
    /// The log.
    #[arg(long, value_name = "PATH")]
    pub file: PathBuf,
    /// The other prober's `audit.server`, such as `https://vso-prober-audit:9466`.
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// The folder that keeps how far the log was taken. It must survive a restart.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// A file with the bearer token to send; read anew for each request.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of the CA that the other side's certificate is checked against.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Which logs to judge, and by what.
#[derive(Args, Debug)]
pub struct AuditCheckArgs {
    /// The logs: of Vault's audit devices, and of the API server.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// When the operator's Pods were there, and at which addresses: lines `{"pod","address","node_address","from","to"}`.
    #[arg(long, value_name = "FILE")]
    pub presence: Option<PathBuf>,
    /// As which address Vault sees the operator [default: learnt from its reads of canaries].
    #[arg(long, value_enum, value_name = "MODE")]
    pub address: Option<AuditAddress>,
    /// The format of the output.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: ReportFormat,
}

/// As which address Vault sees the operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AuditAddress {
    /// As its Pod's.
    Pod,
    /// As its node's.
    Node,
    /// It is not to be used.
    Off,
}

/// What to remove.
#[derive(Args, Debug)]
pub struct CleanupArgs {
    /// Remove every canary of this prober, including those in use.
    #[arg(long)]
    pub all: bool,
    /// Print what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// What to show of the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration file and print every problem.
    Check {
        /// The file; `-` is stdin [default: that of `--config`].
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
