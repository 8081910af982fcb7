//! A drill: misuse of the operator's identities, done on purpose and without harm.

use kube::Client;
use kube::api::Api;

use crate::audit::finding::RuleName;
use crate::config::{Audit, Config, Decoy, KvPath};
use crate::kubernetes;
use crate::model::name::ObjectRef;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::operator::api::VaultAuth;
use crate::operator::{account_login, referred};
use crate::vault::Vault;

/// Misuse that the judge of audit logs is to find.
pub enum Drill {
    /// A decoy is asked for by nobody, which Vault refuses. It needs no right.
    Decoy(KvPath),
    /// A ServiceAccount's token is had issued, and the operator's identity is taken with it from elsewhere: it logs in, and gives
    /// its token back at once.
    Login {
        /// The VaultAuth whose identity is taken.
        auth: ObjectRef,
    },
}

/// What a drill did.
#[derive(Debug)]
pub struct Done {
    /// In words.
    pub text: String,
    /// The ID of its request, as the audit log has it; none where Vault does not tell.
    pub request: Option<String>,
}

/// Why there can be no such drill.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unready(&'static str);

impl Drill {
    /// The one that touches a decoy, which is in the prober's own namespace of Vault.
    ///
    /// # Errors
    /// There is none.
    pub fn decoy(audit: &Audit, namespace: Option<&str>) -> Result<Self, Unready> {
        let decoy = audit.decoys.first();
        let none = Unready(
            "the drill of the rule `honey` asks for a decoy, and `audit.decoys` has none; add one, and let `serve` write it",
        );
        let at = |decoy: &Decoy| KvPath {
            namespace: namespace.map(str::to_owned),
            ..decoy.kv_path()
        };
        decoy.map(|decoy| Self::Decoy(at(decoy))).ok_or(none)
    }

    /// The one that takes the operator's identity by a VaultAuth, `name` or `namespace/name`, that canaries in the namespace
    /// `home` refer to.
    pub fn login(reference: &str, home: &str) -> Self {
        let (namespace, name) = referred(reference, home);
        Self::Login {
            auth: ObjectRef::new(namespace, name),
        }
    }

    /// The rule that finds it.
    pub const fn rule(&self) -> RuleName {
        match self {
            Self::Decoy(_) => RuleName::Honey,
            Self::Login { .. } => RuleName::Address,
        }
    }

    /// The path in Vault that is asked for, as a finding has it.
    pub fn path(&self) -> Option<String> {
        match self {
            Self::Decoy(at) => {
                let namespace = at.namespace.as_ref().map(|own| format!("{own}/"));
                let (namespace, mount) =
                    (namespace.unwrap_or_default(), at.mount.trim_matches('/'));
                Some(format!("{namespace}{mount}/data/{}", at.path))
            }
            Self::Login { .. } => None,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// It could not be done: what was tried and what came back.
    pub async fn go(&self, config: &Config) -> Result<Done, Obstacle> {
        let vault = Vault::open(&config.vault).await?;
        match self {
            Self::Decoy(at) => {
                let status = vault.ask_as_nobody(at).await?;
                let text =
                    format!("asked for the decoy `{at}` without a token: Vault answered {status}");
                Ok(Done {
                    text,
                    request: None,
                })
            }
            Self::Login { auth } => {
                let kube = kubernetes::connect(&config.kubernetes).await?;
                take_identity(&vault, &kube, auth).await
            }
        }
    }
}

async fn take_identity(vault: &Vault, kube: &Client, auth: &ObjectRef) -> Result<Done, Obstacle> {
    let api: Api<VaultAuth> = Api::namespaced(kube.clone(), &auth.namespace);
    let what = format!("get VaultAuth `{auth}`");
    let found = api.get(&auth.name).await;
    let found = found.map_err(|error| kubernetes::obstacle(&what, &error))?;
    let login = account_login(&found.spec).ok_or_else(|| {
        let text = format!(
            "VaultAuth `{auth}` has no mount, role and ServiceAccount of its own for the method `kubernetes`, which the drill needs"
        );
        Obstacle::new(Peer::Kubernetes, Hindrance::Unfit, text)
    })?;
    let account = ObjectRef::new(auth.namespace.clone(), login.service_account);
    let token = kubernetes::account_token(kube, &account, &login.audiences).await?;
    let request = vault.visit(&login.mount, &login.role, &token).await?;
    let text = format!(
        "logged in to `auth/{}` with the role `{}` and a token of the ServiceAccount `{account}`, and gave the token back",
        login.mount, login.role
    );
    Ok(Done {
        text,
        request: Some(request),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KvVersion;

    #[test]
    fn a_decoy_is_known_in_a_finding_by_its_path_and_its_namespace() {
        let path = |namespace: Option<&str>| {
            let decoy = Drill::Decoy(KvPath {
                namespace: namespace.map(str::to_owned),
                mount: "kvv2/".to_owned(),
                version: KvVersion::V2,
                path: "aws/prod-root".to_owned(),
            });
            decoy.path()
        };
        assert_eq!(path(None).as_deref(), Some("kvv2/data/aws/prod-root"));
        assert_eq!(
            path(Some("a/b")).as_deref(),
            Some("a/b/kvv2/data/aws/prod-root")
        );
    }
}
