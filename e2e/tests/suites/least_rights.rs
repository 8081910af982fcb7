//! Trials of the least rights: with the shipped rights everything works, without any one verb something named does not, and
//! nothing else is allowed.

mod audit;
pub(crate) mod printed;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE, PROBER};
use e2e::scenario::{Prober, Scene, Suite, blames, eventually};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Api, Patch, PatchParams, PostParams};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use vso_prober::model::cause::Cause;
use vso_prober::model::{Step, Verdict};

use crate::manifests::installed::install;
use crate::manifests::shipped::{commands, read};

/// The role that gets the operator's metrics, and the prober's in the operator's namespace.
const METRICS: &str = "vso-prober-metrics.vso-probe";
const AT_OPERATOR: &str = "vso-prober.vso-probe";

/// How `doctor` is asked for what a leader needs.
const LEADER: &[&str] = &["doctor", "--leader-elect", "-o", "json"];

/// How long the API server may take to heed a change of a role, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run can't do without a verb: the step that tells, and as what.
const JOURNEYS: [(&str, &str, Step); 11] = [
    ("vaultstaticsecrets", "create", Step::Create),
    ("vaultstaticsecrets", "get", Step::Delete),
    ("vaultstaticsecrets", "list", Step::Create),
    ("vaultstaticsecrets", "watch", Step::Create),
    ("vaultstaticsecrets", "delete", Step::Delete),
    ("secrets", "get", Step::Tamper),
    ("secrets", "list", Step::Create),
    ("secrets", "watch", Step::Create),
    ("secrets", "patch", Step::Tamper),
    ("secrets", "delete", Step::Recreate),
    ("namespaces", "get", Step::Create),
];

/// Its trials.
pub(crate) fn suite() -> Suite {
    let mut suite = Suite::new("least_rights")
        .trial("with_them_every_step_works", all_works)
        .trial("with_them_a_leader_works", leader)
        .trial("nothing_else_in_kubernetes", nothing_else_in_kubernetes)
        .trial("nothing_else_in_vault", nothing_else_in_vault);
    let home = [
        "vaultstaticsecrets",
        "secrets",
        "events",
        "namespaces",
        "vaultauths",
        "vaultconnections",
        "vaultauthglobals",
        "leases",
        "serviceaccounts/token",
    ];
    for resource in home {
        suite = suite.trial(&format!("each_verb_on_{resource}"), async move |scene| {
            each_verb(scene, NAMESPACE, PROBER, resource).await
        });
    }
    suite
        .trial("each_verb_at_the_operator", async |scene| {
            each_verb(scene, OPERATOR_NAMESPACE, AT_OPERATOR, "pods").await?;
            each_verb(scene, OPERATOR_NAMESPACE, AT_OPERATOR, "leases").await?;
            each_verb(scene, OPERATOR_NAMESPACE, AT_OPERATOR, "vaultconnections").await?;
            each_verb(scene, OPERATOR_NAMESPACE, AT_OPERATOR, "vaultauthglobals").await
        })
        .trial("each_verb_for_doctor", async |scene| {
            for resource in ["resourcequotas", "serviceaccounts"] {
                each_verb(scene, NAMESPACE, "vso-prober-doctor", resource).await?;
            }
            Ok(())
        })
        .trial("the_operators_metrics", metrics)
        .trial("each_capability_in_vault", each_capability)
        .trial("the_canaries_own", canaries)
        .trial("every_rule_is_tried", every_rule)
        .trial("with_them_audit_logs_are_judged", audit::all_works)
        .trial("each_rule_of_the_audit", audit::each_rule)
        .trial("serve_tells_what_the_audit_lacks", audit::each_is_told)
        .trial("each_capability_of_the_audit", audit::each_capability)
        .trial("nothing_else_for_the_audit", audit::nothing_else)
}

/// Every step of the shipped configuration, twice, as the second run may remove what the first left; and `doctor`, without
/// so much as a warning.
async fn all_works(scene: &Scene) -> Result<()> {
    let prober = install(scene).await?;
    let outcome = prober.probe(&["--count", "2"]).await?.exits(0)?;
    for run in outcome.runs()? {
        ensure!(run.steps.len() == 5 && run.leftovers.is_empty(), "{run:#?}");
        ensure!(
            run.steps.iter().all(|step| step.result == Verdict::Success),
            "{run:#?}"
        );
    }
    prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    for check in examined(&prober).await?.1 {
        ensure!(check.is_well() || check.result == "skipped", "{check:?}");
    }
    Ok(())
}

