//! References as the operator resolves them: VaultAuth, VaultAuthGlobal, VaultConnection, and what a login relies on.

use anyhow::{Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Outcome, Probe, Scene};
use serde_json::{Value, json};
use vso_prober::model::Step;

/// A VaultAuthGlobal of the operator's namespace, as one team keeps it for all.
fn global(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultAuthGlobal",
        "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE}, "spec": spec,
    })
}

/// A VaultAuth that leaves the rest to that one.
async fn taking(scene: &Scene, name: &str, global: &str) -> Result<()> {
    let spec = json!({
        "vaultConnectionRef": null, "method": null, "mount": null,
        "vaultAuthGlobalRef": {"name": global, "namespace": OPERATOR_NAMESPACE},
        "kubernetes": {"serviceAccount": null, "audiences": null},
    });
    scene.vault_auth(NAMESPACE, name, spec).await
}

/// What `doctor` says of a probe by this VaultAuth, as admin, who may look at everything.
async fn doctor(scene: &Scene, auth: &str, code: i32) -> Result<Outcome> {
    let probe = Probe::kv2("referring").steps(&[Step::Create, Step::Delete]);
    let prober = scene.prober([probe.auth(auth)]);
    let prober = prober.kubeconfig(scene.lab().kubeconfig());
    prober.run(&["doctor"]).await?.exits(code)
}

fn says(told: &Outcome, words: &[&str]) -> Result<()> {
    for words in words {
        ensure!(told.stdout.contains(words), "{words}: {told}");
    }
    Ok(())
}

/// A VaultConnection, a mount and a ServiceAccount that only the VaultAuthGlobal names.
pub(super) async fn inherited(scene: &Scene) -> Result<()> {
    let spec = json!({
        "vaultConnectionRef": format!("{NAMESPACE}/probe"), "allowedNamespaces": ["*"],
        "defaultAuthMethod": "kubernetes",
        "kubernetes": {"mount": "kubernetes", "serviceAccount": "probe", "audiences": ["vault"]},
    });
    scene.apply(global("shared", &spec)).await?;
    taking(scene, "taking", "shared").await?;
    let told = doctor(scene, "taking", 0).await?;
    says(
        &told,
        &[
            &format!("{OPERATOR_NAMESPACE}/shared"),
            "goes with the VaultAuth",
        ],
    )?;
    ensure!(
        !told
            .stdout
            .contains(&format!("{OPERATOR_NAMESPACE}/default")),
        "{told}"
    );

    if scene.real() {
        // The stand-in knows no VaultAuthGlobal.
        let probe = Probe::kv2("taking").steps(&[Step::Create, Step::Delete]);
        let prober = scene.prober([probe.auth("taking")]);
        prober.probe(&[]).await?.exits(0)?;
    }

    taking(scene, "taking-none", "absent").await?;
    let told = doctor(scene, "taking-none", 1).await?;
    says(
        &told,
        &[
            &format!("VaultAuthGlobal `{OPERATOR_NAMESPACE}/absent`"),
            "does not exist",
        ],
    )?;

    let mut closed = spec.clone();
    closed["allowedNamespaces"] = json!(["other"]);
    scene.apply(global("closed", &closed)).await?;
    taking(scene, "taking-closed", "closed").await?;
    let told = doctor(scene, "taking-closed", 1).await?;
    says(&told, &["kubectl patch vaultauthglobal closed"])?;

    let mut strange = spec;
    strange["kubernetes"]["serviceAccount"] = json!("nobody");
    scene.apply(global("strange", &strange)).await?;
    taking(scene, "taking-strange", "strange").await?;
    let told = doctor(scene, "taking-strange", 1).await?;
    says(&told, &["kubectl create serviceaccount nobody"])?;

    scene
        .apply(global("empty", &json!({"allowedNamespaces": ["*"]})))
        .await?;
    taking(scene, "taking-empty", "empty").await?;
    let told = doctor(scene, "taking-empty", 1).await?;
    says(
        &told,
        &["neither the VaultAuth nor its VaultAuthGlobal has an auth method"],
    )?;
    for name in ["shared", "closed", "strange", "empty"] {
        scene.remove(global(name, &json!({}))).await?;
    }
    Ok(())
}

/// A Secret of `appRole`'s is looked for beside the canaries.
pub(super) async fn app_role(scene: &Scene) -> Result<()> {
    let spec = json!({
        "method": "appRole", "mount": "approle", "kubernetes": null,
        "appRole": {"roleId": "r", "secretRef": "approle"},
    });
    scene
        .vault_auth(OPERATOR_NAMESPACE, "by-role", spec)
        .await?;
    let auth = format!("{OPERATOR_NAMESPACE}/by-role");
    let told = doctor(scene, &auth, 1).await?;
    says(
        &told,
        &[
            &format!("Secret `{NAMESPACE}/approle`"),
            "wherever the VaultAuth is",
            "under `id`",
        ],
    )
}

/// The operator and the prober in two namespaces of Vault's.
pub(super) async fn apart(scene: &Scene) -> Result<()> {
    scene
        .vault_auth(NAMESPACE, "elsewhere", json!({"namespace": "team-a"}))
        .await?;
    let told = doctor(scene, "elsewhere", 1).await?;
    says(
        &told,
        &[
            "Vault's namespace `team-a`",
            "the root namespace of Vault",
            "`referring`",
        ],
    )
}

/// A VaultConnection in a namespace that the configuration does not tell of: whoever may not look is told what to grant.
pub(super) async fn unseen(scene: &Scene) -> Result<()> {
    let spec = json!({"vaultConnectionRef": "default/hidden"});
    scene.vault_auth(NAMESPACE, "far", spec).await?;
    let probe = Probe::kv2("far")
        .steps(&[Step::Create, Step::Delete])
        .auth("far");
    let told = scene.prober([probe]).run(&["doctor"]).await?.exits(0)?;
    says(
        &told,
        &["`vaultconnections`", "in `default`", "RoleBinding"],
    )
}
