//! KV secrets, of either version of the engine.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use vaultrs::error::ClientError;
use vaultrs::{kv1, kv2};

use super::Vault;
use crate::config::{KvPath, KvVersion};
use crate::model::record::Obstacle;

impl Vault {
    /// Writes a KV secret.
    pub async fn kv_write(&self, at: &KvPath, data: &HashMap<&str, &str>) -> Result<(), Obstacle> {
        let client = self.client().await?;
        let KvPath {
            mount,
            version,
            path,
        } = at;
        match version {
            KvVersion::V1 => kv1::set(&*client, mount, path, data).await,
            KvVersion::V2 => kv2::set(&*client, mount, path, data).await.map(drop),
        }
        .map_err(|error| self.obstacle(&format!("write `{at}`"), &error))
    }

    /// Reads a KV secret; `None` if there is nothing.
    pub async fn kv_read<T: DeserializeOwned>(&self, at: &KvPath) -> Result<Option<T>, Obstacle> {
        let client = self.client().await?;
        let KvPath {
            mount,
            version,
            path,
        } = at;
        let read = match version {
            KvVersion::V1 => kv1::get(&*client, mount, path).await,
            KvVersion::V2 => kv2::read(&*client, mount, path).await,
        };
        self.or_nothing(&format!("read `{at}`"), read)
    }

    /// Lists a KV folder; empty if there is nothing. Folders in it end in `/`.
    pub async fn kv_list(&self, at: &KvPath) -> Result<Vec<String>, Obstacle> {
        let client = self.client().await?;
        let KvPath {
            mount,
            version,
            path,
        } = at;
        let listed = match version {
            KvVersion::V1 => kv1::list(&*client, mount, path)
                .await
                .map(|list| list.data.keys),
            KvVersion::V2 => kv2::list(&*client, mount, path).await,
        };
        Ok(self
            .or_nothing(&format!("list `{at}`"), listed)?
            .unwrap_or_default())
    }

    /// Deletes a KV secret with all of its versions. Nothing there is as good.
    pub async fn kv_delete(&self, at: &KvPath) -> Result<(), Obstacle> {
        let client = self.client().await?;
        let KvPath {
            mount,
            version,
            path,
        } = at;
        let deleted = match version {
            KvVersion::V1 => kv1::delete(&*client, mount, path).await,
            KvVersion::V2 => kv2::delete_metadata(&*client, mount, path).await,
        };
        self.or_nothing(&format!("delete `{at}`"), deleted)
            .map(drop)
    }

    fn or_nothing<T>(
        &self,
        what: &str,
        result: Result<T, ClientError>,
    ) -> Result<Option<T>, Obstacle> {
        match result {
            Ok(value) => Ok(Some(value)),
            // An unmounted engine answers 404 too, but says why; nothing there says nothing, and a
            // version that was deleted answers with its metadata.
            Err(ClientError::APIError { code: 404, errors }) if errors.is_empty() => Ok(None),
            Err(ClientError::RestClientError {
                source: rustify::errors::ClientError::ServerResponseError { code: 404, .. },
            }) => Ok(None),
            Err(error) => Err(self.obstacle(what, &error)),
        }
    }
}