async fn leader(scene: &Scene) -> Result<()> {
    let server = install(scene).await?.serve(&["--leader-elect"]).await?;
    leads(&server).await?;
    server.stop().await.map(drop)
}

async fn leads(server: &e2e::scenario::Server) -> Result<()> {
    eventually("leader", PATIENCE, async || {
        let leads = server.metric("vso_prober_leader").await? == Some(1.0);
        Ok(leads.then_some(()))
    })
    .await
}

/// A precondition, as `doctor` prints it.
#[derive(Debug, Deserialize)]
#[expect(
    clippy::struct_field_names,
    reason = "they are called so where they are printed"
)]
struct Check {
    check: String,
    subject: String,
    result: String,
    text: String,
}

impl Check {
    fn is_well(&self) -> bool {
        self.result == "good"
    }
}

async fn examined(prober: &Prober) -> Result<(i32, Vec<Check>)> {
    checks(prober, LEADER).await
}

/// How `doctor` exits, and what it tells.
async fn checks(prober: &Prober, doctor: &[&str]) -> Result<(i32, Vec<Check>)> {
    let outcome = prober.run(doctor).await?;
    let code = outcome.code.context("a signal ended it")?;
    let checks = serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())?;
    Ok((code, checks))
}

/// Waits until `doctor` misses something, or does not.
async fn missed(prober: &Prober, topic: &str, words: &[&str]) -> Result<()> {
    missed_by(prober, LEADER, topic, words).await
}

/// The same by this command line.
async fn missed_by(prober: &Prober, doctor: &[&str], topic: &str, words: &[&str]) -> Result<()> {
    eventually(&format!("word on {words:?}"), PATIENCE, async || {
        let (_, checks) = checks(prober, doctor).await?;
        let told = checks.iter().any(|check| {
            let text = format!("{} {}", check.subject, check.text);
            check.check == topic
                && matches!(check.result.as_str(), "finding" | "warning")
                && words.iter().all(|word| text.contains(word))
        });
        Ok(told.then_some(()))
    })
    .await
}

async fn well(prober: &Prober) -> Result<()> {
    eventually("health", PATIENCE, async || {
        let (code, checks) = examined(prober).await?;
        let well = code == 0
            && checks
                .iter()
                .all(|check| check.is_well() || check.result == "skipped");
        Ok(well.then_some(()))
    })
    .await
}

fn resources(rule: &PolicyRule) -> Vec<&str> {
    rule.resources
        .iter()
        .flatten()
        .map(String::as_str)
        .collect()
}

/// Takes each verb of the rules on a resource away in its turn: `doctor` says so, and so does a run that can't do without it.
async fn each_verb(scene: &Scene, namespace: &str, role: &str, resource: &str) -> Result<()> {
    let prober = install(scene).await?;
    let roles: Api<Role> = Api::namespaced(scene.lab().client(), namespace);
    let whole = roles.get(role).await?.rules.context("a role has rules")?;
    let mut tried = 0;
    for (place, rule) in whole.iter().enumerate() {
        if resources(rule) != [resource] {
            continue;
        }
        for verb in &rule.verbs {
            let mut less = whole.clone();
            less[place].verbs.retain(|other| other != verb);
            if less[place].verbs.is_empty() {
                less.remove(place);
            }
            replace(&roles, role, less).await?;
            missed(&prober, "rbac", &[resource, verb])
                .await
                .with_context(|| format!("without {verb} on {resource}"))?;
            journey(&prober, resource, verb)
                .await
                .with_context(|| format!("without {verb} on {resource}"))?;
            replace(&roles, role, whole.clone()).await?;
            well(&prober).await?;
            prober.run(&["cleanup", "--all"]).await?.exits(0)?;
            tried += 1;
        }
    }
    ensure!(tried > 0, "no rule is on {resource}");
    Ok(())
}

async fn replace(roles: &Api<Role>, name: &str, rules: Vec<PolicyRule>) -> Result<()> {
    let mut role = roles.get(name).await?;
    role.rules = Some(rules);
    roles.replace(name, &PostParams::default(), &role).await?;
    Ok(())
}

/// The shipped probe with these of its steps, which is given up soon.
fn hasty(prober: &Prober, steps: &[Step]) -> Prober {
    prober.clone().edit(|config| {
        let probe = &mut config["probes"][0];
        let steps = steps
            .iter()
            .map(|step| (step.as_str().to_owned(), json!("5s")));
        probe["steps"] = Value::Object(steps.collect());
        probe["timeout"] = "6s".into();
    })
}

