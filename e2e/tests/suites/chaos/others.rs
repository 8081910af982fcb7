//! The deeds of others in a storm: on the canaries' Secrets, and on the prober in Vault.

use anyhow::{Result, bail};
use e2e::lab::PROBER;
use e2e::scenario::Scene;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use vso_prober::canary::INSTANCE_LABEL;

/// A quota on the requests for secrets.
const QUOTA: &str = "sys/quotas/rate-limit/storm";
/// What others hold Secrets with.
const FINALIZER: &str = "example.com/storm";

/// Annotates every canary's Secret.
pub(super) async fn annotate(scene: &Scene) -> Result<()> {
    each(
        scene,
        &json!({"metadata": {"annotations": {"example.com/storm": "1"}}}),
    )
    .await
}

/// Holds every canary's Secret by a finalizer, or lets all go.
pub(super) async fn hold(scene: &Scene, held: bool) -> Result<()> {
    let finalizers = if held {
        json!([FINALIZER])
    } else {
        Value::Null
    };
    each(scene, &json!({"metadata": {"finalizers": finalizers}})).await
}

/// Deletes every canary's Secret.
pub(super) async fn delete(scene: &Scene) -> Result<()> {
    let (secrets, params) = (scene.secrets(), DeleteParams::default());
    for name in names(scene).await? {
        unless_gone(secrets.delete(&name, &params).await)?;
    }
    Ok(())
}

/// Revokes every token that the prober has logged in for.
pub(super) async fn revoke_tokens(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    for accessor in vault.list("auth/token/accessors").await? {
        let asked = json!({"accessor": accessor});
        // It may have expired meanwhile.
        let Ok(token) = vault
            .write("auth/token/lookup-accessor", asked.clone())
            .await
        else {
            continue;
        };
        if token["data"]["meta"]["role"] == PROBER {
            vault.write("auth/token/revoke-accessor", asked).await?;
        }
    }
    Ok(())
}

/// Lets one request a minute through to the secrets.
pub(super) async fn limit(scene: &Scene) -> Result<()> {
    let quota = json!({"path": "kvv2", "rate": 0.02, "interval": "60s"});
    scene.lab().vault().write(QUOTA, quota).await.map(drop)
}

/// Lets all through again.
pub(super) async fn unlimit(scene: &Scene) -> Result<()> {
    scene.lab().vault().delete(QUOTA).await.map(drop)
}

async fn each(scene: &Scene, patch: &Value) -> Result<()> {
    let (secrets, params) = (scene.secrets(), PatchParams::default());
    let patch = Patch::Merge(patch);
    for name in names(scene).await? {
        unless_gone(secrets.patch(&name, &params, &patch).await)?;
    }
    Ok(())
}

async fn names(scene: &Scene) -> Result<Vec<String>> {
    let canaries = ListParams::default().labels(INSTANCE_LABEL);
    let list = scene.secrets().list_metadata(&canaries).await?;
    Ok(list.iter().map(ResourceExt::name_any).collect())
}

/// A canary may go meanwhile.
fn unless_gone<T>(done: kube::Result<T>) -> Result<()> {
    match done {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => bail!(error),
        Ok(_) => Ok(()),
    }
}
