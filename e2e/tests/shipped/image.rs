//! Tests of the image that is built without a container engine: it has all that is needed, and no more.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const LIMIT: u64 = 40_000_000;

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn json(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

/// Follows the digests down, as whoever takes the image does.
#[test]
fn holds_what_the_prober_needs_and_no_more() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("out/image.tar");
    // That of this build; `make image` takes one for release, which is smaller.
    let program = Path::new(env!("CARGO_BIN_EXE_image"));
    let binary = program.with_file_name("vso-prober");
    let make = || {
        run(Command::new(program)
            .arg(&binary)
            .arg("--output")
            .arg(&archive))
    };
    make()?;
    ensure!(fs::metadata(&archive)?.len() <= LIMIT, "it is too large");
    let first = fs::read(&archive)?;
    make()?;
    ensure!(
        fs::read(&archive)? == first,
        "the same commit gave another image"
    );

    let layout = folder.path().join("layout");
    fs::create_dir(&layout)?;
    run(Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&layout))?;
    let blob = |described: &Value| -> Result<_> {
        let digest = described["digest"].as_str().context("a digest")?;
        let file = layout.join("blobs").join(digest.replace(':', "/"));
        let content = fs::read(&file)?;
        let bytes = Sha256::digest(&content);
        let hex = bytes
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        ensure!(digest == format!("sha256:{hex}") && described["size"] == content.len());
        Ok(file)
    };
    let index = json(&layout.join("index.json"))?;
    let tags = ["dev", env!("CARGO_PKG_VERSION")];
    for (place, tag) in tags.into_iter().enumerate() {
        let name = &index["manifests"][place]["annotations"]["io.containerd.image.name"];
        ensure!(
            name.as_str()
                .is_some_and(|name| name.ends_with(&format!("/vso-prober:{tag}"))),
            "{name}"
        );
    }
    let manifest = json(&blob(&index["manifests"][0])?)?;
    let config_file = blob(&manifest["config"])?;
    let layer = blob(&manifest["layers"][0])?;

    // The form that docker reads names the same.
    let docker = json(&layout.join("manifest.json"))?;
    ensure!(layout.join(docker[0]["Config"].as_str().context("a path")?) == config_file);
    ensure!(layout.join(docker[0]["Layers"][0].as_str().context("a path")?) == layer);
    ensure!(
        docker[0]["RepoTags"] == serde_json::json!(tags.map(|tag| format!("vso-prober:{tag}")))
    );

    let config = json(&config_file)?;
    let head =
        run(Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"]))?;
    let labels = &config["config"]["Labels"];
    let revision = labels["org.opencontainers.image.revision"]
        .as_str()
        .context("a revision")?;
    ensure!(
        revision.trim_end_matches("-dirty") == head.trim(),
        "{revision}"
    );
    ensure!(labels["org.opencontainers.image.version"] == env!("CARGO_PKG_VERSION"));
    ensure!(config["config"]["User"] == "65532:65532");

    let root = folder.path().join("root");
    fs::create_dir(&root)?;
    run(Command::new("tar")
        .arg("-xzf")
        .arg(&layer)
        .arg("-C")
        .arg(&root))?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let found = run(Command::new("find")
        .args([".", "-type", "f"])
        .current_dir(&root))?;
    let needed = |file: &str| {
        file.ends_with("/vso-prober")
            || file.ends_with("/ca-certificates.crt")
            || file.contains(".so")
    };
    ensure!(
        found.lines().all(needed) && found.lines().count() <= 8,
        "{found}"
    );
    runs(&root, &config)
}

/// The program runs on what is in the image alone. To try it takes a right that only root has.
fn runs(root: &Path, config: &Value) -> Result<()> {
    let id = run(Command::new("id").arg("-u"))?;
    if id.trim() != "0" {
        return Ok(());
    }
    let program = config["config"]["Entrypoint"][0]
        .as_str()
        .context("an entrypoint")?;
    let said = run(Command::new("chroot")
        .arg("--userspec=65532:65532")
        .arg(root)
        .args([program, "--version"]))?;
    ensure!(
        said == format!("vso-prober {}\n", env!("CARGO_PKG_VERSION")),
        "{said}"
    );
    Ok(())
}
