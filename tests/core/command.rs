//! Tests of the command line, of what needs neither a cluster nor Vault.

use std::fs::{File, read_to_string};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use vso_prober::config::check::EXAMPLE;

fn prober(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vso-prober"));
    command.args(arguments).env_remove("VSO_PROBER_CONFIG");
    command
}

fn said(arguments: &[&str]) -> Output {
    let ran = prober(arguments).stdin(Stdio::null()).output();
    ran.expect("it can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it says of `input` as its stdin.
fn of_stdin(arguments: &[&str], input: &str) -> Output {
    let mut command = prober(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Whoever has read enough may close it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// A saved run that failed.
fn record() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records");
    let mut files: Vec<PathBuf> = folder
        .read_dir()
        .expect("the corpus")
        .map(|entry| entry.expect("a file").path())
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files.swap_remove(0).display().to_string()
}

fn example(folder: &Path) -> String {
    let file = folder.join("example.yaml");
    std::fs::write(&file, EXAMPLE).expect("written");
    file.display().to_string()
}

#[test]
fn the_output_has_a_format_and_may_go_to_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report").display().to_string();
    let record = record();
    for (format, begins) in [
        ("json", "{\"schema\""),
        ("junit", "<?xml"),
        ("table", "PROBE"),
    ] {
        let judged = said(&["judge", "--output", format, &record]);
        assert!(judged.status.code().is_some_and(|code| code != 2));
        assert!(text(&judged.stdout).starts_with(begins), "{judged:?}");
        let filed = said(&["judge", "-o", format, "--output-file", &file, &record]);
        assert_eq!(filed.status, judged.status);
        assert_eq!(text(&filed.stdout), "");
        let kept = read_to_string(&file).expect("the report");
        assert!(kept.starts_with(begins), "{kept}");
    }
    let refused = said(&["judge", "--format", "json", &record]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn a_configuration_may_come_by_stdin() {
    let good = of_stdin(&["config", "check", "-"], EXAMPLE);
    assert!(good.status.success(), "{good:?}");
    assert!(text(&good.stdout).starts_with("stdin: good, 3 probes\n"));
    let bad = of_stdin(&["config", "check", "-"], "probe: 1\n");
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("stdin:1:1"), "{bad:?}");
    let large = of_stdin(&["config", "check", "-"], &"#\n".repeat(1 << 20));
    assert_eq!(large.status.code(), Some(2));
    assert!(text(&large.stderr).contains("it is larger than 1 MB"));
}

#[test]
fn flags_go_before_the_configurations_kubernetes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = example(folder.path());
    let roles = said(&[
        "doctor",
        "--print-rbac",
        "-n",
        "elsewhere",
        "--config",
        &file,
    ]);
    assert!(roles.status.success(), "{roles:?}");
    let roles = text(&roles.stdout);
    assert!(roles.contains("namespace: elsewhere") && !roles.contains("namespace: vso-probe}"));
    let refused = said(&["doctor", "--print-rbac", "-n", "No_Name", "--config", &file]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("`--namespace`"),
        "{refused:?}"
    );
    // It is asked for, before the ServiceAccount of a Pod, and before KUBECONFIG.
    let none = folder.path().join("none").display().to_string();
    let unread = prober(&[
        "cleanup",
        "--dry-run",
        "--kubeconfig",
        &none,
        "--config",
        &file,
    ])
    .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    .env("KUBECONFIG", &file)
    .output()
    .expect("it can be run");
    let unread = text(&unread.stderr);
    assert!(
        unread.contains("`--kubeconfig`") && unread.contains(&none),
        "{unread}"
    );
}

#[test]
fn a_shell_can_complete_it() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = said(&["completions", shell]);
        assert!(script.status.success(), "{script:?}");
        let script = text(&script.stdout);
        assert!(script.contains("vso-prober") && script.contains("output-file"));
    }
}

#[test]
fn a_closed_stdout_is_no_error_and_a_full_one_is() {
    for arguments in [
        &["config", "schema"][..],
        &["config", "example"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = prober(arguments).stdout(writer).output().expect("run");
        assert!(closed.status.success(), "{arguments:?}: {closed:?}");
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux");
        let full = prober(arguments).stdout(full).output().expect("run");
        assert_eq!(full.status.code(), Some(3), "{arguments:?}: {full:?}");
    }
}
