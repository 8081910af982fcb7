//! The checks of what audit logs are read from and judged by, as far as the prober sees it itself: files, listener, rights.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::time::Duration;

use super::fix::Fix;
use super::{Found, Ledger, Topic, files};
use crate::config::{Audit, Config, Feed, KUBERNETES};
use crate::wire;
use crate::wire::sibling::Sibling;

/// How much of a file is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// How long another prober's answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks at the sources and at the listener.
pub(super) fn look(config: &Config, ledger: &mut Ledger) {
    let Some(audit) = &config.audit else {
        return;
    };
    let nodes = audit.sources.iter();
    let nodes = nodes.filter(|source| source.name != KUBERNETES).count();
    for source in &audit.sources {
        let (topic, name) = (Topic::AuditSource, source.name.as_str());
        match &source.feed {
            Feed::File { path, .. } => file(name, path, nodes > 1, ledger),
            Feed::Http { bearer_token_file } => {
                if let Some(file) = bearer_token_file {
                    let key = format!("http.bearerTokenFile of the source {name}");
                    token(&key, file, ledger);
                }
                let text = format!("lines are sent to {}", audit.server.listen);
                ledger.good(topic, name, text);
            }
            Feed::PodLogs {
                namespace,
                selector,
                ..
            } => ledger.good(
                topic,
                name,
                format!("the logs of the Pods in `{namespace}` with the labels `{selector}`"),
            ),
        }
    }
    if audit.sources.iter().any(|source| source.feed.is_http()) {
        listener(audit, ledger);
    }
}

/// Asks the prober that judges the audit logs in this one's place, if one is named.
pub(super) async fn elsewhere(config: &Config, ledger: &mut Ledger) {
    let Some(url) = &config.audit_url else {
        return;
    };
    let (topic, shown) = (Topic::AuditSource, url.as_str());
    let fix = "set `audit.url` to a prober that judges audit logs (`serve --only audit`, with `audit.sources`), and let this one reach its \
               `server.listen`";
    let told = match Sibling::at(url.clone(), LIMIT) {
        Ok(sibling) => {
            let told = sibling.sources().await;
            told.map_err(|untold| untold.to_string())
        }
        Err(why) => Err(format!("`audit.url` can't be used: {why}")),
    };
    match told {
        Ok(sources) => {
            let down = sources.iter().find_map(|source| {
                let reason = source.reason.as_ref()?;
                Some(format!("its source {} is down: {reason}", source.name))
            });
            match down {
                Some(down) => ledger.warning(topic, shown, down, None),
                None => ledger.good(
                    topic,
                    shown,
                    "judges audit logs, and tells runs what they say",
                ),
            }
        }
        Err(why) => ledger.finding(topic, shown, why, Fix::words(fix)),
    }
}

/// Looks at a log that is to be read, of one of several nodes or of the only one.
fn file(name: &str, path: &Path, several: bool, ledger: &mut Ledger) {
    let topic = Topic::AuditSource;
    let shown = path.display();
    // A folder can be opened, but not read.
    let opened = File::open(path).and_then(|mut file| file.read(&mut [0; 1]));
    let Err(error) = opened else {
        return ledger.good(topic, name, shown.to_string());
    };
    if several && name != KUBERNETES && wire::file::is_absent(path, &error) {
        let text = format!(
            "{shown} is not there: a node of Vault's writes none until it serves requests; if this one does, check the source's `file.path`"
        );
        return ledger.warning(topic, name, text, None);
    }
    let fix = match error.kind() {
        ErrorKind::NotFound => format!(
            "set the `file.path` of the source to where Vault's file device writes, as the prober sees it: it must be on the same machine \
             or volume; elsewhere, use `http` and `vso-prober audit forward`, and {shown} need not be there"
        ),
        ErrorKind::PermissionDenied => format!(
            "let the prober's user read {shown}: run as Vault's, or give the audit device a `mode` such as 0640 and the prober its group; \
             Vault's default is 0600"
        ),
        _ => format!("make {shown} a file that Vault's audit device writes"),
    };
    let text = format!("tried to read {shown}, the audit source `{name}`: {error}");
    ledger.finding(topic, name, text, Fix::words(fix));
}

/// Looks at where lines arrive.
fn listener(audit: &Audit, ledger: &mut Ledger) {
    let topic = Topic::AuditServer;
    let server = &audit.server;
    let address = server.listen.to_string();
    if let Some(file) = &server.bearer_token_file {
        token("audit.server.bearerTokenFile", file, ledger);
    }
    match &server.tls {
        Some(tls) => {
            pem("audit.server.tls.certFile", &tls.cert_file, ledger);
            pem("audit.server.tls.keyFile", &tls.key_file, ledger);
            if let Some(file) = &tls.client_ca_file {
                files::authority(ledger, "audit.server.tls.clientCaFile", file);
            }
            ledger.good(topic, &address, "serves with TLS");
        }
        None if server.listen.ip().is_loopback() => {
            ledger.good(topic, &address, "can be reached from this machine alone");
        }
        None => {
            let text = "audit lines and the senders' token cross the network in clear text: whoever reads the token can forge lines";
            let fix = "set `audit.server.tls`, and let senders use `https`";
            ledger.warning(topic, &address, text, Some(Fix::words(fix)));
        }
    }
}

