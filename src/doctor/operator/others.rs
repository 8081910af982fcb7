//! The other operators in the cluster, of which there should be none.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use super::super::ask::ask;
use super::super::fix::Fix;
use super::super::{Ledger, Topic};
use super::held;
use crate::config::Config;
use crate::operator::{self, LEADER_LEASE};

/// No cluster has more.
const LEASES: u32 = 64;

/// Looks for the Leases of other operators, where the prober may: every operator serves the resources of all namespaces.
pub(super) async fn look(
    client: &Client,
    config: &Config,
    ahead: SignedDuration,
    ledger: &mut Ledger,
) {
    let topic = Topic::OperatorLease;
    let subject = format!("*/{LEADER_LEASE}");
    let api: Api<Lease> = Api::all(client.clone());
    let named = format!("metadata.name={LEADER_LEASE}");
    let params = ListParams::default().fields(&named).limit(LEASES);
    let what = format!("list the Leases `{LEADER_LEASE}` of all namespaces");
    let leases = match ask(&what, async { api.list(&params).await }).await {
        Ok(leases) => leases.items,
        Err(obstacle) if obstacle.status() == Some(403) => {
            let why = "the prober has no right to list them in all namespaces, by which a second operator is found; no run needs it";
            return ledger.skipped(topic, &subject, why);
        }
        Err(obstacle) => return ledger.unknown(topic, &subject, obstacle.text),
    };
    let now = Timestamp::now()
        .saturating_add(ahead)
        .unwrap_or(Timestamp::MAX);
    let others = leases.iter().filter(|lease| {
        let own = lease.namespace().as_deref() == Some(&config.operator.namespace);
        !own && held(lease, now).is_ok()
    });
    let others: Vec<_> = others
        .map(|lease| {
            let namespace = lease.namespace().unwrap_or_default();
            let holder = operator::holder(lease).unwrap_or("someone");
            format!("`{namespace}` (`{holder}`)")
        })
        .collect();
    if others.is_empty() {
        return ledger.good(topic, &subject, "no other operator");
    }
    let text = format!(
        "tried to {what}: another operator is at work in {}; both serve the resources of every namespace, and each undoes what \
         the other does",
        others.join(", ")
    );
    let fix = "run one operator a cluster: uninstall the one that is not meant, or set `operator.namespace` to that of the one that is";
    ledger.finding(topic, &subject, text, Fix::words(fix));
}
