//! The command `audit forward`: sends a log to another prober as it grows.

use anyhow::Context as _;

use crate::cli::{AuditForwardArgs, Exit};
use crate::command::Error;
use crate::config::{self, Begin};
use crate::health::Health;
use crate::shutdown::Shutdown;
use crate::tail::Sources;
use crate::tail::forward::Forwarder;

/// Sends until the program is told to stop.
pub(super) async fn run(args: &AuditForwardArgs) -> Result<Exit, Error> {
    let source = config::source_name(&args.source);
    let source = source.map_err(|wrong| Error::Usage(format!("`--source` {wrong}")))?;
    let forwarder = Forwarder::new(
        &source,
        &args.to,
        args.token_file.clone(),
        args.ca_file.as_deref(),
    );
    let forwarder = forwarder.map_err(Error::Usage)?;
    let shutdown = Shutdown::on_signals()?;
    let health = Health::default();
    let (mut sources, batches) = Sources::open(&args.state, &health, &shutdown)
        .with_context(|| format!("tried to keep positions in {}", args.state.display()))?;
    sources.add_file(&source, &args.file, Begin::End);
    tracing::info!(source = %source, file = %args.file.display(), to = args.to, "forwarding");
    // What was sent meanwhile is still acknowledged.
    let ending = async {
        shutdown.wait().await;
        sources.end().await;
    };
    tokio::select! {
        refused = forwarder.run(batches) => match refused {
            Ok(()) => Ok(Exit::Good),
            Err(refused) => Err(Error::Obstacle(refused.to_string())),
        },
        stopped = health.stopped() => {
            tracing::error!(task = stopped.who, "{stopped}; exiting");
            Ok(Exit::Broken)
        }
        () = ending => Ok(Exit::Good),
    }
}
