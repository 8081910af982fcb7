//! A benchmark of accuracy: each `create` latency beside the API server's own audit log, and
//! beside what a shell loop that polls would have said. Prints a table; asserts nothing.
#![expect(clippy::print_stdout, reason = "a command line's output")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::figures::quantile;
use e2e::lab::{KubeRequest, Lab, NAMESPACE, Options, Tools};
use tokio::process::Command;
use vso_prober::model::Step;
use vso_prober::model::run::Run;

/// Compares measured latencies with kube-apiserver's audit log.
#[derive(Parser)]
struct Cli {
    /// The prober's binary.
    #[arg(long, default_value = "target/release/vso-prober")]
    prober: PathBuf,
    /// How many creations each of the two measures.
    #[arg(long, default_value_t = 100)]
    count: u32,
}

/// What a team would script: apply, then ask every 50 ms until the Secret is there.
const SHELL_LOOP: &str = r#"
start=$(date +%s%N)
kubectl create -f "$1" >/dev/null || exit 1
until kubectl get secret "$2" >/dev/null 2>&1; do sleep 0.05; done
echo $(( $(date +%s%N) - start ))
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let lab = Lab::start_with(Options {
        say: Some(|line| println!("{line}")),
        ..Options::from_env()?
    })
    .await?;
    println!("measuring {} creations with the prober", cli.count);
    let prober = prober(&lab, &cli).await?;
    println!(
        "measuring {} creations with a shell loop around kubectl",
        cli.count
    );
    let shell = shell_loop(&lab, cli.count).await?;

    let audit = lab.kube_audit()?;
    let mut table = vec![row([
        "MEASURED BY",
        "N",
        "TRUTH P50",
        "ERROR P50",
        "ERROR P99",
        "ERROR MAX",
    ])];
    let mut errors = Vec::new();
    for (name, measured) in [("vso-prober", prober), ("shell loop, 50 ms", shell)] {
        let compared = compare(&audit, &measured)?;
        let truth: Vec<_> = compared.iter().map(|(truth, _)| *truth).collect();
        let error: Vec<_> = compared
            .iter()
            .map(|(truth, measured)| (measured - truth).abs())
            .collect();
        errors.push(quantile(&error, 0.5));
        let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        table.push(row([
            name,
            &compared.len().to_string(),
            &ms(quantile(&truth, 0.5)),
            &ms(quantile(&error, 0.5)),
            &ms(quantile(&error, 0.99)),
            &ms(quantile(&error, 1.0)),
        ]));
    }
    println!(
        "\ntruth: kube-apiserver's audit log, request received for the resource → Secret's create completed"
    );
    println!("error: what was measured less the truth, without its sign\n");
    for line in &table {
        println!("{line}");
    }
    if let [prober, shell] = errors[..] {
        println!(
            "\nthe shell loop's error is {:.0} times the prober's, at the median",
            shell / prober
        );
    }
    Ok(())
}

/// Runs the prober; by canary, the latency that it claims.
async fn prober(lab: &Lab, cli: &Cli) -> Result<BTreeMap<String, f64>> {
    let config = lab.folder().join("bench.yaml");
    let text = format!(
        "vault: {{address: '{}', auth: {{token: {{env: VAULT_TOKEN}}}}}}\n\
         kubernetes: {{namespace: {NAMESPACE}}}\n\
         probes:\n\
         - name: accuracy\n  \
           static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 1h}}\n  \
           steps: {{create: 5s, delete: 10s}}\n",
        lab.vault().address(),
    );
    std::fs::write(&config, text).context("tried to write the bench's configuration")?;
    let output = Command::new(&cli.prober)
        .args([
            "probe",
            "-o",
            "json",
            "--count",
            &cli.count.to_string(),
            "--config",
        ])
        .arg(&config)
        .env("KUBECONFIG", lab.prober_kubeconfig())
        .env("VAULT_TOKEN", lab.vault().token())
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("tried to run {}; build it first", cli.prober.display()))?;
    if !output.status.success() {
        bail!("the prober ended with {}", output.status);
    }
    let mut measured = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let run: Run = serde_json::from_str(line)?;
        let create = run.steps.iter().find(|step| step.step == Step::Create);
        let create = create.context("a run without `create`")?;
        let name = run.canary.name.as_str();
        measured.insert(name.to_owned(), create.latency_seconds);
    }
    Ok(measured)
}

/// Runs the shell loop; by resource, the time that it claims.
async fn shell_loop(lab: &Lab, count: u32) -> Result<BTreeMap<String, f64>> {
    lab.vault()
        .write(
            "kvv2/data/vso-prober/shell",
            serde_json::json!({ "data": { "nonce": "shell" } }),
        )
        .await?;
    let kubectl = Tools::find()?.kubectl()?;
    let folder = kubectl.parent().context("kubectl lies in a folder")?;
    let path = format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut measured = BTreeMap::new();
    for number in 0..count {
        let name = format!("shell-{number}");
        let manifest = manifest(lab.folder(), &name)?;
        let output = Command::new("sh")
            .args(["-c", SHELL_LOOP, "sh"])
            .arg(&manifest)
            .arg(&name)
            .env("PATH", &path)
            .env("KUBECONFIG", lab.prober_kubeconfig())
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let nanoseconds: f64 = text.trim().parse().with_context(|| {
            format!(
                "the shell loop failed: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        measured.insert(name, nanoseconds / 1e9);
    }
    Ok(measured)
}

/// Writes the resource for one turn of the shell loop, as most people write it but for what would
/// make the operator reconcile it twice.
fn manifest(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join("shell.json");
    let resource = serde_json::json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1",
        "kind": "VaultStaticSecret",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "vaultAuthRef": "probe", "mount": "kvv2", "type": "kv-v2", "path": "vso-prober/shell",
            "refreshAfter": "1h",
            "destination": { "name": name, "create": true, "overwrite": false, "transformation": {} },
        },
    });
    std::fs::write(&file, resource.to_string())?;
    Ok(file)
}

/// By name: the truth and what was measured, in seconds.
fn compare(audit: &[KubeRequest], measured: &BTreeMap<String, f64>) -> Result<Vec<(f64, f64)>> {
    let find = |resource: &str, name: &str| {
        audit.iter().find(|request| {
            request.verb == "create"
                && request.stage == "ResponseComplete"
                && request.object_ref.resource == resource
                && request.object_ref.name == name
        })
    };
    let compared = measured.iter().map(|(name, measured)| {
        let asked = find("vaultstaticsecrets", name)
            .with_context(|| format!("the audit log has no creation of {name}"))?;
        let made = find("secrets", name)
            .with_context(|| format!("the audit log has no Secret for {name}"))?;
        let truth = made
            .stage_timestamp
            .duration_since(asked.request_received_timestamp);
        Ok((truth.as_secs_f64(), *measured))
    });
    compared.collect()
}

fn row<const N: usize>(cells: [&str; N]) -> String {
    let [first, rest @ ..] = &cells[..] else {
        return String::new();
    };
    rest.iter().fold(format!("{first:<20}"), |line, cell| {
        format!("{line}{cell:>12}")
    })
}
