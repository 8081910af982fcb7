//! The commands of `audit`: who acts in the operator's name.

mod check;
mod drill;
mod forward;
mod logs;
mod report;

use super::{Error, Settings};
use crate::cli::{AuditCommand, Exit};

/// Runs one of them.
pub(super) async fn run(settings: &Settings, command: &AuditCommand) -> Result<Exit, Error> {
    match command {
        AuditCommand::Check(args) => check::run(settings, args),
        AuditCommand::Forward(args) => forward::run(args).await,
        AuditCommand::Drill(args) => Box::pin(drill::run(settings, args)).await,
    }
}