/// Looks at a token that senders must have.
fn token(key: &str, file: &Path, ledger: &mut Ledger) {
    let fix = format!(
        "write a token of your own to {} on one line, and give senders the same: `openssl rand -hex 32` makes one",
        file.display()
    );
    files::credential(ledger, key, file, Fix::words(fix));
}

/// Looks at a file of the certificate, or of its key.
fn pem(key: &str, file: &Path, ledger: &mut Ledger) {
    let mut text = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    let what = match read {
        Ok(_) if text.starts_with(b"-----BEGIN ") => {
            return ledger.good(Topic::File, key, file.display().to_string());
        }
        Ok(_) => "it is not PEM".to_owned(),
        Err(error) => error.to_string(),
    };
    let text = format!("tried to read `{key}` from {}: {what}", file.display());
    let fix = "put a certificate for the name that senders use, and its key, into the files of `audit.server.tls`";
    ledger.finding(Topic::File, key, text, Fix::words(fix));
}

/// Looks at whether the operator's Pods may be seen, by what was found of the rights in the cluster.
pub(super) fn presence(config: &Config, in_cluster: &mut Ledger) {
    if config.audit.is_none() {
        return;
    }
    let namespace = &config.operator.namespace;
    let subject = format!("pods in {namespace}");
    let checks = in_cluster.0.iter();
    let mut rights = checks.filter(|check| check.check == Topic::Rbac && check.subject == *subject);
    let Some(seen) = rights.next() else {
        return;
    };
    let (result, fix) = (seen.result, seen.fix.clone());
    let topic = Topic::AuditPresence;
    match result {
        Found::Good => in_cluster.good(topic, namespace, "the operator's Pods may be seen"),
        Found::Finding => {
            let text = format!(
                "the prober may not list Pods in `{namespace}`, so nobody knows when and where the operator was: `serve` judges no line, \
                 and the rules absent, address, moved, revenant and issuer have nothing to go by"
            );
            in_cluster.note(topic, namespace, Found::Finding, text, fix);
        }
        Found::Warning | Found::Unknown | Found::Skipped => {
            in_cluster.unknown(
                topic,
                namespace,
                "whether the operator's Pods may be seen is not known",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check::{EXAMPLE, load};

    fn looked(audit: &str) -> Vec<(Topic, Found, String)> {
        let text = EXAMPLE.to_owned() + audit;
        let config = load(&text, "prober.yaml", |_| None).expect("it can be used");
        let mut ledger = Ledger::default();
        look(&config, &mut ledger);
        let told = ledger.0.into_iter();
        let told = told.filter(|check| check.check != Topic::File);
        told.map(|check| (check.check, check.result, check.text.to_string()))
            .collect()
    }

    #[test]
    fn a_log_that_is_not_there_or_a_folder_is_found() {
        let folder = std::env::temp_dir();
        let there = folder.join(format!("vso-prober-doctor-{}", std::process::id()));
        std::fs::write(&there, "{}\n").expect("written");
        let sources = format!(
            "\naudit:\n  state: /state\n  sources:\n  - {{name: a, file: {{path: {}}}}}\n  - {{name: b, file: {{path: /no/such.log}}}}\n  \
             - {{name: c, file: {{path: {}}}}}\n",
            there.display(),
            folder.display()
        );
        let told = looked(&sources);
        std::fs::remove_file(there).expect("removed");
        let results: Vec<_> = told.iter().map(|(_, found, _)| *found).collect();
        assert_eq!(
            results,
            [Found::Good, Found::Finding, Found::Finding],
            "{told:?}"
        );
    }

    #[test]
    fn a_listener_without_tls_is_warned_of_where_others_reach_it() {
        for (listen, found) in [
            ("127.0.0.1:9466", Found::Good),
            ("0.0.0.0:9466", Found::Warning),
        ] {
            let told = looked(&format!(
                "\naudit:\n  state: /state\n  sources: [{{name: a, http: {{}}}}]\n  server: {{listen: '{listen}', bearerTokenFile: /token}}\n"
            ));
            let server = told.iter().find(|(topic, ..)| *topic == Topic::AuditServer);
            assert_eq!(
                server.map(|(_, result, _)| *result),
                Some(found),
                "{told:?}"
            );
        }
    }
}
