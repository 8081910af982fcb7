//! The live progress on a terminal; nothing elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::Step;

/// The lines on the terminal.
pub struct Board(MultiProgress);

/// The line of one run. Dropping it takes the line away.
pub struct Line {
    bar: ProgressBar,
    probe: String,
}

impl Board {
    /// Lines on stderr, if that is a terminal that people look at.
    pub fn new(wanted: bool) -> Self {
        let target = if wanted && std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(MultiProgress::with_draw_target(target))
    }

    /// A line for a run that begins.
    pub fn line(&self, probe: &str) -> Line {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.0.add(ProgressBar::new_spinner().with_style(style));
        // A tick is a thread; nobody looks at a hidden line.
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Line {
            bar,
            probe: probe.to_owned(),
        }
    }
}

impl Line {
    /// A step was begun.
    pub fn begun(&self, step: Step) {
        let waits = if step.poll_driven() {
            ", waiting for the operator's next poll"
        } else {
            ""
        };
        self.bar
            .set_message(format!("{}: {step}{waits}", self.probe));
    }

    /// What is left is being removed.
    pub fn cleaning_up(&self) {
        self.bar.set_message(format!("{}: cleaning up", self.probe));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
