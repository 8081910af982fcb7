//! The demo: starts a lab of real parts, runs the prober in it, shows that nothing is left behind.
#![expect(clippy::print_stdout, reason = "a command line's output")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::lab::{Lab, NAMESPACE, Options};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use tokio::process::Command;
use vso_prober::operator::api::{VaultDynamicSecret, VaultStaticSecret};

/// Runs the static and the dynamic probe in a lab of real parts.
#[derive(Parser)]
struct Cli {
    /// The prober's binary.
    #[arg(long, default_value = "target/debug/vso-prober")]
    prober: PathBuf,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let options = Options {
        say: Some(|line| println!("{line}")),
        ..Options::from_env()?
    };
    let lab = Lab::start_with(options).await?;
    let config = config(&lab)?;
    println!("\n$ vso-prober probe --config demo.yaml\n");
    let status = Command::new(&cli.prober)
        .arg("probe")
        .arg("--config")
        .arg(&config)
        .env("KUBECONFIG", lab.prober_kubeconfig())
        .status()
        .await
        .with_context(|| format!("tried to run {}", cli.prober.display()))?;
    nothing_left(&lab).await?;
    println!("left behind: no resource, no Secret, no secret in Vault, no lease");
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}

/// Writes the demo's configuration beside the lab's logs.
fn config(lab: &Lab) -> Result<PathBuf> {
    let file = lab.folder().join("demo.yaml");
    let text = format!(
        "\
vault:
  address: {}
  auth:
    kubernetes: {{role: vso-prober, tokenFile: {}}}
kubernetes: {{namespace: {NAMESPACE}}}
probes:
- name: static-kv2
  static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 4s}}
  steps: {{create: 5s, update: 2s, tamper: 2s, recreate: 5s, delete: 10s}}
- name: static-kv1
  static: {{authRef: probe, mount: kvv1, type: kv-v1, path: vso-prober, refreshAfter: 4s}}
  steps: {{create: 5s, delete: 10s}}
- name: postgres
  dynamic: {{authRef: probe, mount: database, path: creds/probe}}
  steps: {{create: 5s, delete: 10s}}
",
        lab.vault().address(),
        lab.prober_token_file().display(),
    );
    std::fs::write(&file, text).with_context(|| write_error(&file))?;
    Ok(file)
}

fn write_error(file: &Path) -> String {
    format!(
        "tried to write the demo's configuration to {}",
        file.display()
    )
}

/// Fails if anything of the prober's is left.
async fn nothing_left(lab: &Lab) -> Result<()> {
    let all = ListParams::default().labels("vso-prober/instance");
    let client = lab.client();
    let static_secrets = Api::<VaultStaticSecret>::all(client.clone())
        .list(&all)
        .await?
        .items
        .len();
    let dynamic_secrets = Api::<VaultDynamicSecret>::all(client.clone())
        .list(&all)
        .await?
        .items
        .len();
    let secrets = Api::<Secret>::all(client).list(&all).await?.items.len();
    let mut in_vault = 0;
    for folder in [
        "kvv2/metadata/vso-prober/default",
        "kvv1/vso-prober/default",
    ] {
        in_vault += lab.vault().list(folder).await?.len();
    }
    let leases = lab
        .vault()
        .list("sys/leases/lookup/database/creds/probe")
        .await?
        .len();
    if static_secrets + dynamic_secrets + secrets + in_vault + leases > 0 {
        bail!(
            "left behind: {static_secrets} VaultStaticSecrets, {dynamic_secrets} VaultDynamicSecrets, {secrets} Secrets, {in_vault} secrets in Vault, {leases} leases"
        );
    }
    Ok(())
}
