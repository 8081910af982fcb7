//! The client of the API server.

mod account;
mod bound;
mod denial;
mod files;
pub mod hands;
pub mod read;
mod way;

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ListParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::config;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::reply::Reply;
use crate::wire::{self, USER_AGENT, causes, fits_header};

/// How long a question of no weight may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to make a client: a plugin of the kubeconfig's is run for that, and may ask others.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How many clients are made at once. One that hangs can't be ended: this is what keeps it from being many.
static CONNECTING: Semaphore = Semaphore::const_new(4);

pub use account::account_token;
pub use denial::{Denial, denial};
pub use files::files;

/// Makes a client: in a cluster from its ServiceAccount (unless a context is configured), else from the
/// kubeconfig. What may hang in that holds up nobody else.
///
/// # Errors
/// The configuration is missing or can't be read, or a plugin that it names does not end. The API server itself is not
/// asked yet.
pub async fn connect(config: &config::Kubernetes) -> Result<Client, Obstacle> {
    connect_as(config, None).await
}

/// As [`connect`], but as whom `token` is of, if there is one.
///
/// # Errors
/// As those of [`connect`].
pub async fn connect_as(
    config: &config::Kubernetes,
    token: Option<SecretString>,
) -> Result<Client, Obstacle> {
    let hangs = || {
        Obstacle::new(
            Peer::Kubernetes,
            Hindrance::Unreachable,
            format!(
                "tried to create a Kubernetes client, but it took more than {} s; does a plugin (`exec`) in the kubeconfig hang?",
                CONNECT_LIMIT.as_secs()
            ),
        )
    };
    let permit = CONNECTING.try_acquire().map_err(|_| hangs())?;
    let (config, runtime) = (config.clone(), Handle::current());
    let made = spawn_blocking(move || {
        let made = runtime.block_on(make(&config, token));
        drop(permit);
        made
    });
    timeout(CONNECT_LIMIT, made)
        .await
        .map_err(|_| hangs())?
        .unwrap_or_else(|_| Err(hangs()))
}

async fn make(
    config: &config::Kubernetes,
    token: Option<SecretString>,
) -> Result<Client, Obstacle> {
    let refused = |text: String| Obstacle::new(Peer::Kubernetes, Hindrance::Denied, text);
    let (mut kube, proxy) = if in_cluster(config) {
        let found = Config::incluster().map_err(|error| {
            refused(format!(
                "tried to use the pod's ServiceAccount for Kubernetes, but {}",
                causes(&error)
            ))
        });
        (found?, None)
    } else {
        let unusable = |error: &KubeconfigError| {
            refused(format!(
                "tried to use the kubeconfig, but {}",
                causes(error)
            ))
        };
        let kubeconfig = read_kubeconfig(config.kubeconfig.as_deref())
            .map_err(|text| Obstacle::new(Peer::Kubernetes, Hindrance::Unreachable, text))?;
        let options = KubeConfigOptions {
            context: config.context.clone(),
            ..KubeConfigOptions::default()
        };
        let proxy = way::named(&kubeconfig, config.context.as_deref());
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        (config.map_err(|error| unusable(&error))?, proxy)
    };
    if token.is_some() {
        kube.auth_info = AuthInfo {
            token,
            ..AuthInfo::default()
        };
    }
    let token = kube.auth_info.token.as_ref();
    if token.is_some_and(|token| !fits_header(token.expose_secret())) {
        let text = "tried to use the kubeconfig, but its token is not one line of printable characters without blanks";
        return Err(refused(text.to_owned()));
    }
    // A retry would be timed as if the operator had been slow.
    kube.default_retry = false;
    kube.headers.push((
        http::header::USER_AGENT,
        http::HeaderValue::from_static(USER_AGENT),
    ));
    way::client(kube, proxy.as_deref())
        .map_err(|why| refused(format!("tried to create a Kubernetes client, but {why}")))
}

/// Whether the client is that of a ServiceAccount in its cluster.
fn in_cluster(config: &config::Kubernetes) -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && config.context.is_none()
        && config.kubeconfig.is_none()
}

