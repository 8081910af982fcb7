//! The runner of the trials: a suite is named trials on one lab, one after the other; suites run side by side.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::{self, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::pressure::{Pressure, STARVED};
use super::records::Records;
use super::{Scene, memory};
use crate::lab::Options;

/// No trial takes this long, unless it is said to.
const LIMIT: Duration = Duration::from_secs(300);
/// How many labs run at once, unless `LABS` says otherwise: trials wait more than they work.
const LABS: usize = 4;
/// The stack of a trial, in bytes: futures are large where nothing is optimised.
const STACK: usize = 16 << 20;
/// How many of the slowest trials are told.
const SLOWEST: usize = 15;

/// Named trials that share a lab, which is started by the first of them.
pub struct Suite {
    name: &'static str,
    /// What its lab has.
    lab: Options,
    limit: Duration,
    /// Whether the trials that are added from now on are left out.
    left_out: bool,
    trials: Vec<Named>,
}

/// One trial of a suite.
struct Named {
    name: String,
    left_out: bool,
    check: Check,
}

type Check = Box<dyn FnMut(&Runtime, &Scene) -> Result<()> + Send>;

/// What all suites share while they run.
struct Program {
    runtime: Runtime,
    /// One permit a lab.
    labs: Arc<Semaphore>,
    /// How long each trial took, and each start of a lab.
    times: Mutex<Vec<(Duration, String)>>,
    /// Who failed on a starved machine and was tried once more, and what the first try said.
    again: Mutex<Vec<String>>,
}

/// A suite while it runs.
struct Stage {
    name: &'static str,
    /// What its lab is to have.
    wanted: Options,
    /// How many of its trials have been asked for and are not over.
    pending: AtomicUsize,
    /// Its lab, once one of its trials was asked for. A fair lock: trials come in their order.
    lab: sync::Mutex<Option<Started>>,
}

/// The lab of a suite.
struct Started {
    /// The lab, or why there is none.
    scene: Result<Scene, String>,
    failed: bool,
    _permit: OwnedSemaphorePermit,
}

/// Runs the suites as the command line asks for, several side by side, and writes what took longest to `slowest`.
///
/// # Panics
/// There are no threads to be had, or `LABS` is not a number.
pub fn run(suites: Vec<Suite>, slowest: &Path) -> ExitCode {
    let labs = match env::var("LABS") {
        Ok(number) => number.parse().expect("`LABS` is the number of labs"),
        Err(_) => LABS,
    };
    let program = Arc::new(Program {
        runtime: Runtime::new().expect("a runtime can be started"),
        labs: Arc::new(Semaphore::new(labs)),
        times: Mutex::default(),
        again: Mutex::default(),
    });
    let trials: Vec<_> = suites
        .into_iter()
        .flat_map(|suite| suite.on(&program))
        .collect();
    let mut arguments = Arguments::from_args();
    // Each waits for its turn in a thread of its own.
    arguments.test_threads = Some(trials.len().max(2));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(told) = program.slowest() {
        let told = program.twice().unwrap_or_default() + &told;
        tell(&told);
        if let Err(error) = fs::write(slowest, told) {
            tell(&format!("could not write `{}`: {error}", slowest.display()));
        }
    }
    conclusion.exit_code()
}

