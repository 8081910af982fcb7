//! What an attacker can try on a prober, and what comes of it: never a foreign object touched, never a dead
//! prober, never a blame that somebody made up.

#[path = "security/shown.rs"]
mod shown;

use std::process::ExitCode;

use e2e::scenario::Suite;

fn main() -> ExitCode {
    Suite::new("security")
        .fault("what_others_write_steers_no_terminal", shown::escapes)
        .run()
}
