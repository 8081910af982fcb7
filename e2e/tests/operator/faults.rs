//! The stand-in's faults; the real operator has none of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Bench;
use crate::canary::{Canary, encoded, until};

/// Puts faults in force while `body` runs, and takes them back whatever comes of it.
async fn with(bench: &Bench, faults: Value, body: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    bench.lab.faults(&faults).await?;
    let result = body().await;
    bench.lab.faults(&json!({})).await?;
    result
}

async fn prepared(bench: &Bench, word: &str) -> Result<Canary> {
    let canary = Canary::fixed(bench, word).await?;
    canary.put("one").await?;
    Ok(canary)
}

async fn silent(canary: &Canary, seconds: f64) -> Result<()> {
    sleep(Duration::from_secs_f64(seconds)).await;
    ensure!(canary.secret().await?.is_none(), "{:?}", canary.summary());
    Ok(())
}

pub(crate) async fn hang(bench: Bench) -> Result<()> {
    let canary = prepared(&bench, "hang").await?;
    with(&bench, json!({"hang": true}), async || {
        canary.create(canary.canonical_static("30s")).await?;
        silent(&canary, 2.0).await
    })
    .await?;
    canary.see_nonce("one", 3.0).await.map(drop)
}

pub(crate) async fn slow(bench: Bench) -> Result<()> {
    for place in ["read", "write"] {
        let canary = prepared(&bench, "slow").await?;
        with(
            &bench,
            json!({"slow": {"at": place, "seconds": 2.0}}),
            async || {
                let created = canary.create(canary.canonical_static("30s")).await?;
                let took = (canary.see_nonce("one", 8.0).await?.at - created).as_secs_f64();
                ensure!((2.0..4.0).contains(&took), "{place}: {took}");
                Ok(())
            },
        )
        .await?;
    }
    for (place, word) in [("status", "status"), ("finalizer", "finalizers")] {
        let canary = prepared(&bench, "slow").await?;
        with(
            &bench,
            json!({"slow": {"at": place, "seconds": 2.0}}),
            async || {
                canary.create(canary.canonical_static("30s")).await?;
                let secret = canary.see_nonce("one", 3.0).await?.at;
                let has = |s: &crate::canary::Sighting| {
                    s.what == "CR" && s.object.to_string().contains(&format!("\"{word}\""))
                };
                let took = (canary.see(place, 8.0, has).await?.at - secret).as_secs_f64();
                ensure!((1.8..4.0).contains(&took), "{place}: {took}");
                Ok(())
            },
        )
        .await?;
    }
    Ok(())
}

pub(crate) async fn ignore(bench: Bench) -> Result<()> {
    let (passed, other) = (
        prepared(&bench, "passed-over").await?,
        prepared(&bench, "other").await?,
    );
    with(&bench, json!({"ignore": ["passed-"]}), async || {
        passed.create(passed.canonical_static("30s")).await?;
        other.create(other.canonical_static("30s")).await?;
        other.see_nonce("one", 3.0).await?;
        silent(&passed, 2.0).await
    })
    .await?;
    passed.see_nonce("one", 3.0).await.map(drop)
}

pub(crate) async fn ignore_next(bench: Bench) -> Result<()> {
    let (passed, other) = (
        prepared(&bench, "next").await?,
        prepared(&bench, "next").await?,
    );
    with(&bench, json!({"ignoreNext": 1}), async || {
        passed.create(passed.canonical_static("30s")).await?;
        sleep(Duration::from_millis(500)).await;
        other.create(other.canonical_static("30s")).await?;
        other.see_nonce("one", 3.0).await?;
        silent(&passed, 1.0).await
    })
    .await?;
    passed.see_nonce("one", 3.0).await.map(drop)
}

pub(crate) async fn content(bench: Bench) -> Result<()> {
    let canary = prepared(&bench, "stale").await?;
    canary.create(canary.canonical_static("2s")).await?;
    canary.see_nonce("one", 3.0).await?;
    with(&bench, json!({"content": "old"}), async || {
        canary.put("two").await?;
        sleep(Duration::from_secs(4)).await;
        let held = canary
            .secret()
            .await?
            .and_then(|s| s.data)
            .unwrap_or_default();
        ensure!(held["nonce"].0 == b"one");
        Ok(())
    })
    .await?;
    canary.see_nonce("two", 4.0).await?;
    with(&bench, json!({"content": "wrong"}), async || {
        canary.see_nonce("wrong", 4.0).await.map(drop)
    })
    .await
}

pub(crate) async fn leak_leases(bench: Bench) -> Result<()> {
    let canary = Canary::dynamic(&bench, "leak").await?;
    canary.create(canary.canonical_dynamic("probe")).await?;
    canary.see_condition("SecretSynced", true, "", 5.0).await?;
    let id = canary.get().await?["status"]["secretLease"]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    with(&bench, json!({"leakLeases": true}), async || {
        sleep(Duration::from_millis(500)).await;
        canary.delete().await?;
        canary
            .see("its end", 5.0, |s| s.what == "CR" && s.verb == "DELETED")
            .await?;
        let live = canary.live_leases("probe").await?;
        ensure!(
            live.iter().any(|lease| id.ends_with(lease.as_str())),
            "{id} in {live:?}"
        );
        Ok(())
    })
    .await
}

pub(crate) async fn stick_finalizer(bench: Bench) -> Result<()> {
    let canary = prepared(&bench, "stuck").await?;
    canary.create(canary.canonical_static("30s")).await?;
    let finalized = |s: &crate::canary::Sighting| s.object["metadata"]["finalizers"].is_array();
    canary.see("the finalizer", 5.0, finalized).await?;
    with(&bench, json!({"stickFinalizer": true}), async || {
        canary.delete().await?;
        sleep(Duration::from_secs(2)).await;
        ensure!(canary.get().await?["metadata"]["deletionTimestamp"].is_string());
        Ok(())
    })
    .await?;
    canary
        .see("its end", 5.0, |s| s.what == "CR" && s.verb == "DELETED")
        .await
        .map(drop)
}

pub(crate) async fn rewrite(bench: Bench) -> Result<()> {
    let canary = prepared(&bench, "churn").await?;
    canary.create(canary.canonical_static("60s")).await?;
    canary.see_nonce("one", 3.0).await?;
    let dynamic = Canary::dynamic(&bench, "churn").await?;
    dynamic.create(dynamic.canonical_dynamic("probe")).await?;
    dynamic.see_condition("SecretSynced", true, "", 5.0).await?;
    with(&bench, json!({"rewriteEvery": "1s"}), async || {
        for canary in [&canary, &dynamic] {
            until("four writes", 10.0, async || {
                let writes = canary
                    .seen()
                    .into_iter()
                    .filter(|s| s.what == "Secret" && s.verb == "MODIFIED")
                    .count();
                Ok((writes >= 3).then_some(()))
            })
            .await?;
        }
        let held = canary
            .seen()
            .into_iter()
            .rfind(|s| s.what == "Secret")
            .map(|s| s.object["data"]["nonce"].clone());
        ensure!(held == Some(encoded("one")), "the content stays true");
        Ok(())
    })
    .await
}

pub(crate) async fn unknown_is_refused(bench: Bench) -> Result<()> {
    let Err(error) = bench.lab.faults(&json!({"hangs": true})).await else {
        anyhow::bail!("`hangs` was taken");
    };
    let text = format!("{error:#}");
    ensure!(
        text.contains("400")
            && text.contains("unknown field `hangs`")
            && text.contains("rewriteEvery"),
        "{text}"
    );
    Ok(())
}
