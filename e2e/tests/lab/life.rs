//! Tests of the lab itself: it works, it says what is wrong, and it leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::lab::{Lab, Options, PartSummary, Place, Summary};
use futures::try_join;
use tokio::time::{interval, timeout};

/// The processes that show a lab's folder in their environment or in their arguments.
fn processes(folder: &Path) -> Vec<String> {
    let needle = folder.display().to_string();
    let shows = |file: PathBuf| {
        let bytes = fs::read(file).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&needle)
    };
    let all = fs::read_dir("/proc")
        .expect("this is Linux")
        .flatten()
        .map(|entry| entry.path());
    all.filter(|process| shows(process.join("environ")) || shows(process.join("cmdline")))
        .map(|process| process.display().to_string())
        .collect()
}

async fn assert_gone(summary: &Summary) {
    // On a busy machine the kernel takes a moment to end what was killed.
    let mut tick = interval(Duration::from_millis(100));
    for _ in 0..100 {
        tick.tick().await;
        let lives = summary.parts.iter().any(PartSummary::alive);
        if !lives && processes(&summary.folder).is_empty() {
            break;
        }
    }
    assert_eq!(processes(&summary.folder), [""; 0]);
    assert!(summary.parts.iter().all(|part| !part.alive()));
    assert!(!summary.folder.exists(), "{}", summary.folder.display());
}

#[tokio::test]
async fn two_labs_run_side_by_side_and_leave_nothing() {
    let (one, two) = try_join!(Lab::start(), Lab::start()).expect("two labs start");
    let (first, second) = try_join!(one.summary(), two.summary()).expect("they run");
    for part in &first.parts {
        first
            .health(part)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:#}", part.part));
        assert!(part.address.is_none() || second.parts.iter().all(|it| it.address != part.address));
    }
    assert!(
        processes(&first.folder).len() > first.parts.len(),
        "the search finds what runs"
    );

    drop(one);
    assert_gone(&first).await;
    for part in &second.parts {
        second
            .health(part)
            .await
            .unwrap_or_else(|error| panic!("{}: {error:#}", part.part));
    }
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let _two = two;
        panic!("as a test does that fails");
    }));
    assert!(failed.is_err());
    assert_eq!(processes(&second.folder), [""; 0]);
    assert!(
        second.folder.join("vault.log").exists(),
        "the logs are kept"
    );
    fs::remove_dir_all(&second.folder).expect("they can be removed");
}

/// Starts a lab in a process of its own.
async fn owner(dir: &Path) -> (Child, Summary) {
    let place = Place::new(dir.join("place"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["up", "--foreground", "--dir"])
        .arg(place.dir())
        .stdout(Stdio::null())
        .spawn()
        .expect("the lab's command starts");
    let mut tick = interval(Duration::from_millis(50));
    while !place.is_ready() {
        tick.tick().await;
        assert_eq!(
            child.try_wait().expect("a child can be asked"),
            None,
            "it ended, see above"
        );
    }
    let summary = place.running().expect("it says how");
    (child, summary)
}

async fn ends_with_its_owner(signal: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut child, summary) = owner(dir.path()).await;
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.expect("`kill` runs").success());
    child.wait().expect("the owner ends");
    let mut tick = interval(Duration::from_millis(50));
    let gone = async {
        while !processes(&summary.folder).is_empty() {
            tick.tick().await;
        }
    };
    timeout(Duration::from_secs(10), gone)
        .await
        .expect("nothing is left within 10 s");
    assert_gone(&summary).await;
}

#[tokio::test]
async fn ctrl_c_leaves_nothing() {
    ends_with_its_owner("INT").await;
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() {
    ends_with_its_owner("KILL").await;
}

#[tokio::test]
async fn up_outlives_its_command_until_down() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let place = Place::new(dir.path().join("place"));
    let lab = |action: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        let output = command
            .arg(action)
            .arg("--dir")
            .arg(place.dir())
            .output()
            .expect("it runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert!(!lab("status").0, "nothing runs yet");
    let (up, said) = lab("up");
    assert!(up && said.contains("export VAULT_ADDR="), "{said}");
    let summary = place.running().expect("it runs");
    let (well, table) = lab("status");
    assert!(well && table.contains("kube-apiserver"), "{table}");
    assert!(lab("down").0);
    assert_gone(&summary).await;
    assert!(!place.dir().exists());
}

#[tokio::test]
async fn a_part_that_fails_says_why() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let vault = dir.path().join("vault");
    fs::write(&vault, "#!/bin/sh\necho the barrel is empty >&2\nexit 7\n").expect("a script");
    fs::set_permissions(&vault, fs::Permissions::from_mode(0o755)).expect("one that runs");
    let options = Options {
        vault: Some(vault),
        ..Options::from_env().expect("good variables")
    };
    let error = Lab::start_with(options)
        .await
        .expect_err("that is no Vault");
    let said = format!("{error:#}");
    for part in [
        "vault (pid ",
        "exit status: 7",
        "the barrel is empty",
        "vault.log",
    ] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    let folder = said.split('`').nth(1).expect("it says where the logs are");
    assert_eq!(processes(Path::new(folder)), [""; 0]);
    assert!(
        Path::new(folder).join("vault.log").exists(),
        "the logs are kept"
    );
    fs::remove_dir_all(folder).expect("they can be removed");
}
