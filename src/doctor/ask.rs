//! Questions to the API server that are not waited for too long.

use std::time::Duration;

use kube::api::Api;
use serde::de::DeserializeOwned;

use crate::kubernetes;
use crate::model::record::{Obstacle, Peer};
use crate::model::text::Text;
use crate::wire;

/// How long one question may take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// An object that was asked for.
pub(super) enum Asked<T> {
    /// It is there.
    There(T),
    /// It is not.
    Absent,
    /// The prober may not look.
    Denied,
    /// No answer to go by.
    Failed(Text),
}

/// A question to the API server that is not waited for too long.
pub(super) async fn ask<T>(
    what: &str,
    question: impl Future<Output = kube::Result<T>>,
) -> Result<T, Obstacle> {
    let asked = ask_plainly(what, question).await?;
    asked.map_err(|error| kubernetes::obstacle(what, &error))
}

/// The same, where the API server's refusal itself is of interest.
pub(super) async fn ask_plainly<T>(
    what: &str,
    question: impl Future<Output = kube::Result<T>>,
) -> Result<kube::Result<T>, Obstacle> {
    wire::limited(Peer::Kubernetes, what, LIMIT, async { Ok(question.await) }).await
}

/// Asks for an object.
pub(super) async fn get<K>(api: &Api<K>, what: &str, name: &str) -> Asked<K>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    match ask_plainly(what, api.get_opt(name)).await {
        Ok(Ok(Some(object))) => Asked::There(object),
        Ok(Ok(None)) => Asked::Absent,
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Asked::Denied,
        Ok(Err(error)) => Asked::Failed(kubernetes::obstacle(what, &error).text),
        Err(obstacle) => Asked::Failed(obstacle.text),
    }
}
