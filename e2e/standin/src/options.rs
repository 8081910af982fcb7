//! The command line: flags in Go's style, as the real operator takes them, and its environment.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where to listen and whom to speak to.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The kubeconfig; without one, what the environment gives.
    pub kubeconfig: Option<PathBuf>,
    /// Where `/metrics` is served.
    pub metrics: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/faults` are served.
    pub health: SocketAddr,
    /// How many resources of a kind that writes a Secret may be reconciled at once.
    pub workers: u16,
    /// Whether tokens of Vault's are kept in Secrets, and outlive the process (`direct-unencrypted`).
    pub persists: bool,
    /// `OPERATOR_POD_NAME`.
    pub pod_name: String,
    /// `OPERATOR_POD_UID`: another one than before means "restarted" to a dynamic secret.
    pub pod_uid: String,
    /// `OPERATOR_NAMESPACE`: holds the key of the HMACs.
    pub namespace: String,
}

/// A command line that can't be run.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum UsageError {
    /// No such flag.
    #[error("flag provided but not defined: `-{0}`; known are {known}", known = FLAGS.join(", "))]
    Unknown(String),
    /// A flag without its value.
    #[error("flag needs an argument: `-{0}`")]
    NoValue(String),
    /// A value that can't be read.
    #[error("invalid value `{value}` for flag `-{flag}`: {reason}")]
    Invalid {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that is not a flag.
    #[error("unexpected argument `{0}`")]
    Unexpected(String),
}

const FLAGS: [&str; 6] = [
    "-kubeconfig",
    "-leader-elect",
    "-metrics-bind-address",
    "-health-probe-bind-address",
    "-max-concurrent-reconciles",
    "-client-cache-persistence-model",
];

/// How many workers each of these controllers has, unless it is said: as the real operator.
const WORKERS: u16 = 100;

impl Options {
    /// Reads the arguments (without the program's name) and the environment.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, UsageError> {
        let variable = |name, otherwise: &str| environment(name).unwrap_or(otherwise.into());
        let mut options = Self {
            kubeconfig: None,
            metrics: SocketAddr::from(([127, 0, 0, 1], 8080)),
            health: SocketAddr::from(([127, 0, 0, 1], 8081)),
            workers: WORKERS,
            persists: false,
            pod_name: variable("OPERATOR_POD_NAME", "vso-standin"),
            pod_uid: variable("OPERATOR_POD_UID", ""),
            namespace: variable("OPERATOR_NAMESPACE", "default"),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix('-') else {
                return Err(UsageError::Unexpected(argument));
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (flag.to_owned(), None),
            };
            // Go's boolean flags never take the next argument.
            if name == "leader-elect" {
                check_leader_elect(&inline.unwrap_or("true".into()))?;
                continue;
            }
            if !FLAGS.contains(&format!("-{name}").as_str()) {
                return Err(UsageError::Unknown(name));
            }
            let value = inline
                .or_else(|| arguments.next())
                .ok_or_else(|| UsageError::NoValue(name.clone()))?;
            match name.as_str() {
                "kubeconfig" => options.kubeconfig = Some(value.into()),
                "metrics-bind-address" => options.metrics = address(&name, &value)?,
                "client-cache-persistence-model" => options.persists = persists(&name, &value)?,
                "max-concurrent-reconciles" => options.workers = workers(&name, &value)?,
                _ => options.health = address(&name, &value)?,
            }
        }
        Ok(options)
    }
}

fn check_leader_elect(value: &str) -> Result<(), UsageError> {
    let reason = match value {
        "false" | "0" | "f" => return Ok(()),
        "true" | "1" | "t" => "the stand-in has no leader election, pass `-leader-elect=false`",
        _ => "neither true nor false",
    };
    Err(UsageError::Invalid {
        flag: "leader-elect".into(),
        value: value.into(),
        reason: reason.into(),
    })
}

fn persists(flag: &str, value: &str) -> Result<bool, UsageError> {
    match value {
        "none" => Ok(false),
        "direct-unencrypted" => Ok(true),
        _ => Err(UsageError::Invalid {
            flag: flag.into(),
            value: value.into(),
            reason: "expected `none` or `direct-unencrypted`".into(),
        }),
    }
}

fn workers(flag: &str, value: &str) -> Result<u16, UsageError> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| UsageError::Invalid {
        flag: flag.into(),
        value: value.into(),
        reason: "expected a number from 1 to 65535".into(),
    })
}

/// Go takes `:8080` for every address; the stand-in keeps to loopback then.
fn address(flag: &str, value: &str) -> Result<SocketAddr, UsageError> {
    let full = match value.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => value.to_owned(),
    };
    full.parse().map_err(|_| UsageError::Invalid {
        flag: flag.into(),
        value: value.into(),
        reason: "expected HOST:PORT with a numeric host".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, UsageError> {
        Options::parse(line.split_whitespace().map(str::to_owned), |_| None)
    }

    #[test]
    fn flags_are_read_with_one_dash_or_two() {
        let one = parse(
            "-kubeconfig /k -leader-elect=false -metrics-bind-address 127.0.0.1:1 -health-probe-bind-address=127.0.0.1:2",
        );
        let two = parse(
            "--kubeconfig=/k --leader-elect=false --metrics-bind-address=127.0.0.1:1 --health-probe-bind-address 127.0.0.1:2",
        );
        assert_eq!(one, two);
        let options = one.expect("well formed");
        assert_eq!(options.kubeconfig, Some("/k".into()));
        assert_eq!(options.metrics.port(), 1);
        assert_eq!(options.health.port(), 2);
        assert_eq!(options.workers, 100);
        let few = parse("--max-concurrent-reconciles 10").expect("well formed");
        assert_eq!(few.workers, 10);
        let kept = parse("-client-cache-persistence-model direct-unencrypted");
        assert!(kept.expect("well formed").persists);
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        let refused = |line: &str, word: &str| {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(word), "{line}: {error}");
        };
        refused("-frobnicate", "-frobnicate");
        refused("-kubeconfig", "needs an argument");
        refused("-leader-elect", "no leader election");
        refused("-leader-elect=maybe", "neither true nor false");
        refused("-metrics-bind-address nowhere", "HOST:PORT");
        refused("-max-concurrent-reconciles 0", "a number from 1");
        refused("-client-cache-persistence-model x", "direct-unencrypted");
        refused("now", "unexpected");
    }

    #[test]
    fn the_environment_names_the_pod() {
        let options = Options::parse([], |name| Some(format!("<{name}>"))).expect("no flags");
        assert_eq!(options.pod_name, "<OPERATOR_POD_NAME>");
        assert_eq!(options.pod_uid, "<OPERATOR_POD_UID>");
        assert_eq!(options.namespace, "<OPERATOR_NAMESPACE>");
    }
}
