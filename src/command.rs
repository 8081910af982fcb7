//! The dispatch of the commands, and their error, which carries the exit code.

mod audit;
mod cleanup;
mod config;
mod doctor;
mod judge;
mod output;
mod probe;
mod serve;
mod settings;
mod stdout;

use std::io::Write as _;

use anyhow::Context as _;

use crate::cli::{Cli, Command, ConfigCommand, Exit};
use crate::config::problem::Problems;
use crate::model::record::Obstacle;
use settings::Settings;
use stdout::Stdout;

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
    let settings = Settings::new(cli.config, cli.kubernetes)?;
    match cli.command {
        Command::Probe(args) => probe::run(&settings.load()?, &args).await,
        Command::Judge(args) => judge::run(&args),
        Command::Serve(args) => serve::run(&settings, &args).await,
        Command::Doctor(args) => Box::pin(doctor::run(&settings, &args)).await,
        Command::Audit { command } => audit::run(&settings, &command).await,
        Command::Cleanup(args) => cleanup::run(&settings.load()?, &args).await,
        Command::Config { command } => configuration(settings, command),
        Command::Completions { shell } => {
            let script = Cli::completions(shell);
            let written = Stdout.write_all(&script);
            written.context("tried to write to stdout")?;
            Ok(Exit::Good)
        }
    }
}

fn configuration(settings: Settings, command: ConfigCommand) -> Result<Exit, Error> {
    let mut out = Stdout;
    let shown = match command {
        ConfigCommand::Schema => config::schema(&mut out),
        ConfigCommand::Example => config::example(&mut out),
        ConfigCommand::Check { file } => {
            let (settings, name, text) = settings.read_or(file)?;
            let checked = settings.check(&text, &name).map_err(Error::problems)?;
            config::good(&mut out, &checked, &name).and_then(|()| {
                let mut notes = probe::unheeded(&checked);
                notes.try_for_each(|note| writeln!(out, "note: {note}"))
            })
        }
    };
    shown.context("tried to write to stdout")?;
    Ok(Exit::Good)
}
