//! A limit of memory for the binary, as a container's: a control group of its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Prober;

/// The limit of memory of the shipped manifests, in bytes.
pub const SHIPPED: u64 = 64 << 20;

/// How long the kernel may take until a group whose processes were killed is empty.
const PATIENCE: Duration = Duration::from_secs(5);

/// Joins the group whose file of processes is named first, and becomes the program that is named next.
pub(super) const JOIN: &str = r#"echo $$ > "$0" && exec "$@""#;

/// Tells the groups of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The interface of the control groups, as the machine has it.
#[derive(Clone, Copy, Debug)]
enum Version {
    One,
    Two,
}

/// A control group. Dropping it removes it, once the processes in it have ended.
#[derive(Debug)]
pub(super) struct Group {
    folder: PathBuf,
    version: Version,
}

impl Prober {
    /// Runs it with no more memory than this, in bytes: beyond, the kernel kills it. For trials that were added by
    /// [`super::Suite::confined`].
    #[must_use]
    pub fn within(mut self, memory: u64) -> Self {
        self.memory = Some(memory);
        self
    }
}

impl Version {
    /// What the machine has, and where.
    fn find() -> Option<(Self, &'static Path)> {
        let one = Path::new("/sys/fs/cgroup/memory");
        let two = Path::new("/sys/fs/cgroup");
        if one.join("memory.limit_in_bytes").exists() {
            return Some((Self::One, one));
        }
        let controllers = fs::read_to_string(two.join("cgroup.controllers")).ok()?;
        let memory = controllers.split_whitespace().any(|name| name == "memory");
        memory.then_some((Self::Two, two))
    }

    /// The files that limit memory, and swap; and the one that knows how much was used at most.
    const fn files(self) -> [&'static str; 3] {
        match self {
            Self::One => [
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.max_usage_in_bytes",
            ],
            Self::Two => ["memory.max", "memory.swap.max", "memory.peak"],
        }
    }
}

impl Group {
    /// A group that may use so much memory, in bytes, and no swap.
    ///
    /// # Errors
    /// The machine has no such groups, or grants none.
    pub(super) fn new(memory: u64) -> Result<Self> {
        let (version, root) = Version::find().context("there are no control groups for memory")?;
        if matches!(version, Version::Two) {
            // It may be on already, or is not for us to turn on: then the limit can't be written.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("vso-prober-e2e-{}-{number}", process::id()));
        fs::create_dir(&folder)
            .with_context(|| format!("could not make `{}`", folder.display()))?;
        let group = Self { folder, version };
        let [limit, swap, _] = version.files();
        group.write(limit, memory)?;
        let no_swap = match version {
            Version::One => memory,
            Version::Two => 0,
        };
        // A kernel that does not count swap has no such file.
        if group.folder.join(swap).exists() {
            group.write(swap, no_swap)?;
        }
        Ok(group)
    }

    /// The file of its processes.
    pub(super) fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// How many bytes were used at most so far.
    pub(super) fn peak(&self) -> Result<u64> {
        let [_, _, peak] = self.version.files();
        let text = fs::read_to_string(self.folder.join(peak))?;
        Ok(text.trim().parse()?)
    }

    fn write(&self, file: &str, bytes: u64) -> Result<()> {
        let file = self.folder.join(file);
        fs::write(&file, bytes.to_string())
            .with_context(|| format!("could not write `{}`", file.display()))
    }
}

impl Drop for Group {
    #[expect(
        clippy::disallowed_methods,
        reason = "a destructor can't wait otherwise"
    )]
    fn drop(&mut self) {
        let pause = Duration::from_millis(20);
        let mut left = PATIENCE;
        while fs::remove_dir(&self.folder).is_err() && !left.is_zero() {
            left = left.saturating_sub(pause);
            sleep(pause);
        }
    }
}

/// Whether trials with a limit of memory are left out: where the machine grants no control groups, as it does to root
/// alone, and by `CGROUP=0`; `CGROUP=1` insists on them. Otherwise the reason.
pub(super) fn left_out() -> Option<String> {
    match env::var("CGROUP").as_deref() {
        Ok("0") => Some("CGROUP=0".to_owned()),
        Ok("1") => None,
        _ => Group::new(SHIPPED).err().map(|error| format!("{error:#}")),
    }
}
