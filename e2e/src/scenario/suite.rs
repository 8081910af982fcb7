//! A file of scenarios: named trials on one lab, one after the other.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{Scene, memory};

/// No scenario takes this long, unless it is said to.
const LIMIT: Duration = Duration::from_secs(300);

/// Named trials that share a lab, which is started by the first of them.
pub struct Suite {
    name: &'static str,
    limit: Duration,
    /// Whether its trials are left out.
    left_out: bool,
    stage: Arc<Stage>,
    trials: Vec<Trial>,
}

struct Stage {
    /// Whether the lab has a node.
    node: bool,
    runtime: Runtime,
    /// The lab, or why there is none.
    scene: Mutex<Option<Result<Scene, String>>>,
}

impl Suite {
    /// A file of this name.
    ///
    /// # Panics
    /// There are no threads to be had.
    pub fn new(name: &'static str) -> Self {
        Self::start(name, false)
    }

    /// A file of this name whose lab has a node. It is left out where the machine grants no namespaces, as it does
    /// to root alone, and by `NODE=0`; `NODE=1` insists on it.
    ///
    /// # Panics
    /// There are no threads to be had.
    pub fn with_node(name: &'static str) -> Self {
        let left_out = match env::var("NODE").as_deref() {
            Ok("0") => true,
            Ok("1") => false,
            _ => !grants_namespaces(),
        };
        if left_out {
            tell("left out, as a node needs root; NODE=1 insists on it");
        }
        Self {
            left_out,
            ..Self::start(name, true)
        }
    }

    fn start(name: &'static str, node: bool) -> Self {
        let runtime = Runtime::new().expect("a runtime can be started");
        Self {
            name,
            limit: LIMIT,
            left_out: false,
            stage: Arc::new(Stage {
                node,
                runtime,
                scene: Mutex::default(),
            }),
            trials: Vec::new(),
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
        F: AsyncFnOnce(&Scene) -> Result<()> + Send + 'static,
    {
        self.add(name, false, check)
    }

    /// Adds a trial that needs an operator that can be told to misbehave: the stand-in.
    #[must_use]
    pub fn fault<F>(self, name: &str, check: F) -> Self
    where
        F: AsyncFnOnce(&Scene) -> Result<()> + Send + 'static,
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

    fn add<F>(mut self, name: &str, ignored: bool, check: F) -> Self
    where
        F: AsyncFnOnce(&Scene) -> Result<()> + Send + 'static,
    {
        let (stage, limit) = (self.stage.clone(), self.limit);
        let trial = Trial::test(name, move || stage.run(limit, check))
            .with_ignored_flag(ignored || self.left_out);
        self.trials.push(trial);
        self
    }

    /// Runs them as the command line asks for, and ends the lab.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        // They share a lab, and most of them break it.
        arguments.test_threads = Some(1);
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        self.stage.end(self.name, conclusion.has_failed());
        conclusion.exit_code()
    }
}

impl Stage {
    fn run<F>(&self, limit: Duration, check: F) -> Result<(), Failed>
    where
        F: AsyncFnOnce(&Scene) -> Result<()>,
    {
        let mut scene = self.scene.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            self.runtime
                .block_on(Scene::start(self.node))
                .map_err(|error| format!("{error:#}"))
        };
        let scene = match scene.get_or_insert_with(start) {
            Ok(scene) => &*scene,
            Err(error) => return Err(Failed::from(error)),
        };
        let checked = catch_unwind(AssertUnwindSafe(|| {
            self.runtime.block_on(limited(limit, check, scene))
        }));
        let state = match &checked {
            Ok(Ok(())) => String::new(),
            _ => self.runtime.block_on(scene.state()),
        };
        let after = self.runtime.block_on(after(scene));
        match checked {
            Ok(Ok(())) => after.map_err(|error| Failed::from(format!("{error:#}"))),
            Ok(Err(error)) => Err(Failed::from(format!("{error:#}\n{state}"))),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn end(&self, name: &str, failed: bool) {
        let scene = self
            .scene
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let _inside = self.runtime.enter();
        if let Some(Ok(scene)) = scene
            && failed
        {
            tell(&scene.keep_logs(name).map_or_else(
                |error| format!("the lab's logs could not be kept: {error:#}"),
                |folder| format!("the lab's logs are kept in `{}`", folder.display()),
            ));
        }
    }
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

async fn limited<F>(limit: Duration, check: F, scene: &Scene) -> Result<()>
where
    F: AsyncFnOnce(&Scene) -> Result<()>,
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
