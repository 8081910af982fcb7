//! The renewal of a credential: its take-over from another pod, and the renewal of its lease.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use vso_prober::operator::api::VaultDynamicSecret;

use super::DynamicSecrets;
use super::lease::{lease_of, seconds, until_renewal};
use crate::condition::Said;
use crate::horizon::{self, Go};
use crate::session::Session;

impl DynamicSecrets {
    /// Takes a resource over from another pod and waits for its renewal.
    pub(super) async fn adopt(
        &self,
        mut o: VaultDynamicSecret,
    ) -> Result<Option<Duration>, kube::Error> {
        let left = Duration::try_from_secs_f64(until_renewal(&o))
            .unwrap_or_default()
            .max(Duration::from_secs(1));
        let delay = left.mul_f64(1.0 - horizon::jitter(0.05, &mut rand::rng()));
        let lease = o
            .status
            .as_ref()
            .map(|status| status.secret_lease.id.clone())
            .unwrap_or_default();
        let horizon = Go(delay);
        self.say(&o, "SecretLeaseRenewal", format!(
            "Not in renewal window after transitioning to a new leader/pod, lease_id={lease}, horizon={horizon}"
        ));
        let message = format!(
            "Not in rotation period after transitioning to a new leader/pod, horizon={horizon}"
        );
        self.tell(
            &mut o,
            vec![Said::renewal("SecretLeaseRenewal", false, message)],
            true,
        )
        .await?;
        Ok(Some(delay))
    }

    /// Prolongs the lease. `Ok(None)`: it came back unrenewable, and that is the end. `Err`: a new credential is needed.
    pub(super) async fn renew(
        &self,
        o: &mut VaultDynamicSecret,
        session: &Session,
    ) -> Result<Option<Duration>, String> {
        let lease = o
            .status
            .as_ref()
            .map(|status| status.secret_lease.clone())
            .unwrap_or_default();
        let body = json!({"lease_id": lease.id, "increment": lease.duration});
        let answer = session
            .write("/sys/leases/renew", Some(&body))
            .await
            .map_err(|error| {
                if !error.is_lease_not_found() {
                    self.warn(
                        o,
                        "SecretLeaseRenewalError",
                        format!("Could not renew lease, lease_id={}, err={error}", lease.id),
                    );
                }
                error.to_string()
            })?;
        let renewed = lease_of(&answer);
        let (expected, actual) = (lease.duration, renewed.duration);
        if actual < expected {
            let words = format!("truncated from {expected}s to {actual}s");
            self.say(
                o,
                "SecretLeaseRenewal",
                format!("Lease renewal duration was {words}, requesting new credentials"),
            );
            return Err(format!("lease renewal duration was {words}"));
        }
        if !renewed.renewable {
            self.warn(
                o,
                "SecretLeaseRenewal",
                format!("Lease is not renewable, staticCreds=false, info={renewed:?}"),
            );
            return Ok(None);
        }
        let duration = seconds(renewed.duration).max(Duration::from_secs(1));
        let delay = self.horizon(duration, o.spec.renewal_percent);
        let status = o.status.get_or_insert_default();
        status.secret_lease = renewed;
        status.last_renewal_time = Timestamp::now().as_second();
        Ok(Some(delay))
    }

    pub(super) fn say_renewed(&self, o: &VaultDynamicSecret, delay: Duration) {
        let lease = o
            .status
            .as_ref()
            .map(|status| status.secret_lease.id.as_str())
            .unwrap_or_default();
        self.say(
            o,
            "SecretLeaseRenewal",
            format!("Renewed lease, lease_id={lease}, horizon={}", Go(delay)),
        );
    }
}
