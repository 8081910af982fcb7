//! The check of the prober's rights in Kubernetes, verb by verb.

use futures::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use super::super::ask::ask;
use super::super::fix::{Fix, Manifest, Name};
use super::super::{Ledger, Topic};
use crate::config::Config;
use crate::kubernetes;
use crate::model::record::Obstacle;
use crate::rights::{Need, Rights, Rule, Subject, metrics_account};
use crate::scrape;

/// How many questions are asked at once.
const AT_ONCE: usize = 8;

/// Looks at each rule. Returns whether the prober may do anything in the canaries' namespace.
pub(super) async fn look(
    client: &Client,
    config: &Config,
    rights: &Rights,
    subject: &Subject,
    ledger: &mut Ledger,
) -> bool {
    let home = &config.kubernetes.namespace;
    let asked =
        stream::iter(&rights.rules).map(|rule| async move { (rule, missing(client, rule).await) });
    let answers: Vec<_> = asked.buffered(AT_ONCE).collect().await;
    let any = answers.iter().any(|(rule, missing)| {
        let none = |missing: &Vec<_>| missing.len() == rule.verbs.len();
        rule.namespace.as_ref() == Some(home)
            && rule.need == Need::Run
            && !missing.as_ref().is_ok_and(none)
    });
    for (rule, missing) in answers {
        let what = if rule.group.is_empty() {
            rule.resource.clone()
        } else {
            format!("{}.{}", rule.resource, rule.group)
        };
        let names = if rule.names.is_empty() {
            String::new()
        } else {
            format!(" {}", rule.names.join(", "))
        };
        let place = rule.namespace.as_deref().unwrap_or("all namespaces");
        let what = format!("{what}{names} in {place}");
        let missing = match missing {
            Ok(missing) if missing.is_empty() => {
                ledger.good(Topic::Rbac, &what, rule.verbs.join(", "));
                continue;
            }
            Ok(missing) => missing.join(", "),
            Err(obstacle) => {
                ledger.unknown(Topic::Rbac, &what, obstacle.text);
                continue;
            }
        };
        let text = format!(
            "asked the API server what the prober may do with {what}: it may not {missing}"
        );
        match rule.need {
            Need::Run if rule.namespace.as_ref() == Some(home) && !any => {
                ledger.finding(Topic::Rbac, &what, text, whole(rights, subject, home));
            }
            need @ Need::Run => {
                let fix = granted(rights, subject, rule.namespace.as_deref(), need);
                ledger.finding(Topic::Rbac, &what, text, fix);
            }
            need @ Need::Doctor => {
                let text = format!(
                    "{text}; no run needs that, but without it doctor can't check everything"
                );
                let fix = granted(rights, subject, rule.namespace.as_deref(), need);
                ledger.warning(Topic::Rbac, &what, text, Some(fix));
            }
        }
    }
    urls(client, config, rights, subject, ledger).await;
    any
}

/// Looks at the paths that are no objects, as whoever gets them.
async fn urls(
    client: &Client,
    config: &Config,
    rights: &Rights,
    subject: &Subject,
    ledger: &mut Ledger,
) {
    let mut who = "the prober".to_owned();
    let mut other = None;
    if let (Some(name), false) = (metrics_account(config), rights.urls.is_empty()) {
        let home = &config.kubernetes.namespace;
        who = format!("the ServiceAccount `{home}/{name}`");
        let connected = match scrape::token(client, home, name).await {
            Ok(token) => kubernetes::connect_as(&config.kubernetes, Some(token))
                .await
                .map_err(|obstacle| obstacle.text),
            Err(error) => Err(error.text),
        };
        match connected {
            Ok(client) => other = Some(client),
            Err(text) => return ledger.unknown(Topic::Rbac, "nonResourceURL", text),
        }
    }
    let client = other.as_ref().unwrap_or(client);
    for url in &rights.urls {
        let what = format!("nonResourceURL {url}");
        let attributes = NonResourceAttributes {
            path: Some(url.clone()),
            verb: Some("get".to_owned()),
        };
        let spec = SelfSubjectAccessReviewSpec {
            non_resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        match allowed(client, spec).await {
            Ok(true) => ledger.good(Topic::Rbac, &what, "get"),
            Ok(false) => {
                let text = format!(
                    "asked the API server what {who} may do with the {what}: it may not get"
                );
                ledger.finding(Topic::Rbac, &what, text, Fix::urls(rights, subject));
            }
            Err(obstacle) => ledger.unknown(Topic::Rbac, &what, obstacle.text),
        }
    }
}

/// The namespace itself with all that a run needs in it.
pub(super) fn whole(rights: &Rights, subject: &Subject, namespace: &str) -> Fix {
    let manifests = Name::parse(namespace).and_then(|name| {
        let [role, binding] = Manifest::role(rights, subject, &name, Need::Run)?;
        Some([Manifest::namespace(&name), role, binding])
    });
    manifests.map_or_else(Fix::unnamed, |manifests| Fix::apply(&manifests))
}

/// What is needed in one namespace, or in all of them.
fn granted(rights: &Rights, subject: &Subject, namespace: Option<&str>, need: Need) -> Fix {
    let manifests = match namespace {
        Some(namespace) => {
            Name::parse(namespace).and_then(|name| Manifest::role(rights, subject, &name, need))
        }
        None => Manifest::wide_role(rights, subject),
    };
    manifests.map_or_else(Fix::unnamed, |manifests| Fix::apply(&manifests))
}

/// The verbs of a rule that the prober has not on all of the objects it names.
async fn missing(client: &Client, rule: &Rule) -> Result<Vec<&'static str>, Obstacle> {
    let mut missing = Vec::new();
    let any = [String::new()];
    let names = if rule.names.is_empty() {
        &any[..]
    } else {
        &rule.names
    };
    let (resource, subresource) = rule
        .resource
        .split_once('/')
        .map_or((rule.resource.as_str(), None), |(resource, sub)| {
            (resource, Some(sub))
        });
    for verb in &rule.verbs {
        for name in names {
            let attributes = ResourceAttributes {
                namespace: rule.namespace.clone(),
                group: Some(rule.group.clone()),
                resource: Some(resource.to_owned()),
                subresource: subresource.map(str::to_owned),
                verb: Some((*verb).to_owned()),
                name: Some(name.clone()).filter(|name| !name.is_empty()),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            if !allowed(client, spec).await? && !missing.contains(verb) {
                missing.push(*verb);
            }
        }
    }
    Ok(missing)
}

async fn allowed(client: &Client, spec: SelfSubjectAccessReviewSpec) -> Result<bool, Obstacle> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec,
        ..SelfSubjectAccessReview::default()
    };
    let review = ask("ask the API server what the prober may do", async {
        reviews.create(&PostParams::default(), &review).await
    });
    Ok(review.await?.status.is_some_and(|status| status.allowed))
}
