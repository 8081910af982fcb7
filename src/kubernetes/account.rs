//! Tokens of ServiceAccounts, as the API server issues them.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};
use secrecy::SecretString;

use super::obstacle;
use crate::model::name::ObjectRef;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::wire::http::one_line;

/// How long a token is good for, in seconds: the API server grants no shorter life.
const LIFE: i64 = 600;

/// Asks the API server for a token of a ServiceAccount, for these audiences; for itself, if there are none.
///
/// # Errors
/// What was tried and what came back.
pub async fn account_token(
    client: &Client,
    account: &ObjectRef,
    audiences: &[String],
) -> Result<SecretString, Obstacle> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &account.namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audiences.to_vec(),
            expiration_seconds: Some(LIFE),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let what = format!("request a token of the ServiceAccount `{account}`");
    let answer = accounts
        .create_token_request(&account.name, &PostParams::default(), &request)
        .await
        .map_err(|error| obstacle(&what, &error))?;
    let token = answer.status.map(|status| status.token).unwrap_or_default();
    let unfit = |text: String| Obstacle::new(Peer::Kubernetes, Hindrance::Failed, text);
    if token.is_empty() {
        return Err(unfit(format!(
            "tried to {what}: the API server's response has none"
        )));
    }
    one_line(&token, "the token that the API server issued").map_err(unfit)
}
