//! Logs: to stderr, as text or JSON, with no way to have a secret value in them.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// Starts logging. `verbosity` is the number of `-v`; `RUST_LOG` goes before it.
pub fn init(format: Format, verbosity: u8) {
    let default = match verbosity {
        0 => "vso_prober=info,warn",
        1 => "vso_prober=debug,info",
        _ => "vso_prober=trace,debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let filter = filter.and(filter_fn(|metadata| {
        may_speak(metadata.target(), *metadata.level())
    }));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        Format::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => layer.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
}

/// Whether a library may log at this level, whatever the user asked for: what carries requests to
/// Vault and Kubernetes would print tokens and bodies in its details.
fn may_speak(target: &str, level: tracing::Level) -> bool {
    let room = target.split("::").next().unwrap_or_default();
    match room {
        "vso_prober" => true,
        "vaultrs" | "rustify" => false,
        // It warns of an answer that it can't read by printing it whole.
        "kube_client" => level <= LevelFilter::ERROR,
        _ => level <= LevelFilter::INFO,
    }
}
