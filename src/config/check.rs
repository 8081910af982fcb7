//! The check of a configuration: from text to a value that can run, or to every problem.

mod audit;
mod probe;
mod push;
mod steps;
mod vault;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::problem::{Problem, Problems, quoted};
use super::rule::{self, Checked};
use super::validate::{Places, Validated, validate};
use super::{
    Access, Config, History, Kubernetes, Marks, MetricsSource, Operator, Server, raw, tree,
};

/// A commented example, with every key.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// Reads the configuration `text`. `file` is how its problems call it; `env` looks up an environment
/// variable, of which only `VAULT_ADDR` is asked for.
pub fn load(
    text: &str,
    file: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Config, Problems> {
    let tree = tree::parse(text).map_err(|problem| Problems::new(file, text, vec![problem]))?;
    let Validated {
        json,
        problems,
        places,
    } = validate(&tree, &raw::schema_value());
    let mut checker = Checker { places, problems };
    let digest = digest(&json);
    let config = match serde_json::from_value(json) {
        Ok(raw) => checker.config(raw, &env, digest),
        // The validation leaves nothing that does not fit, so this is a difference between `raw` and its schema.
        Err(_) => None,
    };
    match config {
        Some(config) if checker.problems.is_empty() => Ok(config),
        _ => {
            if checker.problems.is_empty() {
                checker.report("", "the configuration can't be read".to_owned());
            }
            Err(Problems::new(file, text, checker.problems))
        }
    }
}

/// What all probes share.
struct Shared {
    /// The operator's namespace.
    operators: Option<String>,
    /// The prober's own namespace in Vault.
    vault: Option<String>,
    marks: Marks,
}

/// The rule for a value.
type Value = fn(&str) -> Checked<String>;

/// How many bytes of a digest tell two configurations apart.
const DIGEST: usize = 8;

/// A digest of what is written: keys have one order by now.
fn digest(json: &serde_json::Value) -> String {
    let digest = Sha256::digest(json.to_string());
    let bytes = digest.iter().take(DIGEST);
    bytes.fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Collects problems while it turns what was written into what is meant.
///
/// A value that is wrong comes back as `None` once its problem is noted: what is made of it afterwards
/// is never handed out.
struct Checker {
    places: Places,
    problems: Vec<Problem>,
}

impl Checker {
    /// Notes what is wrong with the value at `path`.
    fn report(&mut self, path: &str, message: String) {
        self.problems.push(Problem {
            position: self.places.value(path),
            message,
        });
    }

    /// Notes that the `name` of the entry at `path` of a list is another's already. `first` has where each was first seen, and
    /// `what` is what the entries are.
    fn once<'n>(
        &mut self,
        first: &mut HashMap<&'n str, String>,
        what: &str,
        path: &str,
        name: Option<&'n str>,
    ) {
        let Some(name) = name else { return };
        let at = format!("{path}.name");
        if let Some(other) = first.get(name) {
            let line = self.places.value(other).line;
            let message = format!(
                "`{at}` is {}, as is `{other}` on line {line}; \
                 each {what} must have a name of its own",
                quoted(name),
            );
            self.report(&at, message);
        } else {
            first.insert(name, at);
        }
    }

    /// Notes what is wrong with the key at `path` being there, or not being there.
    fn report_key(&mut self, path: &str, message: String) {
        self.problems.push(Problem {
            position: self.places.key(path),
            message,
        });
    }

    /// Puts the text at `path` to a rule, if there is one.
    fn by<T>(
        &mut self,
        path: &str,
        text: Option<&str>,
        rule: impl Fn(&str) -> Checked<T>,
    ) -> Option<T> {
        match rule(text?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.report(path, format!("`{path}` {wrong}"));
                None
            }
        }
    }

    /// As [`Self::by`], with a default.
    fn by_or<T>(
        &mut self,
        path: &str,
        text: Option<&str>,
        default: &str,
        rule: impl Fn(&str) -> Checked<T>,
    ) -> Option<T> {
        self.by(path, text.or(Some(default)), rule)
    }

    fn config(
        &mut self,
        raw: raw::Config,
        env: &impl Fn(&str) -> Option<String>,
        digest: String,
    ) -> Option<Config> {
        let vault = self.vault(&raw.vault.unwrap_or_default(), env);
        let kubernetes = self.kubernetes(&raw.kubernetes.unwrap_or_default());
        let operator = self.operator(&raw.operator.unwrap_or_default());
        let shared = Shared {
            operators: operator.as_ref().map(|operator| operator.namespace.clone()),
            vault: vault.as_ref().and_then(|vault| vault.namespace.clone()),
            marks: self.marks(&raw.canaries.unwrap_or_default()),
        };
        let labels = self.labels(raw.labels.as_ref());
        let probes = self.probes(&raw.probes.unwrap_or_default(), &shared);
        let server = raw.server.unwrap_or_default();
        let listen = self.by_or(
            "server.listen",
            server.listen.as_deref(),
            raw::LISTEN,
            rule::listen,
        );
        let external_url = self.by(
            "server.externalURL",
            server.external_url.as_deref(),
            rule::parsed_url,
        );
        let push = self.push(&raw.push.unwrap_or_default());
        let history = raw.history.and_then(|history| self.history(&history));
        let audit_url = raw.audit.as_ref().and_then(|audit| self.audit_url(audit));
        let judges = raw.audit.filter(|audit| audit.url.is_none());
        let audit = judges.and_then(|audit| self.audit(&audit, shared.vault.as_ref()));
        let instance = self.by_or(
            "instance",
            raw.instance.as_deref(),
            raw::INSTANCE,
            rule::name,
        );
        Some(Config {
            vault: vault?,
            kubernetes: kubernetes?,
            labels,
            operator: operator?,
            probes,
            server: Server {
                listen: listen?,
                external_url,
            },
            push,
            history,
            audit,
            audit_url,
            instance: instance?,
            digest,
        })
    }

    fn labels(&mut self, raw: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for (name, text) in raw.into_iter().flatten() {
            let path = format!("labels.{name}");
            if let Err(wrong) = rule::series_label(name) {
                self.report_key(&path, format!("`{path}` {wrong}"));
            }
            if let Some(text) = self.by(&path, Some(text), rule::series_label_value) {
                labels.insert(name.clone(), text);
            }
        }
        labels
    }

    fn marks(&mut self, raw: &raw::Canaries) -> Marks {
        let mut checked = |kind: &str, raw: Option<&BTreeMap<String, String>>, value: Value| {
            let mut marks = BTreeMap::new();
            for (name, text) in raw.into_iter().flatten() {
                let path = format!("canaries.{kind}.{name}");
                if let Err(wrong) = rule::mark(name) {
                    self.report_key(&path, format!("`{path}` {wrong}"));
                }
                if let Some(text) = self.by(&path, Some(text), value) {
                    marks.insert(name.clone(), text);
                }
            }
            marks
        };
        Marks {
            labels: checked("labels", raw.labels.as_ref(), rule::label_value),
            annotations: checked("annotations", raw.annotations.as_ref(), |text| {
                Ok(text.to_owned())
            }),
        }
    }

    fn kubernetes(&mut self, raw: &raw::Kubernetes) -> Option<Kubernetes> {
        let namespace = raw.namespace.as_deref();
        let namespace = self.by_or(
            "kubernetes.namespace",
            namespace,
            raw::NAMESPACE,
            rule::namespace,
        );
        let context = self.by("kubernetes.context", raw.context.as_deref(), rule::line);
        Some(Kubernetes {
            namespace: namespace?,
            context,
            kubeconfig: None,
        })
    }

    fn operator(&mut self, raw: &raw::Operator) -> Option<Operator> {
        let namespace = self.by_or(
            "operator.namespace",
            raw.namespace.as_deref(),
            raw::OPERATOR_NAMESPACE,
            rule::namespace,
        );
        let pod_selector = self.by_or(
            "operator.podSelector",
            raw.pod_selector.as_deref(),
            raw::POD_SELECTOR,
            rule::label_selector,
        );
        let metrics = raw
            .metrics
            .as_ref()
            .and_then(|metrics| self.metrics(metrics));
        Some(Operator {
            namespace: namespace?,
            pod_selector: pod_selector?,
            metrics,
        })
    }

    fn metrics(&mut self, raw: &raw::Metrics) -> Option<MetricsSource> {
        let at = |key: &str| format!("operator.metrics.{key}");
        if raw.service_account.is_some() && raw.bearer_token_file.is_some() {
            let both = "`operator.metrics` has `serviceAccount` and `bearerTokenFile`; at most one of them is allowed";
            self.report_key(&at("bearerTokenFile"), both.to_owned());
        }
        let access = Access {
            bearer_token_file: self.by(
                &at("bearerTokenFile"),
                raw.bearer_token_file.as_deref(),
                rule::file,
            ),
            service_account: self.by(
                &at("serviceAccount"),
                raw.service_account.as_deref(),
                rule::account,
            ),
            ca_file: self.by(&at("caFile"), raw.ca_file.as_deref(), rule::file),
            insecure_skip_verify: raw.insecure_skip_verify.unwrap_or_default(),
        };
        let url = self.by(&at("url"), raw.url.as_deref(), rule::url);
        let prometheus = raw.prometheus.as_ref().and_then(|source| {
            let url = self.by(&at("prometheus.url"), source.url.as_deref(), rule::url);
            let selector = source.selector.as_deref();
            let selector = self.by(&at("prometheus.selector"), selector, rule::series_selector);
            Some((url?.trim_end_matches('/').to_owned(), selector?))
        });
        if let Some(url) = url {
            Some(MetricsSource::Url { url, access })
        } else if let Some(pods) = &raw.pods {
            let port = pods.port.unwrap_or(raw::METRICS_PORT);
            Some(MetricsSource::Pods {
                port,
                scheme: pods.scheme.unwrap_or_default(),
                access,
            })
        } else {
            prometheus.map(|(url, selector)| MetricsSource::Prometheus {
                url,
                selector,
                access,
            })
        }
    }

    fn history(&mut self, raw: &raw::History) -> Option<History> {
        let path = self.by("history.path", raw.path.as_deref(), rule::file);
        let retention = raw.retention.as_deref();
        let retention = self.by_or("history.retention", retention, raw::RETENTION, rule::life);
        Some(History {
            path: path?,
            retention: retention?,
        })
    }
}