/// Insists that the journey that needs a verb fails without it, and takes the blame on itself.
async fn journey(prober: &Prober, resource: &str, verb: &str) -> Result<()> {
    for (_, _, step) in JOURNEYS
        .into_iter()
        .filter(|(on, does, _)| *on == resource && *does == verb)
    {
        let steps = match step {
            Step::Create => vec![step],
            _ => vec![Step::Create, step],
        };
        let outcome = hasty(prober, &steps).probe(&[]).await?.exits(3)?;
        blames(&outcome.only_run()?, step, Cause::ProberKubernetesDenied)?;
    }
    Ok(())
}

/// The right to the operator's metrics is in a role for the cluster.
async fn metrics(scene: &Scene) -> Result<()> {
    let prober = install(scene).await?;
    let roles: Api<ClusterRole> = Api::all(scene.lab().client());
    let name = METRICS;
    let rules = roles.get(name).await?.rules;
    let patch = async |rules: Value| {
        let params = PatchParams::default();
        roles
            .patch(name, &params, &Patch::Merge(json!({"rules": rules})))
            .await
    };
    patch(json!([])).await?;
    let missed = missed(&prober, "rbac", &["/metrics"]).await;
    patch(json!(rules)).await?;
    missed?;
    well(&prober).await
}

/// Takes each capability on each path away in its turn.
async fn each_capability(scene: &Scene) -> Result<()> {
    let prober = install(scene).await?;
    let policy = read("manifests/vault/policy.hcl")?;
    let mut tried = 0;
    for Lesser { path, gone, rest } in lesser(&policy)? {
        write_policy(scene, PROBER, &rest).await?;
        // What can't be asked for is not known to be there.
        if path == "sys/capabilities-self" {
            let (code, checks) = examined(&prober).await?;
            ensure!(
                code == 0 && checks.iter().any(|check| !check.is_well()),
                "{checks:?}"
            );
        } else {
            missed(&prober, "vault-policy", &[path, gone])
                .await
                .with_context(|| format!("without {gone} on {path}"))?;
        }
        let journey = match (path.split('/').nth(1), gone) {
            (Some("data"), "create") => Some(vec![Step::Create]),
            (Some("data"), "update") => Some(vec![Step::Create, Step::Update]),
            _ => None,
        };
        if let Some(steps) = journey {
            let outcome = hasty(&prober, &steps).probe(&[]).await?.exits(3)?;
            let step = *steps.last().context("steps")?;
            blames(&outcome.only_run()?, step, Cause::ProberVaultDenied)?;
        }
        write_policy(scene, PROBER, &policy).await?;
        prober.run(&["cleanup", "--all"]).await?.exits(0)?;
        tried += 1;
    }
    ensure!(tried == 9, "{tried} capabilities");
    well(&prober).await
}

/// A policy that lacks one capability.
struct Lesser<'a> {
    path: &'a str,
    gone: &'a str,
    /// The policy without it.
    rest: String,
}

/// What is left of a policy without each of its capabilities in turn.
fn lesser(policy: &str) -> Result<Vec<Lesser<'_>>> {
    let mut all = Vec::new();
    for line in policy.lines().filter(|line| line.starts_with("path ")) {
        let path = line.split('"').nth(1).context("a path")?;
        let (_, list) = line.split_once("= [").context("capabilities")?;
        let capabilities: Vec<_> = list.split('"').skip(1).step_by(2).collect();
        for gone in &capabilities {
            let kept: Vec<_> = capabilities.iter().filter(|one| *one != gone).collect();
            let less = format!("path \"{path}\" {{ capabilities = {kept:?} }}");
            let less = if kept.is_empty() { String::new() } else { less };
            let rest = policy.replace(line, &less);
            all.push(Lesser { path, gone, rest });
        }
    }
    Ok(all)
}

/// Lets an account log in to Vault, with the policy of its name alone. Returns a kubeconfig of its own, and the file of its token
/// for Vault.
async fn log_in_as(scene: &Scene, account: &str) -> Result<[PathBuf; 2]> {
    let role = json!({
        "bound_service_account_names": [account], "bound_service_account_namespaces": [NAMESPACE], "audience": "vault",
        "token_policies": [account], "token_no_default_policy": true, "token_ttl": "1h",
    });
    let path = format!("auth/kubernetes/role/{account}");
    scene.lab().vault().write(&path, role).await?;
    let kubernetes = scene.token(account, None).await?;
    let kubeconfig = scene.kubeconfig(|_, user| user["token"] = kubernetes.into())?;
    let token = scene.file(&scene.token(account, Some("vault")).await?)?;
    Ok([kubeconfig, token])
}

