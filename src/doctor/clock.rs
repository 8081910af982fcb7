//! The check of clocks: the prober's, the API server's and Vault's.

use jiff::{SignedDuration, Timestamp};

use super::fix::{Command, Fix, Script};
use super::{Cluster, Ledger, Topic};
use crate::vault::introspect::State;

/// From where on events are laid to the wrong moment; both clocks are told by the second.
const SOME: SignedDuration = SignedDuration::from_secs(3);
/// From where on tokens are refused as of the future, and canaries of another prober taken for expired.
const MUCH: SignedDuration = SignedDuration::from_secs(60);

/// Looks at each clock that was told.
pub(super) fn look(cluster: &Cluster, vault: Option<&State>, ledger: &mut Ledger) {
    if let Some(ahead) = cluster.ahead {
        judge("the API server", ahead, ledger);
    }
    if let Some(state) = vault.filter(|state| state.server_time_utc > 0)
        && let Ok(time) = Timestamp::from_second(state.server_time_utc)
    {
        judge("Vault", time.duration_since(Timestamp::now()), ledger);
    }
}

fn judge(whose: &str, ahead: SignedDuration, ledger: &mut Ledger) {
    let seconds = ahead.as_secs();
    let apart = ahead.abs();
    if apart < SOME {
        return ledger.good(Topic::Clock, whose, "agrees with this host's");
    }
    let side = if seconds > 0 { "ahead of" } else { "behind" };
    let text = format!(
        "compared the clock of {whose} with this host's: it is {} s {side} it",
        seconds.abs()
    );
    let fix: Fix = Script::default()
        .remark("on the host whose clock is wrong")
        .run(Command::new("timedatectl set-ntp true"))
        .run(Command::new("chronyc makestep"))
        .into();
    if apart < MUCH {
        ledger.warning(Topic::Clock, whose, text, Some(fix));
    } else {
        ledger.finding(Topic::Clock, whose, text, fix);
    }
}
