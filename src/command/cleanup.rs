//! The command `cleanup`: removes what earlier runs left behind.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;

use super::{Error, Stdout};
use crate::cli::{CleanupArgs, Exit};
use crate::config::Config;
use crate::janitor::{self, Scope};
use crate::kubernetes;
use crate::vault::Vault;

pub(super) async fn run(config: &Config, args: &CleanupArgs) -> Result<Exit, Error> {
    let kube = kubernetes::connect(&config.kubernetes).await?;
    let vault = Vault::open(&config.vault).await?;
    let scope = if args.all { Scope::All } else { Scope::Expired };
    let swept = janitor::sweep(&kube, &vault, config, scope, args.dry_run).await;
    vault.log_out().await;

    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut text = String::new();
    for what in &swept.removed {
        let _ = writeln!(text, "{verb} {what}");
    }
    for what in &swept.left {
        let _ = writeln!(text, "left: {what}");
    }
    for why in &swept.unseen {
        let _ = writeln!(text, "could not check: {why}");
    }
    if swept.strangers > 0 {
        let _ = writeln!(
            text,
            "left alone {} that have the label of this prober's canaries but are none",
            swept.strangers
        );
    }
    let _ = writeln!(
        text,
        "{verb} {}, left {}",
        swept.removed.len(),
        swept.left.len()
    );
    Stdout
        .write_all(text.as_bytes())
        .context("tried to write to stdout")?;
    Ok(if !swept.unseen.is_empty() {
        Exit::Unknown
    } else if swept.left.is_empty() {
        Exit::Good
    } else {
        Exit::Failed
    })
}
