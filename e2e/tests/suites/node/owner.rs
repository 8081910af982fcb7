//! A second node beside the first, whose owner is killed: nothing of it is left, and the first does not mind.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::Place;
use e2e::scenario::{Scene, eventually};

const GROUPS: &str = "/sys/fs/cgroup";

/// The control groups of this name, with one hierarchy or one a controller.
fn groups(name: &str) -> Result<Vec<PathBuf>> {
    let mut groups = vec![Path::new(GROUPS).join(name)];
    for entry in fs::read_dir(GROUPS)? {
        groups.push(entry?.path().join(name));
    }
    groups.retain(|group| group.is_dir());
    Ok(groups)
}

/// The processes in a group and those below.
fn contained(group: &Path) -> Result<BTreeSet<PathBuf>> {
    let pids = fs::read_to_string(group.join("cgroup.procs"))?;
    let mut found: BTreeSet<_> = pids
        .lines()
        .map(|pid| Path::new("/proc").join(pid))
        .collect();
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(contained(&path)?);
        }
    }
    Ok(found)
}

fn interfaces() -> Result<BTreeSet<OsString>> {
    let entries = fs::read_dir("/sys/class/net")?;
    Ok(entries
        .map(|entry| Ok(entry?.file_name()))
        .collect::<std::io::Result<_>>()?)
}

pub(crate) async fn killed(scene: &Scene) -> Result<()> {
    let before = interfaces()?;
    let place = Place::new(scene.path("lab"));
    let up = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["up", "--node", "--dir"])
        .arg(place.dir())
        .output()?;
    ensure!(up.status.success(), "{up:?}");
    let summary = place.running()?;
    let name = summary.folder.file_name().context("a folder has a name")?;
    let name = name.to_string_lossy().into_owned();
    let kubectl = format!(
        "kubectl --kubeconfig '{}' --namespace default",
        summary.folder.join("kubeconfig").display()
    );
    let pod = format!(
        "{kubectl} run held --image lab.example/pause:1 --image-pull-policy Never\n\
         {kubectl} wait --for condition=Ready pod/held --timeout 60s"
    );
    let held = scene.shell(&pod).await;
    let mut pids = BTreeSet::new();
    for group in groups(&name)? {
        pids.extend(contained(&group)?);
    }
    let killed = Command::new("kill")
        .args(["-s", "KILL", &summary.owner.to_string()])
        .status()?;
    held?;
    ensure!(
        pids.len() == 2,
        "a container and what holds its Pod: {pids:?}"
    );
    ensure!(killed.success());
    eventually("end of it all", Duration::from_secs(20), async || {
        let gone = !summary.folder.exists()
            && groups(&name)?.is_empty()
            && pids.iter().all(|pid| !pid.exists())
            && summary.parts.iter().all(|part| !part.alive());
        Ok(gone.then_some(()))
    })
    .await?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    ensure!(!mounts.contains(&name), "{mounts}");
    ensure!(
        interfaces()? == before,
        "{before:?} and now {:?}",
        interfaces()?
    );
    place.forget();
    scene.lab().check().await?;
    scene
        .shell("kubectl wait --for condition=Ready node --all --timeout 20s")
        .await
        .map(drop)
}
