//! Logs: to stderr, as text or JSON, with no way to have a secret value in them.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, dynamic_filter_fn, filter_fn};
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
        Format::Text => {
            let no_color = std::env::var_os("NO_COLOR");
            let coloured = coloured(std::io::stderr().is_terminal(), no_color.as_deref());
            layer.with_ansi(coloured).boxed()
        }
        Format::Json => layer.json().boxed(),
    };
    let captured = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Capture::default)
        .with_filter(dynamic_filter_fn(|metadata, _| {
            metadata.target().starts_with("vso_prober")
                && *metadata.level() <= LevelFilter::DEBUG
                && LOG.try_with(|_| ()).is_ok()
        }));
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .with(captured)
        .init();
}

/// Whether people look at the log and want it coloured: see <https://no-color.org>.
fn coloured(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

tokio::task_local! {
    static LOG: Arc<Mutex<Vec<u8>>>;
}

/// Runs `work` and keeps what it logs by itself, at debug, whatever goes to stderr.
pub async fn captured<T>(work: impl Future<Output = T>) -> (T, String) {
    let log = Arc::new(Mutex::default());
    let done = LOG.scope(log.clone(), work).await;
    let log = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
    (done, String::from_utf8_lossy(&log).into_owned())
}

/// Writes to the log of the task that logs, if it keeps one.
#[derive(Default)]
struct Capture;

impl std::io::Write for Capture {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let _ = LOG.try_with(|log| {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.extend_from_slice(text);
        });
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether a library may log at this level, whatever the user asked for: what carries requests to
/// Vault and Kubernetes would print tokens and bodies in its details.
fn may_speak(target: &str, level: tracing::Level) -> bool {
    let room = target.split("::").next().unwrap_or_default();
    match room {
        "vso_prober" => true,
        // The last one reports each certificate that it does not trust, which the error says already.
        "vaultrs" | "rustify" | "rustls_platform_verifier" => false,
        // It warns of an answer that it can't read by printing it whole.
        // And of a request that failed, which the error says already.
        "kube_client" => level <= LevelFilter::ERROR && target != "kube_client::client::builder",
        _ => level <= LevelFilter::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_of_people_who_want_them() {
        assert!(coloured(true, None));
        assert!(coloured(true, Some("".as_ref())));
        assert!(!coloured(true, Some("1".as_ref())));
        assert!(!coloured(false, None));
    }
}
