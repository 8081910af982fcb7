//! KV secrets, of either version of the engine.

use std::collections::HashMap;

use reqwest::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use vaultrs::api::{kv1, kv2};

use super::Vault;
use super::answer::Answer;
use crate::config::{KvPath, KvVersion};
use crate::model::record::Obstacle;

/// A secret of version 2, beside what Vault knows of it.
#[derive(Deserialize)]
struct Versioned<T> {
    data: T,
}

/// A folder.
#[derive(Deserialize)]
struct Folder {
    keys: Vec<String>,
}

impl Vault {
    /// Writes a KV secret over the `version` that is there, 0 if none is: an engine with versions may insist on being told, and
    /// then nothing of anybody else's is written over. The write is not repeated, for its moment may count.
    pub async fn kv_write(
        &self,
        at: &KvPath,
        version: u32,
        data: &HashMap<&str, &str>,
    ) -> Result<(), Obstacle> {
        let what = format!("write `{at}`");
        let (mount, path, data) = (at.mount.clone(), at.path.clone(), json!(data));
        let request = match at.version {
            KvVersion::V1 => {
                let data = data.to_string().into_bytes();
                self.words(&what, kv1::requests::SetSecretRequest { mount, path, data })
            }
            KvVersion::V2 => {
                let options = Some(kv2::requests::SetSecretRequestOptions { cas: version });
                let write = kv2::requests::SetSecretRequest {
                    mount,
                    path,
                    data,
                    options,
                };
                self.words(&what, write)
            }
        };
        let request = self.within(&what, request?, at.namespace.as_deref())?;
        let answer = self.ask_once(&what, request).await?;
        answer.granted(answer.done()?)
    }

    /// Reads a KV secret; `None` if there is nothing.
    pub async fn kv_read<T: DeserializeOwned>(&self, at: &KvPath) -> Result<Option<T>, Obstacle> {
        let what = format!("read `{at}`");
        let (mount, path) = (at.mount.clone(), at.path.clone());
        match at.version {
            KvVersion::V1 => {
                let read = kv1::requests::GetSecretRequest { mount, path };
                let answer = self.look(&what, at, self.words(&what, read)).await?;
                answer.granted_if_any(answer.data()?)
            }
            KvVersion::V2 => {
                let version = None;
                let read = kv2::requests::ReadSecretRequest {
                    mount,
                    path,
                    version,
                };
                let answer = self.look(&what, at, self.words(&what, read)).await?;
                let secret: Option<Versioned<T>> = answer.granted_if_any(answer.data()?)?;
                Ok(secret.map(|secret| secret.data))
            }
        }
    }

    /// Lists a KV folder; empty if there is nothing. Folders in it end in `/`.
    pub async fn kv_list(&self, at: &KvPath) -> Result<Vec<String>, Obstacle> {
        let what = format!("list `{at}`");
        let (mount, path) = (at.mount.clone(), at.path.clone());
        let list = match at.version {
            KvVersion::V1 => self.words(&what, kv1::requests::ListSecretRequest { mount, path }),
            KvVersion::V2 => self.words(&what, kv2::requests::ListSecretsRequest { mount, path }),
        };
        let answer = self.look(&what, at, list).await?;
        let folder: Option<Folder> = answer.granted_if_any(answer.data()?)?;
        Ok(folder.map(|folder| folder.keys).unwrap_or_default())
    }

    /// Deletes a KV secret with all of its versions. Nothing there is as good.
    pub async fn kv_delete(&self, at: &KvPath) -> Result<(), Obstacle> {
        let what = format!("delete `{at}`");
        let (mount, path) = (at.mount.clone(), at.path.clone());
        let delete = match at.version {
            KvVersion::V1 => self.words(&what, kv1::requests::DeleteSecretRequest { mount, path }),
            KvVersion::V2 => {
                let delete = kv2::requests::DeleteSecretMetadataRequest { mount, path };
                self.words(&what, delete)
            }
        };
        let answer = self.look(&what, at, delete).await?;
        answer.granted_if_any(answer.done()?).map(drop)
    }

    async fn look(
        &self,
        what: &str,
        at: &KvPath,
        request: Result<Request, Obstacle>,
    ) -> Result<Answer, Obstacle> {
        let request = self.within(what, request?, at.namespace.as_deref())?;
        self.ask(what, request).await
    }
}
