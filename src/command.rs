//! The dispatch of the commands, and their error, which carries the exit code.

mod cleanup;
mod config;
mod doctor;
mod judge;
mod output;
mod probe;
mod run;
mod serve;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::cli::{Cli, Command, ConfigCommand, Exit};
use crate::config::Config;
use crate::config::problem::Problems;
use crate::model::record::Obstacle;

/// An error that ends a command, to be printed once.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration can't be used.
    #[error("{0}")]
    Config(String),
    /// The command line can't be used.
    #[error("{0}")]
    Usage(String),
    /// The prober met an obstacle of its own.
    #[error("{0}")]
    Obstacle(String),
    /// The outcome could not be written, or the like.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Error {
    /// The exit code that the error amounts to.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Usage(_) => Exit::Usage,
            Self::Obstacle(_) | Self::Other(_) => Exit::Unknown,
        }
    }
}

impl Error {
    #[expect(clippy::needless_pass_by_value, reason = "an adapter for `map_err`")]
    fn problems(problems: Problems) -> Self {
        Self::Config(format!("the configuration can't be used\n{problems}"))
    }
}

impl From<Obstacle> for Error {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle.text.into())
    }
}

/// Runs a command.
pub async fn run(cli: Cli) -> Result<Exit, Error> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Probe(args) => probe::run(&load(file)?, &args).await,
        Command::Judge(args) => judge::run(&args),
        Command::Serve(args) => serve::run(file, &args).await,
        Command::Doctor(args) => doctor::run(file, &args).await,
        Command::Cleanup(args) => cleanup::run(&load(file)?, &args).await,
        Command::Config { command } => {
            let mut out = std::io::stdout();
            let shown = match command {
                ConfigCommand::Schema => config::schema(&mut out),
                ConfigCommand::Example => config::example(&mut out),
                ConfigCommand::Check { file: own } => {
                    let (name, text) = read(own.as_deref().or(file))?;
                    let checked = config::check(&mut out, &text, &name, env)
                        .context("tried to write to stdout")?
                        .map_err(Error::problems)?;
                    probe::unheeded(&checked)
                        .into_iter()
                        .try_for_each(|note| writeln!(out, "note: {note}"))
                }
            };
            shown.context("tried to write to stdout")?;
            Ok(Exit::Good)
        }
    }
}

/// Reads and checks the configuration.
fn load(file: Option<&Path>) -> Result<Config, Error> {
    let (name, text) = read(file)?;
    crate::config::check::load(&text, &name, env).map_err(Error::problems)
}

/// Reads the configuration: the file's name and its text.
fn read(file: Option<&Path>) -> Result<(String, String), Error> {
    let Some(file) = file else {
        return Err(Error::Usage(
            "no configuration: pass `--config FILE` or set VSO_PROBER_CONFIG; `vso-prober config example` prints one"
                .to_owned(),
        ));
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::Config(format!("tried to read {name}: {error}")))?;
    Ok((name, text))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
