//! The way to the API server: direct, or through a proxy, as kubectl takes it.

use std::error::Error;
use std::fmt;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::Kubeconfig;
use kube::{Client, Config};
use tower::layer::layer_fn;
use tower::{BoxError, ServiceBuilder};
use url::Url;

use super::bound::Bounded;
use crate::wire::causes;
use crate::wire::proxy::{Proxies, Proxy};

/// The `proxy-url` that a kubeconfig has for the cluster of this context, or of its current one.
pub(super) fn named(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let wanted = context.or(kubeconfig.current_context.as_deref())?;
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|context| context.name == wanted)?;
    let cluster = &context.context.as_ref()?.cluster;
    let mut clusters = kubeconfig.clusters.iter();
    let cluster = clusters.find(|named| named.name == *cluster)?;
    let proxy = cluster.cluster.as_ref()?.proxy_url.clone();
    proxy.filter(|proxy| !proxy.is_empty())
}

/// A client that goes through the proxy that the kubeconfig names, if it names one, or else as the environment says.
///
/// # Errors
/// The proxy is none that can be asked, or the client can't be made.
pub(super) fn client(mut config: Config, named: Option<&str>) -> Result<Client, String> {
    // What the environment says is read here, and not by `kube`, which holds NO_PROXY against the proxy itself.
    config.proxy_url = None;
    let proxy = if let Some(named) = named {
        let proxy = Proxy::of_kubeconfig(named);
        let unusable =
            "its `proxy-url` is not the URL of an HTTP proxy, such as `http://proxy:3128`";
        Some(proxy.ok_or(unusable)?)
    } else {
        let url = Url::parse(&config.cluster_url.to_string()).ok();
        let proxies = Proxies::of_environment();
        url.and_then(|url| proxies.on_the_way_to(&url).cloned())
    };
    let Some(proxy) = proxy else {
        let builder = ClientBuilder::try_from(config).map_err(|error| causes(&error))?;
        return Ok(builder.with_layer(&layer_fn(Bounded)).build());
    };
    if proxy.url().scheme() != "http" {
        let place = proxy.place();
        return Err(format!(
            "the proxy {place} ({}) is one that is asked by TLS, which is not supported here",
            proxy.named()
        ));
    }
    through(config, proxy).map_err(|error| causes(&error))
}

fn through(config: Config, proxy: Proxy) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let matcher = Matcher::builder().all(proxy.url().as_str()).build();
    let connector = match matcher.intercept(&config.cluster_url) {
        Some(proxy) => {
            let tunnel = Tunnel::new(proxy.uri().clone(), connector);
            match proxy.basic_auth() {
                Some(credentials) => tunnel.with_auth(credentials.clone()),
                None => tunnel,
            }
        }
        None => Tunnel::new(config.cluster_url.clone(), connector),
    };
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Builder::new(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .map_err(move |error: BoxError| Through {
            proxy: proxy.to_string(),
            error,
        })
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    let builder = ClientBuilder::new(service, config.default_namespace);
    Ok(builder.with_layer(&layer_fn(Bounded)).build())
}

/// An error that was met behind a proxy, or at it.
#[derive(Debug)]
struct Through {
    proxy: String,
    error: BoxError,
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.proxy, self.error)
    }
}

impl Error for Through {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}
