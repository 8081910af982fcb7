//! A prober with an account and a policy of its own, which are just what `doctor` prints; and its cure, which
//! is just what `doctor` prints, too.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Inventory, Probe, Prober, Scene, eventually};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long the cluster and the operator may take to act on what was applied.
const PATIENCE: Duration = Duration::from_secs(40);
/// What a fix begins with that is to be merged into the configuration.
const IN_CONFIGURATION: &str = "# in the configuration:\n";

/// One precondition, as it is printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the name it has in the JSON")]
pub(super) struct Check {
    pub(super) check: String,
    pub(super) subject: String,
    pub(super) result: String,
    pub(super) text: String,
    pub(super) fix: Option<String>,
}

/// Everything that was looked at.
#[derive(Clone, Debug)]
pub(super) struct Report(pub(super) Vec<Check>);

impl Report {
    /// Insists on the exit code, and that no secret is told.
    pub(super) async fn of(scene: &Scene, prober: &Prober, code: i32) -> Result<Self> {
        let (exit, report) = Self::any(scene, prober, &[]).await?;
        ensure!(
            exit == code,
            "exit code {exit} instead of {code}:\n{report}"
        );
        Ok(report)
    }

    pub(super) async fn any(scene: &Scene, prober: &Prober, more: &[&str]) -> Result<(i32, Self)> {
        let outcome = prober
            .run(&[&["doctor", "-o", "json"], more].concat())
            .await?;
        let code = outcome.code.context("a signal ended it")?;
        let checks = serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())?;
        let whole = format!("{}{}", outcome.stdout, outcome.stderr);
        let (_, secret_id) = scene.lab().approle_files();
        let secrets = [
            scene.lab().vault().token().to_owned(),
            fs::read_to_string(scene.lab().prober_token_file())?,
            fs::read_to_string(secret_id)?,
        ];
        let told = secrets.iter().any(|secret| whole.contains(secret.trim()));
        ensure!(!told, "a secret is told: {whole}");
        Ok((code, Self(checks)))
    }

    /// What came out like this.
    pub(super) fn found(&self, result: &str) -> Vec<&Check> {
        self.0
            .iter()
            .filter(|check| check.result == result)
            .collect()
    }

    /// The finding on this topic whose fix says `words`.
    pub(super) fn finding(&self, topic: &str, words: &str) -> Result<&Check> {
        let of_topic = |check: &&&Check| check.check == topic;
        let says = |check: &&&Check| check.fix.as_ref().is_some_and(|fix| fix.contains(words));
        let findings = self.found("finding");
        let found = findings.iter().find(|check| of_topic(check) && says(check));
        found.copied().with_context(|| {
            format!("no finding `{topic}` with a fix that says `{words}`:\n{self}")
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check {
            check,
            subject,
            result,
            text,
            fix,
        } in &self.0
        {
            writeln!(f, "{result:8} {check} {subject}: {text}")?;
            if let Some(fix) = fix {
                writeln!(f, "{fix}")?;
            }
        }
        Ok(())
    }
}

/// A prober that is to be made well.
pub(super) struct Patient<'a> {
    scene: &'a Scene,
    pub(super) name: String,
    pub(super) prober: Prober,
}

impl<'a> Patient<'a> {
    /// One in the best of health.
    pub(super) async fn new(
        scene: &'a Scene,
        name: &str,
        probes: impl IntoIterator<Item = Probe>,
    ) -> Result<Self> {
        Self::with(scene, name, scene.prober(probes)).await
    }