/// Reads the kubeconfig: `file`, if the command line names one. Of several that KUBECONFIG names, those that are absent are
/// left out, as kubectl does; if it names none that is there, that is an error, not a reason to take another.
fn read_kubeconfig(file: Option<&Path>) -> Result<Kubeconfig, String> {
    if let Some(file) = file {
        return Kubeconfig::read_from(file).map_err(|error| {
            format!(
                "tried to read the kubeconfig of `--kubeconfig`, but {}",
                causes(&error)
            )
        });
    }
    let unusable = |error: &KubeconfigError| {
        format!(
            "tried to read the kubeconfig (KUBECONFIG, else ~/.kube/config), but {}; outside a cluster, set KUBECONFIG",
            causes(error)
        )
    };
    let named = std::env::var_os("KUBECONFIG").filter(|named| !named.is_empty());
    let Some(named) = named else {
        return Kubeconfig::read().map_err(|error| unusable(&error));
    };
    let present: Vec<_> = std::env::split_paths(&named)
        .filter(|path| path.exists())
        .collect();
    if present.is_empty() {
        let named = named.to_string_lossy();
        return Err(format!(
            "tried to read the kubeconfig: KUBECONFIG names `{named}`, which does not exist"
        ));
    }
    let merged = present.iter().try_fold(Kubeconfig::default(), |all, path| {
        all.merge(Kubeconfig::read_from(path)?)
    });
    merged.map_err(|error| unusable(&error))
}

/// Sends a request of no weight, so that the next one finds an open connection.
pub async fn warm(client: &Client, namespace: &str, selector: &str) -> Result<(), Obstacle> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(selector);
    let version = read::version(client, &secrets, &params).await;
    version
        .map(drop)
        .map_err(|error| obstacle(&format!("list Secrets in `{namespace}`"), &error))
}

/// Whether a request was refused as its object is not, or not any more, as the request supposed.
pub fn changed(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict")
}

/// Whether the object of this name was not found. Where it is its kind, or its namespace, that is not there, the answer
/// names that, or nothing.
pub fn absent(error: &kube::Error, name: &str) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let named = status.details.as_ref().map(|details| details.name.as_str());
    status.code == 404 && named == Some(name)
}

/// The UID of a namespace.
///
/// # Errors
/// The API server does not tell.
pub async fn namespace_uid(client: &Client, namespace: &str) -> Result<String, Obstacle> {
    let what = format!("get Namespace `{namespace}`");
    let api: Api<Namespace> = Api::all(client.clone());
    let found = wire::limited(Peer::Kubernetes, &what, QUESTION_LIMIT, async {
        let found = api.get_metadata(namespace).await;
        found.map_err(|error| obstacle(&what, &error))
    });
    Ok(found.await?.metadata.uid.unwrap_or_default())
}

/// Says what stopped a request: `what` reads like "create VaultStaticSecret `ns/name`".
pub fn obstacle(what: &str, error: &kube::Error) -> Obstacle {
    let (how, reply, text) = match error {
        kube::Error::Api(status) => {
            let how = match status.code {
                429 | 500.. => Hindrance::Failed,
                _ => Hindrance::Denied,
            };
            let hint = match status.code {
                401 => "; its token is not valid, or no longer",
                // A quota or an admission policy refuses with 403 too, and says so in words of its own.
                403 if matches!(denial(error), Some(Denial::Rights)) => "; grant the right by RBAC",
                409 if changed(error) => "; the object was changed meanwhile",
                // The words for a group that is not there, and for a kind in one that is.
                404 if [
                    "could not find the requested resource",
                    "404 page not found",
                ]
                .iter()
                .any(|words| status.message.contains(words)) =>
                {
                    "; are the operator's CRDs installed?"
                }
                _ => "",
            };
            let message = if status.message.is_empty() {
                &status.reason
            } else {
                &status.message
            };
            let reason = Some(&status.reason).filter(|reason| !reason.is_empty());
            let reply = Reply::Http {
                status: status.code,
                reason: reason.map(Into::into),
            };
            (
                how,
                reply,
                format!(
                    "tried to {what}: the API server answered {}: {message}{hint}",
                    status.code
                ),
            )
        }
        other if bound::too_long(other) => (
            Hindrance::Failed,
            Reply::Broken,
            format!(
                "tried to {what}: the API server's response is larger than {} MiB and was not read",
                bound::LONGEST >> 20
            ),
        ),
        other => (
            Hindrance::Unreachable,
            wire::failure::reply(other),
            format!(
                "tried to {what}: no answer from the API server: {}",
                causes(other)
            ),
        ),
    };
    Obstacle::new(Peer::Kubernetes, how, text).with(reply)
}
