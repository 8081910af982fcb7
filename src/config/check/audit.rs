//! The check of the audit logs.

use std::collections::HashMap;

use url::Url;

use super::Checker;
use crate::config::problem::quoted;
use crate::config::{
    Audit, AuditReader, AuditServer, AuditSource, Decoy, Feed, Identities, Identity, KUBERNETES,
    ReaderBy, ServerTls, raw, rule,
};

impl Checker {
    /// Where the audit logs are judged, if that is elsewhere: then nothing else is said of them here.
    pub(super) fn audit_url(&mut self, raw: &raw::Audit) -> Option<Url> {
        let url = self.by("audit.url", raw.url.as_deref(), rule::parsed_url)?;
        let all = [
            ("state", raw.state.is_some()),
            ("kubernetes", raw.kubernetes.is_some()),
            ("server", raw.server.is_some()),
            ("identities", raw.identities.is_some()),
            ("address", raw.address.is_some()),
            ("trusted", raw.trusted.is_some()),
            ("readers", raw.readers.is_some()),
            ("decoys", raw.decoys.is_some()),
            ("grace", raw.grace.is_some()),
            ("lag", raw.lag.is_some()),
            ("remember", raw.remember.is_some()),
            ("trace", raw.trace.is_some()),
        ];
        let beside = all.into_iter().filter(|(_, there)| *there);
        let beside: Vec<_> = beside.map(|(key, _)| format!("`audit.{key}`")).collect();
        // Beside `sources`, one of both is too many, and that is told.
        if !beside.is_empty() && raw.sources.is_none() {
            let why = format!(
                "`audit.url` leaves the judging to another prober, so nothing can be set beside it: remove {}, or the URL",
                beside.join(", ")
            );
            self.report_key("audit.url", why);
        }
        Some(url)
    }

    pub(super) fn audit(&mut self, raw: &raw::Audit, vault: Option<&String>) -> Option<Audit> {
        if raw.state.is_none() && raw.sources.is_some() {
            let lacks = "`audit` lacks `state`: the folder of positions, pending suspects and known tokens; it must survive a restart";
            self.report("audit", lacks.to_owned());
        }
        let state = self.by("audit.state", raw.state.as_deref(), rule::file);
        let sources = self.audit_sources(raw);
        let server = self.audit_server(
            raw.server.as_ref().unwrap_or(&raw::AuditServer::default()),
            &sources,
        );
        let identities = self.identities(raw.identities.as_ref(), vault);
        let trusted = raw.trusted.iter().flatten().enumerate();
        let trusted = trusted
            .filter_map(|(index, text)| {
                self.by(
                    &format!("audit.trusted[{index}]"),
                    Some(text),
                    rule::network,
                )
            })
            .collect();
        let readers = raw.readers.iter().flatten().enumerate();
        let readers = readers
            .filter_map(|(index, reader)| self.reader(&format!("audit.readers[{index}]"), reader))
            .collect();
        let decoys = raw.decoys.iter().flatten().enumerate();
        let decoys = decoys
            .filter_map(|(index, decoy)| {
                let at = |key: &str| format!("audit.decoys[{index}].{key}");
                let mount = self.by(&at("mount"), decoy.mount.as_deref(), rule::vault_path);
                let path = self.by(&at("path"), decoy.path.as_deref(), rule::vault_path);
                Some(Decoy {
                    mount: mount?,
                    path: path?,
                })
            })
            .collect();
        let mut period = |key: &str, text: Option<&str>, default: &str| {
            self.by_or(&format!("audit.{key}"), text, default, rule::period)
        };
        let grace = period("grace", raw.grace.as_deref(), raw::GRACE);
        let lag = period("lag", raw.lag.as_deref(), raw::LAG);
        let remember = raw.remember.as_deref();
        let remember = self.by_or("audit.remember", remember, raw::REMEMBER, rule::life);
        Some(Audit {
            state: state?,
            sources,
            server: server?,
            identities,
            address: raw.address.unwrap_or_default(),
            trusted,
            readers,
            decoys,
            grace: grace?,
            lag: lag?,
            remember: remember?,
            trace: raw.trace.unwrap_or(true),
        })
    }

    fn audit_sources(&mut self, raw: &raw::Audit) -> Vec<AuditSource> {
        let mut first = HashMap::new();
        let mut sources = Vec::new();
        if let Some(kubernetes) = &raw.kubernetes {
            let path = "audit.kubernetes";
            self.once(&mut first, "source", path, Some(KUBERNETES));
            let feed = self.feed(path, kubernetes.file.as_ref(), kubernetes.http.as_ref());
            sources.extend(feed.map(|feed| AuditSource {
                name: KUBERNETES.into(),
                feed,
            }));
        }
        for (index, raw) in raw.sources.iter().flatten().enumerate() {
            let path = format!("audit.sources[{index}]");
            self.once(&mut first, "source", &path, raw.name.as_deref());
            sources.extend(self.audit_source(&path, raw));
        }
        sources
    }

    /// How the lines of a source come, if it is by a file or by HTTP.
    fn feed(
        &mut self,
        path: &str,
        file: Option<&raw::AuditFile>,
        http: Option<&raw::Http>,
    ) -> Option<Feed> {
        let at = |key: &str| format!("{path}.{key}");
        if let Some(file) = file {
            let path = self.by(&at("file.path"), file.path.as_deref(), rule::file)?;
            let from = file.from.unwrap_or_default();
            return Some(Feed::File { path, from });
        }
        let token = http?.bearer_token_file.as_deref();
        let bearer_token_file = self.by(&at("http.bearerTokenFile"), token, rule::file);
        Some(Feed::Http { bearer_token_file })
    }