impl Suite {
    /// A suite of this name.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            lab: Options::default(),
            limit: LIMIT,
            left_out: false,
            trials: Vec::new(),
        }
    }

    /// A suite of this name whose lab has a node. It is left out where the machine grants no namespaces, as it does
    /// to root alone, and by `NODE=0`; `NODE=1` insists on it.
    pub fn with_node(name: &'static str) -> Self {
        let left_out = match env::var("NODE").as_deref() {
            Ok("0") => true,
            Ok("1") => false,
            _ => !grants_namespaces(),
        };
        if left_out {
            tell(&format!(
                "`{name}` is left out, as a node needs root; NODE=1 insists on it"
            ));
        }
        Self {
            lab: Options {
                node: true,
                ..Options::default()
            },
            left_out,
            ..Self::new(name)
        }
    }

    /// Has Vault listen by IPv6 too, and for the PROXY protocol. It is left out where the machine has no IPv6.
    #[must_use]
    pub fn listeners(mut self) -> Self {
        self.lab.listeners = true;
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            tell(&format!("`{}` is left out, as there is no IPv6", self.name));
            self.left_out = true;
        }
        self
    }

    /// Gives the operator of its lab so many workers for each kind that writes a Secret: a small crowd keeps few busy.
    #[must_use]
    pub fn workers(mut self, workers: u16) -> Self {
        self.lab.workers = Some(workers);
        self
    }

    /// Leaves out the trials that are added from now on, unless this variable of the environment asks for them: they are long.
    #[must_use]
    pub fn asked_for(self, name: &str) -> Self {
        let left_out = env::var_os(name).is_none_or(|value| value.is_empty());
        Self {
            left_out: self.left_out || left_out,
            ..self
        }
    }

    /// Gives the trials that are added from now on this long.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Adds a trial. After it, nothing may be left behind.
    #[must_use]
    pub fn trial<F>(self, name: &str, check: F) -> Self
    where
        F: AsyncFnMut(&Scene) -> Result<()> + Send + 'static,
    {
        self.add(name, false, check)
    }

    /// Adds a trial that needs an operator that can be told to misbehave: the stand-in.
    #[must_use]
    pub fn fault<F>(self, name: &str, check: F) -> Self
    where
        F: AsyncFnMut(&Scene) -> Result<()> + Send + 'static,
    {
        let real = env::var_os("VSO_BIN").is_some_and(|value| !value.is_empty());
        self.add(name, real, check)
    }

    /// Leaves out the trials that are added from now on, and says so, where the memory of the binary can't be limited by
    /// [`super::Prober::within`]: the machine grants control groups to root alone, and not everywhere. So does `CGROUP=0`;
    /// `CGROUP=1` insists on them.
    #[must_use]
    pub fn confined(self) -> Self {
        let Some(why) = memory::left_out() else {
            return self;
        };
        tell(&format!(
            "some trials are left out, as the memory can't be limited: {why}"
        ));
        Self {
            left_out: true,
            ..self
        }
    }

    fn add<F>(mut self, name: &str, ignored: bool, mut check: F) -> Self
    where
        F: AsyncFnMut(&Scene) -> Result<()> + Send + 'static,
    {
        let limit = self.limit;
        self.trials.push(Named {
            name: format!("{}::{name}", self.name),
            left_out: ignored || self.left_out,
            check: Box::new(move |runtime, scene| {
                runtime.block_on(limited(limit, &mut check, scene))
            }),
        });
        self
    }

    /// Its trials, for whoever runs them.
    fn on(self, program: &Arc<Program>) -> Vec<Trial> {
        let stage = Arc::new(Stage {
            name: self.name,
            wanted: self.lab,
            pending: AtomicUsize::default(),
            lab: sync::Mutex::default(),
        });
        let trials = self.trials.into_iter();
        let trials = trials.map(|named| {
            let (program, stage) = (program.clone(), stage.clone());
            let Named {
                name,
                left_out,
                check,
            } = named;
            let body = {
                let name = name.clone();
                move || stage.run(&program, &name, check)
            };
            Trial::test(name, body).with_ignored_flag(left_out)
        });
        trials.collect()
    }
}

impl Program {
    /// Runs `work`, and keeps how long it took.
    fn timed<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.push((begun.elapsed(), what.to_owned()));
        done
    }

    /// Has a trial tried, and once more if it failed on a starved machine: what it said then may be of the machine. It
    /// has to be well the second time, and who was tried twice is told at the end.
    fn tried(
        &self,
        scene: &Scene,
        name: &str,
        check: &mut Check,
    ) -> thread::Result<Result<(), Failed>> {
        let before = Pressure::now();
        let first = tried(&self.runtime, scene, name, check);
        let why = match &first {
            Ok(Ok(())) => return first,
            Ok(Err(failed)) => failed.message().unwrap_or_default().to_owned(),
            Err(_) => "it panicked, see above".to_owned(),
        };
        let share = match (before, Pressure::now()) {
            (Some(before), Some(now)) => now.since(&before),
            _ => 0.0,
        };
        if share < STARVED {
            return first;
        }
        let told = format!(
            "{name} failed while somebody waited for a CPU {:.0} % of the time, and is tried once more: {why}",
            share * 100.0
        );
        tell(&told);
        let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        again.push(told);
        drop(again);
        tried(&self.runtime, scene, name, check)
    }

    /// Who was tried twice; `None` if nobody was.
    fn twice(&self) -> Option<String> {
        let again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        let first = |told: &String| told.lines().next().unwrap_or_default().to_owned();
        let lines: Vec<_> = again.iter().map(first).collect();
        (!lines.is_empty()).then(|| format!("tried twice:\n{}\n", lines.join("\n")))
    }

    /// A table of what took longest, and of what each suite took; `None` if nothing was run.
    fn slowest(&self) -> Option<String> {
        let mut times = self
            .times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        times.sort();
        let mut suites = BTreeMap::<&str, Duration>::new();
        for (took, name) in &times {
            let suite = name.split("::").next().unwrap_or(name);
            *suites.entry(suite).or_default() += *took;
        }
        let mut suites: Vec<_> = suites
            .into_iter()
            .map(|(name, took)| (took, name))
            .collect();
        suites.sort();
        let mut told = format!(
            "the slowest {SLOWEST} of {} trials and labs:\n",
            times.len()
        );
        for (took, name) in times.iter().rev().take(SLOWEST) {
            writeln!(told, "{:7.1} s  {name}", took.as_secs_f64()).ok()?;
        }
        told.push_str("each suite, from the start of its lab:\n");
        for (took, name) in suites.iter().rev() {
            writeln!(told, "{:7.1} s  {name}", took.as_secs_f64()).ok()?;
        }
        (!times.is_empty()).then_some(told)
    }
}

