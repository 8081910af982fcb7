//! The rights that `doctor` prints for set-ups that are not the shipped one: with them all is well, without any one `doctor` says so.

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Probe, Prober, Scene, Suite, eventually};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use vso_prober::model::Step;

use super::{Check, Lesser, PATIENCE, checks, lesser, log_in_as, missed_by, write_policy};
use crate::manifests::installed::documents;
use crate::static_roles::role;

/// The account that has what is printed, and nothing else.
const ACCOUNT: &str = "printed";
/// How `doctor` is asked.
const DOCTOR: &[&str] = &["doctor", "-o", "json"];
/// Where the VaultAuth is.
const ELSEWHERE: &str = "team-auths";

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("printed_rights").trial("of_inherited_auths_elsewhere_and_static_roles", each)
}

async fn each(scene: &Scene) -> Result<()> {
    let probes = set_up(scene).await?;
    let plain = scene.prober(probes);
    let admin = plain.clone().kubeconfig(scene.lab().kubeconfig());
    let printed = async |arguments: &[&str]| -> Result<String> {
        let arguments = [&["doctor"], arguments].concat();
        Ok(admin.run(&arguments).await?.exits(0)?.stdout)
    };
    let rights = printed(&["--print-rbac", "--service-account", ACCOUNT]).await?;
    let policy = printed(&["--print-policy"]).await?;
    let prober = install(scene, plain, &rights, &policy).await?;

    well(&prober).await?;
    let outcome = prober.probe(&["--probe", "printed-role"]).await?.exits(0)?;
    ensure!(outcome.only_run()?.leftovers.is_empty(), "{outcome}");
    if scene.real() {
        // The stand-in knows no VaultAuthGlobal.
        prober.probe(&["--probe", "inherits"]).await?.exits(0)?;
    }

    let mut tried = 0;
    for document in documents(&rights)? {
        match document["kind"].as_str() {
            Some("Role") => {
                let role = serde_json::from_value(document)?;
                tried += each_verb(scene, &prober, &role).await?;
            }
            Some("ClusterRole") => anyhow::bail!("a right in the whole cluster: {document}"),
            _ => {}
        }
    }
    for Lesser { path, gone, rest } in lesser(&policy)? {
        if path == "sys/capabilities-self" {
            continue;
        }
        write_policy(scene, ACCOUNT, &rest).await?;
        missed(&prober, "vault-policy", &[path, gone]).await?;
        write_policy(scene, ACCOUNT, &policy).await?;
        tried += 1;
    }
    well(&prober).await?;
    let places = [NAMESPACE, OPERATOR_NAMESPACE, ELSEWHERE];
    ensure!(
        places.iter().all(|place| rights.contains(place)),
        "{rights}"
    );
    ensure!(tried > 25, "{tried} tried: {rights} {policy}");
    plain_again(scene).await
}

/// A VaultAuth in a namespace of its own, that inherits from a VaultAuthGlobal; and a static role.
async fn set_up(scene: &Scene) -> Result<[Probe; 2]> {
    scene
        .shell(&format!("kubectl create namespace {ELSEWHERE}"))
        .await?;
    scene.apply(global()).await?;
    let spec = json!({
        "vaultConnectionRef": null, "method": null, "mount": null,
        "vaultAuthGlobalRef": {"name": "shared", "namespace": OPERATOR_NAMESPACE},
        "kubernetes": {"serviceAccount": null, "audiences": null},
    });
    scene.vault_auth(ELSEWHERE, "taking", spec).await?;
    let inherits = Probe::kv2("inherits").steps(&[Step::Create, Step::Delete]);
    let of_role = role(scene, "printed-role", 600).await?;
    let of_role = of_role.steps(&[Step::Create, Step::Delete]);
    Ok([inherits.auth(&format!("{ELSEWHERE}/taking")), of_role])
}

fn global() -> Value {
    json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultAuthGlobal",
        "metadata": {"name": "shared", "namespace": OPERATOR_NAMESPACE},
        "spec": {
            "vaultConnectionRef": format!("{NAMESPACE}/probe"), "allowedNamespaces": ["*"],
            "defaultAuthMethod": "kubernetes",
            "kubernetes": {"mount": "kubernetes", "serviceAccount": "probe", "audiences": ["vault"]},
        },
    })
}

/// The prober as an account that has what is printed.
async fn install(scene: &Scene, prober: Prober, rights: &str, policy: &str) -> Result<Prober> {
    let create = format!("kubectl --namespace {NAMESPACE} create serviceaccount {ACCOUNT}");
    scene.shell(&create).await?;
    let file = scene.file(rights)?;
    scene
        .shell(&format!("kubectl apply --filename '{}'", file.display()))
        .await?;
    write_policy(scene, ACCOUNT, policy).await?;
    let [kubeconfig, token] = log_in_as(scene, ACCOUNT).await?;
    let auth = json!({"kubernetes": {"mount": "kubernetes", "role": ACCOUNT, "tokenFile": token}});
    Ok(prober.kubeconfig(&kubeconfig).auth(auth))
}

async fn plain_again(scene: &Scene) -> Result<()> {
    scene
        .shell(&format!(
            "kubectl delete namespace {ELSEWHERE} --wait=false"
        ))
        .await?;
    scene.remove(global()).await
}

async fn examined(prober: &Prober) -> Result<(i32, Vec<Check>)> {
    checks(prober, DOCTOR).await
}

async fn well(prober: &Prober) -> Result<()> {
    let last = std::sync::Mutex::new(String::new());
    let found = eventually("health", PATIENCE, async || {
        let (code, checks) = examined(prober).await?;
        let ill = checks
            .iter()
            .find(|check| !check.is_well() && check.result != "skipped");
        if let (Some(ill), Ok(mut last)) = (ill, last.lock()) {
            *last = format!("{ill:?}");
        }
        Ok((code == 0 && ill.is_none()).then_some(()))
    });
    found
        .await
        .with_context(|| last.into_inner().unwrap_or_default())
}

async fn missed(prober: &Prober, topic: &str, words: &[&str]) -> Result<()> {
    missed_by(prober, DOCTOR, topic, words).await
}

/// Takes each verb of a role away in its turn. Returns how many there are.
async fn each_verb(scene: &Scene, prober: &Prober, role: &Role) -> Result<usize> {
    let namespace = role.namespace().context("a Role has a namespace")?;
    let roles: Api<Role> = Api::namespaced(scene.lab().client(), &namespace);
    let (name, whole) = (role.name_any(), role.rules.clone().unwrap_or_default());
    let replace = async |rules: &[PolicyRule]| {
        let patch = Patch::Merge(json!({"rules": rules}));
        roles.patch(&name, &PatchParams::default(), &patch).await
    };
    let mut tried = 0;
    for (place, rule) in whole.iter().enumerate() {
        for verb in &rule.verbs {
            let mut less = whole.clone();
            less[place].verbs.retain(|other| other != verb);
            if less[place].verbs.is_empty() {
                less.remove(place);
            }
            replace(&less).await?;
            let resource = super::resources(rule).join("");
            missed(prober, "rbac", &[&resource, verb])
                .await
                .with_context(|| format!("without {verb} on {resource} in {namespace}"))?;
            tried += 1;
        }
    }
    replace(&whole).await?;
    well(prober).await?;
    Ok(tried)
}