async fn write_policy(scene: &Scene, name: &str, policy: &str) -> Result<()> {
    let path = format!("sys/policies/acl/{name}");
    scene
        .lab()
        .vault()
        .write(&path, json!({"policy": policy}))
        .await
        .map(drop)
}

/// What the operator may for the canaries, and their VaultAuth and VaultConnection, are needed too.
async fn canaries(scene: &Scene) -> Result<()> {
    let prober = hasty(&install(scene).await?, &[Step::Create]);
    let policy = read("manifests/vault/canaries.hcl")?;
    write_policy(
        scene,
        "vso-prober-canaries",
        "path \"none\" { capabilities = [\"read\"] }",
    )
    .await?;
    let run = prober.probe(&[]).await?.exits(1)?.only_run()?;
    write_policy(scene, "vso-prober-canaries", &policy).await?;
    blames(&run, Step::Create, Cause::VaultDenied)?;
    for kind in ["vaultconnection", "vaultauth"] {
        let command = format!("kubectl -n {NAMESPACE} delete {kind} vso-prober-canaries");
        scene.shell(&command).await?;
        let run = prober.probe(&[]).await?.exits(1)?.only_run()?;
        let folder = scene.lab().folder().join("shipped");
        let apply = commands()?.pop().context("the last command applies")?;
        scene
            .shell(&format!("cd '{}'\n{apply}", folder.display()))
            .await?;
        blames(&run, Step::Create, Cause::AuthRefInvalid)?;
    }
    scene.serves().await
}

/// The trials above leave none of the shipped rules out.
async fn every_rule(scene: &Scene) -> Result<()> {
    install(scene).await?;
    let tried = [
        (NAMESPACE, PROBER, 10),
        (NAMESPACE, "vso-prober-doctor", 2),
        (OPERATOR_NAMESPACE, AT_OPERATOR, 4),
    ];
    for (namespace, name, count) in tried {
        let roles: Api<Role> = Api::namespaced(scene.lab().client(), namespace);
        let rules = roles.get(name).await?.rules.unwrap_or_default();
        ensure!(rules.len() == count, "{namespace}/{name}: {rules:?}");
    }
    let list = "kubectl get rolebindings,clusterrolebindings -A -o json";
    let list: Value = serde_json::from_str(&scene.shell(list).await?)?;
    let bindings = list["items"].as_array().into_iter().flatten();
    let own = bindings.filter(|binding| {
        let mut subjects = binding["subjects"].as_array().into_iter().flatten();
        subjects.any(|subject| subject["name"] == PROBER || subject["name"] == "vso-prober-metrics")
    });
    let mut bound: Vec<_> = own
        .map(|binding| binding["roleRef"]["name"].as_str().unwrap_or_default())
        .collect();
    bound.sort_unstable();
    bound.dedup();
    ensure!(
        bound == [PROBER, "vso-prober-doctor", METRICS, AT_OPERATOR],
        "{bound:?}"
    );
    Ok(())
}

