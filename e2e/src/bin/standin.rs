//! The stand-in operator as a program. A test double for Vault Secrets Operator: never ship it, never point it at a cluster that matters.

use std::process::ExitCode;

use standin::options::Options;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    tracing::info!("this is a stand-in for Vault Secrets Operator, a test double; it never ships");
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("two TLS providers"))?;
    let options = Options::parse(std::env::args().skip(1), |name| std::env::var(name).ok())?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                result = standin::run(options) => result,
                _ = terminate.recv() => Ok(()),
                result = tokio::signal::ctrl_c() => Ok(result?),
            }
        })
}
