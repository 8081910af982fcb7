//! Bounded and tolerant reads from the API server: of a list what can't be read is passed over
//! and counted, and who wrote which field, which may be the most of an object, is left out.

use std::pin::pin;

use futures::io::AsyncReadExt as _;
use kube::api::{Api, GetParams, ListParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bound::too_long;

/// How many objects are asked for at once, as long as they are of a usual size.
const PAGE: u32 = 250;
/// How much smaller the next page is after one that was too long.
const SMALLER: u32 = 8;
/// How much of a list is kept, in bytes of JSON.
const ROOM: usize = 8 << 20;
/// How many pages of a list are read at most.
const PAGES: usize = 400;

/// An object by its name, if it is there.
pub async fn one<K: DeserializeOwned>(
    client: &Client,
    api: &Api<impl Resource>,
    name: &str,
) -> kube::Result<Option<K>> {
    let value = whole(client, api, name).await?;
    value.map(lean).transpose().map_err(kube::Error::SerdeError)
}

/// The same, as it is, with who wrote which field.
pub async fn whole(
    client: &Client,
    api: &Api<impl Resource>,
    name: &str,
) -> kube::Result<Option<Value>> {
    let request = Request::new(api.resource_url()).get(name, &GetParams::default());
    match read::<Value>(client, request).await {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The whole of a list, page by page: each object is handed on as it comes, so that no more is kept than whoever takes it
/// keeps. What is too long or can't be read is counted and passed over. With `metadata`, no more of the objects is asked
/// for.
///
/// # Errors
/// The list can't be read.
pub async fn each<K: DeserializeOwned>(
    client: &Client,
    api: &Api<impl Resource>,
    params: &ListParams,
    metadata: bool,
    mut take: impl FnMut(K),
) -> kube::Result<()> {
    let mut params = params.clone();
    let mut limit = params.limit.unwrap_or(PAGE);
    let mut skips = metadata;
    let mut odd = 0;
    for _ in 0..PAGES {
        params.limit = Some(limit);
        let request = Request::new(api.resource_url());
        let request = if skips {
            request.list_metadata(&params)
        } else {
            request.list(&params)
        };
        let page: Page = match read(client, request).await {
            Err(error) if too_long(&error) && limit > 1 => {
                limit = (limit / SMALLER).max(1);
                continue;
            }
            // One object alone: its metadata leads on to the next.
            Err(error) if too_long(&error) && !skips => {
                skips = true;
                continue;
            }
            page => page?,
        };
        for item in page.items.unwrap_or_default() {
            match lean(item) {
                Ok(object) if skips == metadata => take(object),
                Ok(_) | Err(_) => odd += 1,
            }
        }
        skips = metadata;
        params.continue_token = page.metadata.r#continue.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            break;
        }
    }
    if odd > 0 {
        tracing::warn!(
            count = odd,
            path = api.resource_url(),
            "skipped entries of a list that could not be read"
        );
    }
    Ok(())
}

/// What of a list is wanted, as far as there is room for it: of very much, the rest is for another time.
///
/// # Errors
/// The list can't be read.
pub async fn some<K: DeserializeOwned>(
    client: &Client,
    api: &Api<impl Resource>,
    params: &ListParams,
    metadata: bool,
    mut wanted: impl FnMut(&K) -> bool,
) -> kube::Result<Vec<K>> {
    let mut kept = Vec::new();
    let mut room = ROOM;
    let take = |object: Value| {
        let length = object.to_string().len();
        match lean(object) {
            Ok(object) if wanted(&object) && length <= room => {
                room -= length;
                kept.push(object);
            }
            Ok(_) | Err(_) => {}
        }
    };
    each(client, api, params, metadata, take).await?;
    Ok(kept)
}

/// The version at which the whole stands now of what these parameters select.
pub async fn version(
    client: &Client,
    api: &Api<impl Resource>,
    params: &ListParams,
) -> kube::Result<String> {
    let request = Request::new(api.resource_url()).list_metadata(&params.clone().limit(1));
    let page: Head = read(client, request).await?;
    Ok(page.metadata.resource_version)
}

/// An object without who wrote which field.
pub fn lean<K: DeserializeOwned>(mut object: Value) -> serde_json::Result<K> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        metadata.remove("managedFields");
    }
    serde_json::from_value(object)
}

/// Reads an answer, which is bounded.
async fn read<T: DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> kube::Result<T> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    let mut reader = pin!(client.request_stream(request).await?);
    let mut answer = Vec::new();
    reader
        .read_to_end(&mut answer)
        .await
        .map_err(kube::Error::ReadEvents)?;
    serde_json::from_slice(&answer).map_err(kube::Error::SerdeError)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: Continued,
    /// Of an empty list's metadata there may be `null`.
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct Continued {
    #[serde(default)]
    r#continue: Option<String>,
}

#[derive(Deserialize)]
struct Head {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: String,
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_may_be_empty_in_three_ways() {
        for list in [
            json!({}),
            json!({"items": []}),
            json!({"metadata": {"resourceVersion": "7", "continue": null}, "items": null}),
        ] {
            let page: Page = serde_json::from_value(list).expect("a list");
            assert_eq!(page.items.unwrap_or_default().len(), 0);
            assert!(page.metadata.r#continue.is_none());
        }
    }

    #[test]
    fn who_wrote_what_can_hide_nothing() {
        let object =
            json!({"metadata": {"name": "a", "managedFields": [{"time": "9999-12-31T23:59:59Z"}]}});
        assert!(serde_json::from_value::<Secret>(object.clone()).is_err());
        let secret: Secret = lean(object).expect("a Secret");
        assert_eq!(secret.name_any(), "a");
    }
}
