//! Trials of audit lines that come by HTTP: what is answered with 204 survives a crash, and nobody sends without a certificate where
//! one is asked for.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::free_port;
use e2e::scenario::{ATTACKER, Probe, Prober, Scene, Suite, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::audit_impostor::findings;

/// Where the decoy is, as Vault's log has it.
const DECOY: &str = "kvv2/data/vso-prober/bait";
/// How often the judge is killed.
const KILLS: u64 = 10;

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("audit_http")
        .trial("killed_after_204", killed_after_204)
        .trial("mutual_tls", mutual_tls)
}

/// A judge of lines that are sent to it at `listen`.
fn judge(scene: &Scene, listen: &str, tls: &Value) -> Prober {
    let prober = scene.prober([Probe::kv2("sent")]);
    let state = scene.path("state");
    let prober = prober.kubeconfig(scene.lab().kubeconfig());
    prober.edit(|config| {
        config["audit"] = json!({
            "state": state, "sources": [{"name": "vault-0", "http": {}}],
            "decoys": [{"mount": "kvv2", "path": "vso-prober/bait"}],
            "server": {"listen": listen, "tls": tls},
        });
    })
}

/// The lines in Vault's log of the attacker's requests for the decoy, which the prober wrote, from this line on.
fn lines(scene: &Scene, from: usize) -> Result<(String, usize)> {
    let log = fs::read_to_string(scene.lab().vault_audit_file())?;
    let attacker = format!("\"{ATTACKER}\"");
    let of = |line: &&str| line.contains(DECOY) && line.contains(&attacker);
    let new = log.lines().skip(from).filter(of);
    Ok((new.collect::<Vec<_>>().join("\n"), log.lines().count()))
}

/// The judge has a line on disk before it says so.
async fn killed_after_204(scene: &Scene) -> Result<()> {
    let listen = format!("127.0.0.1:{}", free_port()?);
    let prober = judge(scene, &listen, &Value::Null);
    let intruder = scene.lab().vault().from(ATTACKER)?.with_token("nothing");
    let client = Client::builder().build()?;
    let url = format!("http://{listen}/api/v1/audit/vault-0");
    let mut seen = lines(scene, 0)?.1;
    for number in 1..=KILLS {
        let server = prober.serve(&["--only", "audit"]).await?;
        ensure!(intruder.read(DECOY).await.is_err(), "the token is nobody's");
        let (sent, read) = eventually("lines", Duration::from_secs(5), async || {
            let (sent, read) = lines(scene, seen)?;
            Ok((sent.lines().count() == 2).then_some((sent, read)))
        })
        .await?;
        seen = read;
        let answer = client.post(&url).body(sent).send().await?;
        ensure!(answer.status() == StatusCode::NO_CONTENT, "{answer:?}");
        server.signal(Signal::KILL)?;
        server.ended().await?;
        let server = prober.serve(&["--only", "audit"]).await?;
        let count = eventually("finding", Duration::from_secs(20), async || {
            let found = findings(&server, "?rule=honey&state=confirmed").await;
            let found = found.unwrap_or_default();
            let counts = found.iter().filter_map(|found| found["count"].as_u64());
            let count: u64 = counts.sum();
            Ok((count >= number).then_some(count))
        })
        .await?;
        ensure!(count == number, "{count} of {number} are found");
        server.stop().await?;
    }
    forget_decoy(scene).await
}

async fn forget_decoy(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let decoy = DECOY.replace("/data/", "/metadata/");
    vault.delete(&decoy).await.map(drop)
}

/// A certificate for 127.0.0.1 and its key, in one PEM, by an authority.
fn signed(authority: &CertifiedIssuer<'_, KeyPair>) -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    let certificate = certificate.signed_by(&key, authority)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(
        authority,
        KeyPair::generate()?,
    )?)
}

/// Whoever has no certificate of the right authority is not let in.
async fn mutual_tls(scene: &Scene) -> Result<()> {
    let (ours, others) = (authority()?, authority()?);
    let (certificate, key) = signed(&ours)?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let tls = json!({
        "certFile": scene.file(&certificate)?, "keyFile": scene.file(&key)?, "clientCaFile": scene.file(&ours.pem())?,
    });
    let server = judge(scene, &listen, &tls)
        .serve(&["--only", "audit"])
        .await?;
    let url = format!("https://{listen}/api/v1/audit/vault-0");
    let send = async |identity: Option<(String, String)>| {
        let root = Certificate::from_pem(ours.pem().as_bytes())?;
        let mut client = Client::builder().add_root_certificate(root);
        if let Some((certificate, key)) = identity {
            let identity = Identity::from_pem((certificate + &key).as_bytes());
            client = client.identity(identity?);
        }
        let sent = client.build()?.post(&url).body("{}\n").send().await;
        anyhow::Ok(sent.map(|answer| answer.status()))
    };
    let good = send(Some(signed(&ours)?)).await?;
    let good = good.context("a sender with a certificate is let in")?;
    ensure!(good == StatusCode::NO_CONTENT, "{good}");
    let none = send(None).await?;
    ensure!(
        none.is_err(),
        "a sender without a certificate is let in: {none:?}"
    );
    let strange = send(Some(signed(&others)?)).await?;
    ensure!(
        strange.is_err(),
        "a stranger's certificate is let in: {strange:?}"
    );
    server.stop().await?;
    forget_decoy(scene).await
}
