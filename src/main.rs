//! The binary: parse, run, print the error once, exit.

use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use vso_prober::cli::{Cli, Exit};
use vso_prober::{command, panic, telemetry};

/// The program mostly waits: more threads than these would only cost memory on a large node.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    keep_memory_private();
    telemetry::init(cli.log_format, cli.verbose);
    panic::log_places();
    // Both of the program's HTTP clients take this one; a second provider would only add weight.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(THREADS))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("can't start: {error}"), Exit::Unknown),
    };
    let ended = runtime.block_on(command::run(cli));
    // A name that is still being resolved must not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => fail(&error.to_string(), error.exit()),
    }
}

/// The memory holds tokens and passwords: no core of it is written, and no other process of the user's may read it.
/// A kernel that refuses either leaves it as safe as it was.
fn keep_memory_private() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
}

#[expect(clippy::print_stderr, reason = "the one place that prints an error")]
fn fail(text: &str, exit: Exit) -> ExitCode {
    eprintln!("error: {text}");
    exit.into()
}
