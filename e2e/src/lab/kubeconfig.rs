//! Kubeconfigs, as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Someone whom a kubeconfig has a context for, of the same name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User<'a> {
    pub(crate) name: &'a str,
    pub(crate) token: &'a str,
    pub(crate) namespace: &'a str,
}

/// A kubeconfig for these users of a cluster; the first is the current one. JSON is YAML.
pub(crate) fn render(address: &str, ca: &str, users: &[User<'_>]) -> String {
    let named = |user: &User<'_>| json!({"name": user.name, "user": {"token": user.token}});
    let context = |user: &User<'_>| {
        let context = json!({"cluster": "lab", "user": user.name, "namespace": user.namespace});
        json!({"name": user.name, "context": context})
    };
    let cluster = json!({"server": address, "certificate-authority-data": STANDARD.encode(ca)});
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": users.iter().map(named).collect::<Vec<_>>(),
        "contexts": users.iter().map(context).collect::<Vec<_>>(),
        "current-context": users.first().map(|user| user.name),
    });
    format!("{config:#}\n")
}