impl Stage {
    fn run(&self, program: &Program, name: &str, mut check: Check) -> Result<(), Failed> {
        self.pending.fetch_add(1, Ordering::Relaxed);
        let runtime = &program.runtime;
        let mut lab = runtime.block_on(self.lab.lock());
        let started = lab.get_or_insert_with(|| self.start(program));
        let outcome = match &started.scene {
            Ok(scene) => program.timed(name, || program.tried(scene, name, &mut check)),
            Err(error) => Ok(Err(Failed::from(error))),
        };
        started.failed |= !matches!(outcome, Ok(Ok(())));
        if self.pending.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(started) = lab.take()
        {
            let _inside = runtime.enter();
            started.end(self.name);
        }
        // Only now, so that others get the lab of one that panicked too.
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn start(&self, program: &Program) -> Started {
        let labs = program.labs.clone();
        let permit = program.runtime.block_on(labs.acquire_owned());
        let start = || program.runtime.block_on(Scene::start(&self.wanted));
        let scene = program.timed(&format!("{}::(lab)", self.name), start);
        Started {
            scene: scene.map_err(|error| format!("{error:#}")),
            failed: false,
            _permit: permit.expect("nobody closes the labs"),
        }
    }
}

impl Started {
    /// Ends the lab, and keeps its logs if a trial failed.
    fn end(self, suite: &str) {
        if let Ok(scene) = self.scene
            && self.failed
        {
            tell(&scene.keep_logs(suite).map_or_else(
                |error| format!("the lab's logs could not be kept: {error:#}"),
                |folder| format!("the lab's logs are kept in `{}`", folder.display()),
            ));
        }
    }
}

/// Whether a trial went well, and nothing was left behind; or its panic.
fn tried(
    runtime: &Runtime,
    scene: &Scene,
    name: &str,
    check: &mut Check,
) -> thread::Result<Result<(), Failed>> {
    if let Some(records) = scene.records() {
        records.begin(name);
    }
    let checked = thread::scope(|scope| {
        let body = || check(runtime, scene);
        let thread = thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, body);
        thread.expect("there are threads to be had").join()
    });
    let state = match &checked {
        Ok(Ok(())) => String::new(),
        _ => runtime.block_on(scene.state()),
    };
    let after = runtime.block_on(after(scene));
    let after = after.and(scene.records().map_or(Ok(()), Records::end));
    checked.map(|checked| match checked {
        Ok(()) => after.map_err(|error| Failed::from(format!("{error:#}"))),
        // What broke comes first: what was tried may be pages long.
        Err(error) => Err(Failed::from(format!(
            "{}\n{error:#}\n{state}",
            error.root_cause()
        ))),
    })
}

/// Whether the machine grants the namespaces that a node needs.
fn grants_namespaces() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

#[expect(clippy::print_stderr, reason = "a word to whoever runs the tests")]
fn tell(text: &str) {
    eprintln!("{text}");
}

async fn limited<F>(limit: Duration, check: &mut F, scene: &Scene) -> Result<()>
where
    F: AsyncFnMut(&Scene) -> Result<()>,
{
    timeout(limit, check(scene))
        .await
        .with_context(|| format!("the trial was not over within {limit:?}"))?
}

/// Makes the lab whole, and insists that nothing was left behind.
async fn after(scene: &Scene) -> Result<()> {
    scene.heal().await.context("could not heal the lab")?;
    let left = scene.left_behind().await?;
    if left.is_empty() {
        return Ok(());
    }
    scene.scrub().await.context("could not clean the lab")?;
    Err(anyhow!("left behind: {}", left.join(", ")))
}
