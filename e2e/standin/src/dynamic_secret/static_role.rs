//! The credential of a static role: waited for, compared by HMAC, and come back for when Vault has replaced it.

use std::time::Duration;

use kube::ResourceExt;
use rand::RngExt;
use vso_prober::operator::RAW_KEY;
use vso_prober::operator::api::{StaticCreds, VaultDynamicSecret};

use super::DynamicSecrets;
use super::issue::Error;
use super::lease::seconds;
use crate::content::Data;
use crate::secret;
use crate::session::Session;
use crate::vault::Answer;

/// What changes without the credential.
const SCHEDULE: [&str; 5] = [
    "ttl",
    "rotation_schedule",
    "rotation_period",
    "last_vault_rotation",
    RAW_KEY,
];
/// So much time Vault is given beyond a credential's own.
const GRACE: Duration = Duration::from_millis(500);
/// And up to so much more, drawn.
const JITTER: f64 = 0.15;
/// For so long it is waited that Vault replaces a credential whose time is up.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two looks, before jitter.
const PAUSE: Duration = Duration::from_secs(2);

/// What Vault says of the schedule; none of a credential that has none.
pub(super) fn schedule(answer: &Answer) -> Option<StaticCreds> {
    let data = answer.data.as_ref()?;
    let number = |key: &str| data.get(key).and_then(serde_json::Value::as_i64);
    let text = |key: &str| data.get(key).and_then(serde_json::Value::as_str);
    let last: k8s_openapi::jiff::Timestamp = text("last_vault_rotation")?.parse().ok()?;
    let schedule = StaticCreds {
        last_vault_rotation: last.as_second(),
        rotation_period: number("rotation_period").unwrap_or_default(),
        rotation_schedule: text("rotation_schedule").map(str::to_owned),
        ttl: number("ttl").unwrap_or_default(),
    };
    let scheduled = schedule.rotation_period >= 1 || schedule.rotation_schedule.is_some();
    (schedule.last_vault_rotation > 0 && scheduled).then_some(schedule)
}

/// When it is come back for the one that follows.
pub(super) fn horizon(schedule: &StaticCreds) -> Duration {
    let ahead = match schedule.ttl {
        ..=0 => Duration::from_secs(1),
        ttl if schedule.rotation_period > 0 => seconds(ttl) + GRACE,
        ttl => seconds(ttl),
    };
    ahead + Duration::from_secs_f64(rand::rng().random_range(0.0..JITTER))
}

impl DynamicSecrets {
    /// The answer, or the one that follows if the credential was synced before and its time is up.
    pub(super) async fn replaced(
        &self,
        o: &VaultDynamicSecret,
        session: &Session,
        mut answer: Answer,
    ) -> Result<Answer, Error> {
        let synced = o.status.as_ref().map_or(0, |status| {
            status.static_creds_meta_data.last_vault_rotation
        });
        let is_synced = |answer: &Answer| {
            schedule(answer).filter(|schedule| schedule.last_vault_rotation == synced)
        };
        if is_synced(&answer).is_none() {
            return Ok(answer);
        }
        let began = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(500);
        loop {
            answer = self.request(o, session).await?;
            if is_synced(&answer).is_none_or(|schedule| schedule.ttl > 2) {
                return Ok(answer);
            }
            let drawn = pause.mul_f64(rand::rng().random_range(0.5..1.5));
            if began.elapsed() + drawn > PATIENCE {
                return Err(Error::Data("near rotation, ttl<=2".into()));
            }
            tokio::time::sleep(drawn).await;
            pause = pause.mul_f64(1.5).min(PAUSE);
        }
    }

    /// The HMAC of a credential, and whether it is that of the last one and of what the Secret holds.
    pub(super) async fn compared(&self, o: &VaultDynamicSecret, data: &Data) -> (String, bool) {
        let lasting = |data: &Data| -> Data {
            let data = data.clone().into_iter();
            data.filter(|(key, _)| !SCHEDULE.contains(&key.as_str()))
                .collect()
        };
        let mac = self.mac.of(&lasting(data));
        let last = o.status.as_ref();
        let last = last.and_then(|status| status.secret_mac.as_ref());
        if last != Some(&mac) {
            return (mac, false);
        }
        let namespace = o.namespace().unwrap_or_default();
        let name = &o.spec.destination.name;
        let found = secret::find(&self.writer.client, &namespace, name).await;
        let held = found.ok().flatten().filter(secret::is_visible);
        let held = held.map(|secret| self.mac.of(&lasting(&secret.data.unwrap_or_default())));
        let same = held.as_ref() == Some(&mac);
        (mac, same)
    }
}