    /// The same, configured like this.
    pub(super) async fn with(scene: &'a Scene, name: &str, prober: Prober) -> Result<Self> {
        let vault = scene.lab().vault();
        let role = json!({
            "bound_service_account_names": [name], "bound_service_account_namespaces": [NAMESPACE], "audience": "vault",
            "token_policies": [name], "token_no_default_policy": true, "token_ttl": "1h",
        });
        vault
            .write(&format!("auth/kubernetes/role/{name}"), role)
            .await?;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}});
        scene.apply(account).await?;
        let kubernetes = scene.token(name, None).await?;
        let kubeconfig = scene.kubeconfig(|_, user| user["token"] = kubernetes.into())?;
        let file = scene.file(&scene.token(name, Some("vault")).await?)?;
        let auth = json!({"kubernetes": {"mount": "kubernetes", "role": name, "tokenFile": file}});
        let patient = Self {
            scene,
            name: name.to_owned(),
            prober: prober.auth(auth).kubeconfig(&kubeconfig),
        };
        scene
            .kubectl(&["apply", "-f", "-"], &patient.rbac(&[]).await?)
            .await?;
        patient.write_policy(&patient.policy().await?).await?;
        Ok(patient)
    }

    /// The roles that it is said to need.
    pub(super) async fn rbac(&self, more: &[&str]) -> Result<String> {
        let account = format!("{NAMESPACE}/{}", self.name);
        let arguments = ["doctor", "--print-rbac", "--service-account", &account];
        let printed = self.prober.run(&[&arguments, more].concat()).await?;
        Ok(printed.exits(0)?.stdout)
    }

    /// The policy that it is said to need.
    pub(super) async fn policy(&self) -> Result<String> {
        let printed = self.prober.run(&["doctor", "--print-policy"]).await?;
        Ok(printed.exits(0)?.stdout)
    }

    pub(super) async fn write_policy(&self, policy: &str) -> Result<()> {
        let path = format!("sys/policies/acl/{}", self.name);
        let written = self
            .scene
            .lab()
            .vault()
            .write(&path, json!({"policy": policy}));
        written.await.map(drop)
    }

    /// Changes its configuration.
    pub(super) fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        self.prober = self.prober.edit(edit);
        self
    }

    /// Insists that it is well by and by, and not for long that it is not.
    pub(super) async fn is_well(&self) -> Result<Report> {
        let last = std::sync::Mutex::new(String::new());
        let well = eventually("health", PATIENCE, async || {
            let (code, report) = Report::any(self.scene, &self.prober, &[]).await?;
            let pending = report.found("warning");
            let pending = pending
                .iter()
                .any(|check| check.text.contains("has not reported yet"));
            if let Ok(mut last) = last.lock() {
                *last = format!("exit code {code}:\n{report}");
            }
            Ok((code == 0 && !pending).then_some(report))
        });
        let well = well.await;
        well.with_context(|| last.into_inner().unwrap_or_default())
    }

    /// Insists that this is found, and that the printed fix puts it right: nothing is found any more.
    pub(super) async fn cured(self, topic: &str, words: &str) -> Result<Self> {
        let report = Report::of(self.scene, &self.prober, 1).await?;
        let fix = report
            .finding(topic, words)?
            .fix
            .clone()
            .unwrap_or_default();
        let patient = self.treated(&fix).await?;
        patient.is_well().await?;
        Ok(patient)
    }

    /// Does what a fix says, and insists that nothing changes that it does not name.
    pub(super) async fn treated(mut self, fix: &str) -> Result<Self> {
        let Some(yaml) = fix.strip_prefix(IN_CONFIGURATION) else {
            ensure!(
                !fix.starts_with("# ") || fix.contains('\n'),
                "only a person can do it: {fix}"
            );
            let before = Inventory::take(self.scene).await?;
            self.scene.shell(fix).await?;
            let after = Inventory::take(self.scene).await?;
            for changed in before.changes(&after) {
                let name = changed.rsplit('/').next().unwrap_or(changed);
                // All of the operator's kinds come in one.
                let kinds = changed.contains("/customresourcedefinitions/");
                ensure!(
                    fix.contains(name) || kinds && fix.contains("show crds"),
                    "`{changed}` changed, and the fix does not name it: {fix}"
                );
            }
            return Ok(self);
        };
        for line in yaml.lines() {
            let (key, value) = line.split_once(": ").context("a key and a value")?;
            let value: Value = serde_json::from_str(value)?;
            self.prober = self.prober.edit(|config| merge(&mut config[key], value));
        }
        Ok(self)
    }
}

/// Merges as a person would: probes by their name.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => {
            for value in from {
                let same = into.iter_mut().find(|one| one["name"] == value["name"]);
                if let Some(same) = same {
                    merge(same, value);
                }
            }
        }
        (into, from) => *into = from,
    }
}
