//! The check of admission: a canary's resource by a dry run, its Secret by the quotas.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use kube::core::DynamicObject;

use super::super::ask::{ask, ask_plainly};
use super::super::fix::{Command, Fix, Name, Patch, Script};
use super::super::{Ledger, Topic};
use crate::canary::{Action, Canary, Cluster};
use crate::config::{Config, Probe};
use crate::kubernetes::{self, Denial};
use crate::model::{Kind, Step};
use crate::operator::api_resource;
use crate::rights::plural;

/// What quotas call Secrets.
const SECRETS: [&str; 2] = ["secrets", "count/secrets"];
/// How many Secrets a quota is to leave room for.
const ROOM: u64 = 100;

/// Creates the resource of a canary of each probe, all but for keeping it.
pub(super) async fn look(client: &Client, config: &Config, served: &[String], ledger: &mut Ledger) {
    for probe in &config.probes {
        let kind = probe.target.kind();
        let subject = format!("{} ({})", kind.resource(), probe.name);
        if !served.contains(&plural(kind)) {
            ledger.skipped(Topic::Admission, &subject, "the kind is not served");
            continue;
        }
        let Some(object) = resource(config, probe) else {
            let why = "this version creates no canaries of this kind";
            ledger.skipped(Topic::Admission, &subject, why);
            continue;
        };
        create(client, config, kind, &subject, &object, ledger).await;
    }
}

/// The resource of a canary of this probe.
fn resource(config: &Config, probe: &Probe) -> Option<DynamicObject> {
    let home = &config.kubernetes.namespace;
    let canary = Canary::new(
        probe,
        home,
        &config.instance,
        &Cluster::unknown(),
        Timestamp::now(),
        &mut rand::rng(),
    );
    match canary.stimulus(Step::Create) {
        Some(Action::Create(object)) => Some(*object),
        _ => None,
    }
}

async fn create(
    client: &Client,
    config: &Config,
    kind: Kind,
    subject: &str,
    object: &DynamicObject,
    ledger: &mut Ledger,
) {
    let home = &config.kubernetes.namespace;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), home, &api_resource(kind));
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let what = format!("create a {} in `{home}` in a dry run", kind.resource());
    let error = match ask_plainly(&what, api.create(&params, object)).await {
        Ok(Ok(_)) => return ledger.good(Topic::Admission, subject, "the dry run was admitted"),
        Ok(Err(error)) => error,
        Err(obstacle) => return ledger.unknown(Topic::Admission, subject, obstacle.text),
    };
    let text = kubernetes::obstacle(&what, &error).text;
    let fix = match kubernetes::denial(&error) {
        None => return ledger.unknown(Topic::Admission, subject, text),
        Some(Denial::Rights) => {
            let why = "the prober has no right to create it";
            return ledger.skipped(Topic::Admission, subject, why);
        }
        Some(Denial::Quota) => "raise the ResourceQuota that it names; `kubectl get resourcequotas` in the namespace lists all".to_owned(),
        Some(Denial::Other) => format!(
            "change the policy or webhook that refuses it, or exempt the namespace `{home}` from it"
        ),
    };
    ledger.finding(Topic::Admission, subject, text, Fix::words(fix));
}

/// Whether the quotas leave room for Secrets, which the operator makes and the prober can't try.
pub(super) async fn quota(client: &Client, config: &Config, ledger: &mut Ledger) {
    let topic = Topic::Quota;
    let home = &config.kubernetes.namespace;
    let api: Api<ResourceQuota> = Api::namespaced(client.clone(), home);
    let what = format!("list ResourceQuotas in `{home}`");
    let quotas = match ask(&what, async { api.list(&ListParams::default()).await }).await {
        Ok(quotas) => quotas,
        Err(obstacle) if obstacle.status() == Some(403) => {
            return ledger.skipped(
                topic,
                home,
                "the prober has no right to list ResourceQuotas",
            );
        }
        Err(obstacle) => return ledger.unknown(topic, home, obstacle.text),
    };
    let mut full = false;
    for quota in quotas {
        let name = quota.metadata.name.clone().unwrap_or_default();
        for key in SECRETS {
            let Some((used, hard)) = usage(&quota, key) else {
                continue;
            };
            if used < hard {
                continue;
            }
            full = true;
            let text = format!(
                "looked at the ResourceQuota `{home}/{name}`: {used} of {hard} `{key}` are in use, so the operator can't create a canary's Secret"
            );
            let patch = Patch::hard(key, used.saturating_add(ROOM));
            let fix = more_room(home, &name, &patch);
            ledger.finding(topic, &format!("{home}/{name}"), text, fix);
        }
    }
    if !full {
        ledger.good(topic, home, "there is room for Secrets");
    }
}

fn more_room(home: &str, name: &str, patch: &Patch) -> Fix {
    let (Some(home), Some(name)) = (Name::parse(home), Name::parse(name)) else {
        return Fix::words("raise the ResourceQuota");
    };
    let command = Command::new("kubectl patch resourcequota").arg(&name);
    let command = command.arg("-n").arg(&home).args("--type=merge -p");
    Script::default().run(command.arg(patch)).into()
}

/// How much of a resource is in use, and how much may be.
fn usage(quota: &ResourceQuota, key: &str) -> Option<(u64, u64)> {
    let hard = quota.spec.as_ref()?.hard.as_ref()?.get(key)?;
    let used = quota
        .status
        .as_ref()
        .and_then(|status| status.used.as_ref()?.get(key));
    let used = used.map_or(0, |used| used.0.parse().unwrap_or(0));
    Some((used, hard.0.parse().ok()?))
}
