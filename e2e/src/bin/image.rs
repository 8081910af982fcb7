//! The builder of the image, without a container engine: the binary, the shared libraries it needs, CA
//! certificates, and nothing else; an archive that `docker load`, `ctr images import` and `kind load` take.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use e2e::image::ENVIRONMENT;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The size that no image may have.
const LIMIT: u64 = 40 << 20;
/// Where the certificates are that this machine trusts: Debian's file, Fedora's.
const CERTIFICATES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];
/// No one, as in the base images of Google's distroless.
const USER: &str = "65532:65532";
const NAME: &str = "vso-prober";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes an image of the prober without a container engine.
#[derive(Debug, Parser)]
struct Args {
    /// The prober's binary; the image has it without its symbols.
    #[arg(default_value = "target/release/vso-prober")]
    binary: PathBuf,
    /// The archive to write: an OCI layout that is a `docker save` too.
    #[arg(long, default_value = "target/image/vso-prober.tar")]
    output: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir().context("could not make a temporary folder")?;
    let root = folder.path().join("root");
    fill(&root, &args.binary)?;
    let archive = Archive::new(folder.path().join("archive"))?;
    archive.write(&root)?;
    let written = folder.path().join("image.tar");
    tar(&archive.folder, &written)?;
    let size = fs::metadata(&written)?.len();
    ensure!(
        size <= LIMIT,
        "the image of `{}` has {size} bytes, which is more than the {LIMIT} allowed",
        args.binary.display()
    );
    let parent = args.output.parent().context("the output is a file")?;
    fs::create_dir_all(parent)?;
    fs::copy(&written, &args.output)
        .with_context(|| format!("could not write `{}`", args.output.display()))?;
    tell(&format!(
        "{}: {NAME}:dev, {NAME}:{VERSION}, {:.1} MB",
        args.output.display(),
        f64::from(u32::try_from(size)?) / 1e6
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was made is the outcome")]
fn tell(text: &str) {
    println!("{text}");
}

/// Lays out what the image holds.
fn fill(root: &Path, binary: &Path) -> Result<()> {
    let at = |path: &str| -> Result<PathBuf> {
        let target = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().context("a file is in a folder")?)?;
        Ok(target)
    };
    let program = at("/usr/bin/vso-prober")?;
    run(Command::new("strip").arg("-o").arg(&program).arg(binary))?;
    for library in libraries(&run(Command::new("ldd").arg(binary))?)? {
        fs::copy(library, at(library)?).with_context(|| format!("could not copy `{library}`"))?;
    }
    let found = CERTIFICATES.iter().find(|file| Path::new(file).is_file());
    let found =
        found.with_context(|| format!("found no CA certificates: none of {CERTIFICATES:?}"))?;
    fs::copy(found, at(CERTIFICATES[0])?)?;
    Ok(())
}

/// The files that `ldd` names: the libraries, and the loader.
fn libraries(told: &str) -> Result<Vec<&str>> {
    if let Some(missing) = told.lines().find(|line| line.ends_with("not found")) {
        bail!("a library is missing: {}", missing.trim());
    }
    let path = |line| str::split_whitespace(line).find(|word| word.starts_with('/'));
    Ok(told.lines().filter_map(path).collect())
}

/// An archive as it comes into being.
struct Archive {
    folder: PathBuf,
}

impl Archive {
    fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        Ok(Self { folder })
    }

    /// Writes all that describes an image of these files. The same commit gives the same image.
    fn write(&self, root: &Path) -> Result<()> {
        let layer = self.folder.with_extension("layer");
        tar(root, &layer)?;
        let whole = digest(&fs::read(&layer)?);
        run(Command::new("gzip")
            .args(["--no-name", "--best"])
            .arg(&layer))?;
        let layer = self.blob(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &fs::read(layer.with_extension("layer.gz"))?,
        )?;
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            configuration(&whole)?.to_string().as_bytes(),
        )?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer],
        });
        let manifest = self.blob(
            "application/vnd.oci.image.manifest.v1+json",
            manifest.to_string().as_bytes(),
        )?;
        let tags = ["dev", VERSION];
        let tagged = tags.map(|tag| {
            let mut tagged = manifest.clone();
            tagged["annotations"] = json!({
                "org.opencontainers.image.ref.name": tag,
                // The name in full, as containerd and Kubernetes write one that names no host.
                "io.containerd.image.name": format!("docker.io/library/{NAME}:{tag}"),
            });
            tagged
        });
        let path = |blob: &Value| {
            blob["digest"]
                .as_str()
                .map(|digest| format!("blobs/{}", digest.replace(':', "/")))
        };
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": tagged,
        });
        let docker = json!([{
            "Config": path(&config), "Layers": [path(&layer)],
            "RepoTags": tags.map(|tag| format!("{NAME}:{tag}")),
        }]);
        let files = [
            ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
            ("index.json", index),
            ("manifest.json", docker),
        ];
        for (name, content) in files {
            fs::write(self.folder.join(name), content.to_string())?;
        }
        Ok(())
    }

    /// Adds content, and has what refers to it.
    fn blob(&self, kind: &str, content: &[u8]) -> Result<Value> {
        let digest = digest(content);
        fs::write(self.folder.join("blobs/sha256").join(&digest), content)?;
        Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": content.len()}))
    }
}

fn configuration(layer: &str) -> Result<Value> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        run(command
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments))
    };
    let revision = git(&[
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ])?;
    let created = git(&["show", "--no-patch", "--format=%cI", "HEAD"])?;
    let environment = ENVIRONMENT.map(|(name, value)| format!("{name}={value}"));
    let environment: Vec<_> = std::iter::once("PATH=/usr/bin".to_owned())
        .chain(environment)
        .collect();
    Ok(json!({
        "created": created.trim(),
        "architecture": match ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
        "os": "linux",
        "config": {
            "User": USER,
            "Entrypoint": ["/usr/bin/vso-prober"],
            "Env": environment,
            "Labels": {
                "org.opencontainers.image.title": NAME,
                "org.opencontainers.image.version": VERSION,
                "org.opencontainers.image.revision": revision.trim(),
                "org.opencontainers.image.created": created.trim(),
                "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        "history": [{"created": created.trim(), "created_by": "make image"}],
    }))
}

fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let bytes = digest.iter();
    bytes.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Packs what is in a folder, always alike.
fn tar(folder: &Path, archive: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        names.push(entry?.file_name());
    }
    names.sort();
    let alike = [
        "--create",
        "--format=ustar",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
        "--mode=u=rwX,go=rX",
    ];
    let mut command = Command::new("tar");
    command.args(alike).arg("--file").arg(archive);
    run(command.arg("--directory").arg(folder).args(names)).map(drop)
}

/// What a command says, if all is well.
fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("could not run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} told no UTF-8"))
}
