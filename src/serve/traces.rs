//! The judge that runs ask what Vault's audit log says of their canaries: in this process, or elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;

use crate::config::Config;
use crate::http::AuditBoard;
use crate::model::trace::Call;
use crate::round::AuditLog;
use crate::wire::sibling::Sibling;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(1);

/// Who judges the audit logs.
pub enum Traces {
    /// This process.
    Here(Arc<AuditBoard>),
    /// The prober at `audit.url`.
    There(There),
}

/// A prober elsewhere.
pub struct There {
    sibling: Sibling,
    /// Whether it could not be asked last.
    away: AtomicBool,
}

#[derive(Deserialize)]
struct Calls {
    calls: Vec<Call>,
}

impl Traces {
    /// Whom the configuration names: this process by its `board`, or the one at `audit.url`.
    ///
    /// # Errors
    /// There can be no client for that.
    pub fn of(config: &Config, board: Option<&Arc<AuditBoard>>) -> Result<Option<Self>, String> {
        if let Some(url) = &config.audit_url {
            let sibling = Sibling::at(url.clone(), LIMIT)
                .map_err(|why| format!("`audit.url` can't be used: {why}"))?;
            return Ok(Some(Self::There(There {
                sibling,
                away: AtomicBool::default(),
            })));
        }
        let traces = config.audit.as_ref().is_some_and(|audit| audit.trace);
        Ok(board.filter(|_| traces).cloned().map(Self::Here))
    }
}

impl AuditLog for Traces {
    fn calls<'a>(&'a self, canary: &'a str) -> BoxFuture<'a, Option<Vec<Call>>> {
        match self {
            Self::Here(board) => std::future::ready(Some(board.calls(canary))).boxed(),
            Self::There(there) => there.told(canary).boxed(),
        }
    }
}

impl There {
    /// What it says; none if it can't be asked, which is told once.
    async fn told(&self, canary: &str) -> Option<Vec<Call>> {
        let asked: Result<Calls, _> = self.sibling.tells("calls", &[("canary", canary)]).await;
        let was_away = self.away.swap(asked.is_err(), Ordering::Relaxed);
        match asked {
            Ok(told) => {
                if was_away {
                    let url = self.sibling.url();
                    tracing::info!(%url, "the judge of audit logs answers again");
                }
                Some(told.calls)
            }
            Err(error) => {
                if !was_away {
                    tracing::warn!(
                        %error,
                        "no traces of Vault's audit log: check `audit.url`, and the network between this prober and that one"
                    );
                }
                None
            }
        }
    }
}