    fn audit_source(&mut self, path: &str, raw: &raw::AuditSource) -> Option<AuditSource> {
        let at = |key: &str| format!("{path}.{key}");
        let name = self.by(&at("name"), raw.name.as_deref(), rule::source);
        let feed = if let Some(pods) = &raw.pod_logs {
            let namespace = pods.namespace.as_deref();
            let namespace = self.by(&at("podLogs.namespace"), namespace, rule::namespace);
            let selector = pods.selector.as_deref();
            let selector = self.by(&at("podLogs.selector"), selector, rule::label_selector);
            let container = pods.container.as_deref();
            let container = self.by(&at("podLogs.container"), container, rule::namespace);
            namespace
                .zip(selector)
                .map(|(namespace, selector)| Feed::PodLogs {
                    namespace,
                    selector,
                    container,
                })
        } else {
            self.feed(path, raw.file.as_ref(), raw.http.as_ref())
        };
        Some(AuditSource {
            name: name?,
            feed: feed?,
        })
    }

    fn audit_server(
        &mut self,
        raw: &raw::AuditServer,
        sources: &[AuditSource],
    ) -> Option<AuditServer> {
        let at = |key: &str| format!("audit.server.{key}");
        let written = raw.listen.as_deref();
        let listen = self.by_or(&at("listen"), written, raw::AUDIT_LISTEN, rule::listen);
        let token = raw.bearer_token_file.as_deref();
        let bearer_token_file = self.by(&at("bearerTokenFile"), token, rule::file);
        let tls = raw.tls.as_ref().and_then(|tls| {
            let cert_file = self.by(&at("tls.certFile"), tls.cert_file.as_deref(), rule::file);
            let key_file = self.by(&at("tls.keyFile"), tls.key_file.as_deref(), rule::file);
            let ca = tls.client_ca_file.as_deref();
            let client_ca_file = self.by(&at("tls.clientCaFile"), ca, rule::file);
            Some(ServerTls {
                cert_file: cert_file?,
                key_file: key_file?,
                client_ca_file,
            })
        });
        let asks = |tls: &raw::ServerTls| tls.client_ca_file.is_some();
        let mut http = sources.iter().filter_map(|source| match &source.feed {
            Feed::Http { bearer_token_file } => Some(bearer_token_file),
            Feed::File { .. } | Feed::PodLogs { .. } => None,
        });
        let guarded = raw.bearer_token_file.is_some()
            || raw.tls.as_ref().is_some_and(asks)
            || (!sources.is_empty() && http.all(Option::is_some));
        if let Some(listen) = listen
            && !listen.ip().is_loopback()
            && !guarded
        {
            let open = format!(
                "`{}` is `{listen}`, which others can reach; set `bearerTokenFile`, or `tls` with `clientCaFile`",
                at("listen")
            );
            self.report(&at("listen"), open);
        }
        Some(AuditServer {
            listen: listen?,
            tls,
            bearer_token_file,
        })
    }

    fn identities(&mut self, raw: Option<&raw::Identities>, vault: Option<&String>) -> Identities {
        let path = "audit.identities";
        match raw {
            None => Identities::Auto,
            Some(raw::Identities::Word(word)) => {
                if word != raw::AUTO {
                    let wrong =
                        format!("`{path}` is {}; it must be `auto` or a list", quoted(word));
                    self.report(path, wrong);
                }
                Identities::Auto
            }
            Some(raw::Identities::Listed(list)) => {
                let list = list.iter().enumerate();
                let listed = list.filter_map(|(index, raw)| {
                    let at = |key: &str| format!("{path}[{index}].{key}");
                    let mount = raw.mount.as_deref();
                    let mount = self.by_or(&at("mount"), mount, "kubernetes", rule::auth_mount);
                    let role = self.by(&at("role"), raw.role.as_deref(), rule::role);
                    let account = raw.service_account.as_deref();
                    let account = self.by(&at("serviceAccount"), account, rule::service_account);
                    Some(Identity {
                        mount: mount?,
                        role: role?,
                        service_account: account?,
                        namespace: vault.cloned(),
                    })
                });
                Identities::Listed(listed.collect())
            }
        }
    }

    fn reader(&mut self, path: &str, raw: &raw::AuditReader) -> Option<AuditReader> {
        let at = |key: &str| format!("{path}.{key}");
        let paths = self.by(&at("path"), raw.path.as_deref(), rule::line);
        let ways = [
            ("displayName", ReaderBy::DisplayName, &raw.display_name),
            ("role", ReaderBy::Role, &raw.role),
            (
                "serviceAccount",
                ReaderBy::ServiceAccount,
                &raw.service_account,
            ),
            ("policy", ReaderBy::Policy, &raw.policy),
            ("entity", ReaderBy::Entity, &raw.entity),
        ];
        let written = ways.into_iter().find(|(_, _, value)| value.is_some());
        let (key, by, value) = written?;
        let pattern = self.by(&at(key), value.as_deref(), rule::line)?;
        Some(AuditReader {
            path: paths,
            by,
            pattern,
        })
    }
}