/// What the prober's account must not be able to do.
async fn nothing_else_in_kubernetes(scene: &Scene) -> Result<()> {
    install(scene).await?;
    let token = scene.token(PROBER, None).await?;
    let kubeconfig = scene.kubeconfig(|_, user| user["token"] = token.into())?;
    let refused = [
        "get secrets -n default",
        "get secrets -n kube-system",
        &format!("get secrets -n {OPERATOR_NAMESPACE}"),
        "get secrets -A",
        "get vaultstaticsecrets.secrets.hashicorp.com -A",
        "get namespaces",
        "get namespace default",
        "get nodes",
        "get configmaps -n vso-probe",
        "get pods -n vso-probe",
        "get pods -n kube-system",
        "get leases -n vso-probe",
        "get vaultauths.secrets.hashicorp.com -n vso-probe",
        &format!("get vaultconnections.secrets.hashicorp.com -n {OPERATOR_NAMESPACE}"),
        &format!("get vaultconnections.secrets.hashicorp.com other -n {OPERATOR_NAMESPACE}"),
        "create secret generic taken -n vso-probe",
        "create token probe -n vso-probe",
        "create token vso-prober -n vso-probe",
        "create token default -n vso-probe",
        "create configmap taken -n vso-probe",
        "create rolebinding taken --clusterrole=cluster-admin --serviceaccount=vso-probe:vso-prober -n vso-probe",
        "run taken --image=taken -n vso-probe",
        "annotate vaultauth.secrets.hashicorp.com probe taken=yes -n vso-probe",
        "delete vaultconnection.secrets.hashicorp.com probe -n vso-probe",
        "delete lease b0d477c0.hashicorp.com -n vault-secrets-operator-system",
        &format!("delete pods --all -n {OPERATOR_NAMESPACE}"),
        "get --raw /logs/",
        "get --raw /metrics",
        "get --raw /metrics/slis",
    ];
    for command in refused {
        let script = format!(
            "kubectl --kubeconfig '{}' {command} 2>&1",
            kubeconfig.display()
        );
        let refusal = scene
            .shell(&script)
            .await
            .err()
            .with_context(|| format!("`{command}` is allowed"))?;
        ensure!(
            refusal.to_string().contains("orbidden"),
            "{command}: {refusal}"
        );
    }
    Ok(())
}

/// What neither the prober's token in Vault nor the operator's for the canaries must be able to do.
async fn nothing_else_in_vault(scene: &Scene) -> Result<()> {
    install(scene).await?;
    let vault = scene.lab().vault();
    vault
        .write("kvv2/data/other", json!({"data": {"a": "b"}}))
        .await?;
    vault
        .write(
            "kvv2/data/vso-prober/other/canary",
            json!({"data": {"a": "b"}}),
        )
        .await?;
    let refused = [
        (Method::GET, "kvv2/data/other"),
        (Method::PUT, "kvv2/data/other"),
        (Method::DELETE, "kvv2/metadata/other"),
        (Method::GET, "kvv2/metadata/?list=true"),
        (Method::GET, "kvv1/other"),
        (Method::GET, "database/creds/probe"),
        (Method::GET, "database/config/postgres"),
        (Method::PUT, "pki/issue/probe"),
        (Method::PUT, "auth/token/create"),
        (Method::PUT, "sys/leases/revoke"),
        (Method::GET, "sys/leases/lookup/database/creds?list=true"),
        (Method::GET, "sys/policies/acl/vso-prober"),
        (Method::PUT, "sys/policies/acl/vso-prober"),
        (Method::GET, "sys/mounts"),
        (Method::GET, "auth/kubernetes/role/vso-prober"),
        (Method::PUT, "auth/kubernetes/role/vso-prober"),
    ];
    let (own, others) = (
        "kvv2/data/vso-prober/default/canary",
        "kvv2/data/vso-prober/other/canary",
    );
    for account in [PROBER, "vso-prober-canaries"] {
        let jwt = scene.token(account, Some("vault")).await?;
        let login = json!({"role": account, "jwt": jwt});
        let answer = vault.write("auth/kubernetes/login", login).await?;
        let token = answer["auth"]["client_token"].as_str().context("a token")?;
        let vault = vault.with_token(token);
        let more = match account {
            PROBER => vec![(Method::GET, others), (Method::PUT, others)],
            _ => vec![
                (Method::PUT, own),
                (Method::DELETE, "kvv2/metadata/vso-prober/default/canary"),
            ],
        };
        for (method, path) in refused.iter().cloned().chain(more) {
            let body = (method == Method::PUT).then(|| json!({"data": {}}));
            let (status, answer) = vault.send(method.clone(), path, body.as_ref()).await?;
            ensure!(
                status == 403,
                "{account}: {method} {path}: {status} {answer}"
            );
        }
        // Neither logs in as the other, nor with a token that is meant for another.
        let foreign = scene
            .token(account, Some("https://kubernetes.default.svc"))
            .await?;
        for login in [
            json!({"role": if account == PROBER { "vso-prober-canaries" } else { PROBER }, "jwt": jwt}),
            json!({"role": account, "jwt": foreign}),
        ] {
            let (status, answer) = vault
                .send(Method::PUT, "auth/kubernetes/login", Some(&login))
                .await?;
            ensure!(!status.is_success(), "{account}: {answer}");
        }
    }
    for path in [
        "kvv2/metadata/other",
        "kvv2/metadata/vso-prober/other/canary",
    ] {
        scene.lab().vault().delete(path).await?;
    }
    Ok(())
}
