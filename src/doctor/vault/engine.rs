//! The checks of the secrets engines that the probes use, and of the roles in them.

use std::collections::BTreeMap;

use super::super::fix::{Command, Fix, Input, Name, Plain, Script, Variable, Word};
use super::super::{Ledger, Topic};
use super::ask;
use crate::canary::kv_folder;
use crate::config::{Config, KvPath, KvVersion, Probe, Target};
use crate::model::Kind;
use crate::rights::{mount, role_path};
use crate::vault::Vault;
use crate::vault::introspect::Mount;

/// Looks at the engine and the role of each probe.
pub(super) async fn look(vault: &Vault, config: &Config, ledger: &mut Ledger) {
    let mut known: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for probe in &config.probes {
        let mount = mount(&probe.target);
        let there = match known.get(mount) {
            Some(there) if !matches!(probe.target, Target::Static(_)) => there.clone(),
            _ => engine(vault, config, probe, ledger).await,
        };
        known.insert(mount, there.clone());
        if let Some(path) = role_path(&probe.target) {
            if let Some(engine) = there {
                role(vault, config, probe, &engine, &path, ledger).await;
            } else {
                ledger.skipped(Topic::VaultRole, &path, "the mount has a problem");
            }
        }
    }
}

/// The type of engine that a kind of probe asks, where that is one.
const fn wanted(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Static => Some("kv"),
        Kind::Dynamic => None,
        Kind::Pki => Some("pki"),
    }
}

/// The engines that give nothing with a lease.
const WITHOUT_LEASE: [&str; 8] = [
    "cubbyhole",
    "identity",
    "kv",
    "pki",
    "system",
    "totp",
    "transform",
    "transit",
];

/// Looks at the engine of a probe. Returns its type, if it suits.
async fn engine(
    vault: &Vault,
    config: &Config,
    probe: &Probe,
    ledger: &mut Ledger,
) -> Option<String> {
    let topic = Topic::VaultMount;
    let mount = mount(&probe.target);
    let subject = format!("{mount}/ ({})", probe.name);
    match ask(
        "read the mount",
        vault.mount(mount, probe.target.namespace()),
    )
    .await
    {
        Ok(Some(found)) => suits(probe, mount, &subject, &found, ledger).then_some(found.engine),
        Ok(None) => {
            // It is not told apart from one that the token may do nothing with; a request tells.
            let path = allowed_path(config, probe).unwrap_or_else(|| mount.to_owned());
            let read = vault.try_read(&path, probe.target.namespace());
            match ask("read a path of the mount", read).await {
                Ok(reply)
                    if reply
                        .errors
                        .iter()
                        .any(|error| error.contains("no handler for route")) =>
                {
                    let text = format!(
                        "tried to read `{path}`: Vault answered {}: nothing is mounted at `{mount}/`",
                        reply.status
                    );
                    ledger.finding(topic, &subject, text, enable(config, probe, mount));
                }
                Ok(reply) if reply.status != 403 => {
                    let text = format!(
                        "`{path}` may be read; Vault does not say what is mounted, as for a mount of another namespace"
                    );
                    ledger.good(topic, &subject, text);
                }
                Ok(_) => ledger.skipped(
                    topic,
                    &subject,
                    "the token has no rights on it, so Vault does not say",
                ),
                Err(obstacle) => ledger.unknown(topic, &subject, obstacle.text),
            }
            None
        }
        Err(obstacle) => {
            ledger.unknown(topic, &subject, obstacle.text);
            None
        }
    }
}

/// A path below the mount that the prober may read, where there need not be anything.
fn allowed_path(config: &Config, probe: &Probe) -> Option<String> {
    let folder = || {
        let KvPath {
            mount,
            version,
            path,
            ..
        } = kv_folder(&probe.target, &config.instance)?;
        Some(match version {
            KvVersion::V1 => format!("{mount}/{path}/doctor"),
            KvVersion::V2 => format!("{mount}/data/{path}/doctor"),
        })
    };
    role_path(&probe.target).or_else(folder)
}

/// Whether an engine is what the probe takes it for.
fn suits(probe: &Probe, mount: &str, subject: &str, found: &Mount, ledger: &mut Ledger) -> bool {
    let topic = Topic::VaultMount;
    let engine = if found.engine == "generic" {
        "kv"
    } else {
        &found.engine
    };
    let kind = probe.target.kind();
    let root = found.path.trim_matches('/');
    if !root.is_empty() && root != mount {
        let text = format!(
            "asked Vault what is mounted at `{mount}/`: that is a path of the engine at `{root}/`, and what is written below \
             it is not deleted again"
        );
        let fix = Fix::words(format!(
            "set `{kind}.mount` of the probe `{}` to `{root}`",
            probe.name
        ));
        ledger.finding(topic, subject, text, fix);
        return false;
    }
    let misfit = match &probe.target {
        Target::Dynamic(target) => {
            WITHOUT_LEASE.contains(&engine)
                || (engine == "ssh" && !target.path.starts_with("creds/"))
        }
        Target::Static(_) | Target::Pki(_) => wanted(kind).is_some_and(|wanted| engine != wanted),
    };
    if misfit {
        let why = if kind == Kind::Dynamic {
            ": it gives nothing with a lease"
        } else {
            ""
        };
        let text = format!(
            "asked Vault what is mounted at `{mount}/`: `{engine}`, which a {kind} probe can't use{why}"
        );
        let fix = Fix::words(format!(
            "set `{kind}.mount` of the probe `{}` to the right mount; `vault secrets list` lists them",
            probe.name
        ));
        ledger.finding(topic, subject, text, fix);
        return false;
    }
    if let Target::Static(target) = &probe.target {
        let options = found.options.as_ref();
        let version = options
            .and_then(|options| options.get("version"))
            .map(String::as_str);
        let version = match version {
            Some("2") => KvVersion::V2,
            _ => KvVersion::V1,
        };
        if version != target.version {
            let text = format!(
                "asked Vault what is mounted at `{mount}/`: it is of type {}, but the probe expects {}",
                version.as_str(),
                target.version.as_str()
            );
            let fix = Name::parse(&probe.name).map_or_else(
                || Fix::words(format!("set `type` of the probe to `{}`", version.as_str())),
                |name| Fix::set_probe(&name, kind.as_str(), "type", version.as_str()),
            );
            ledger.finding(topic, subject, text, fix);
            return false;
        }
        ledger.good(topic, subject, version.as_str());
    } else {
        ledger.good(topic, subject, engine);
    }
    true
}

/// What mounts the engine.
fn enable(config: &Config, probe: &Probe, mount: &str) -> Fix {
    let engine = match &probe.target {
        Target::Static(target) => match target.version {
            KvVersion::V1 => "-version=1 kv",
            KvVersion::V2 => "-version=2 kv",
        },
        Target::Dynamic(_) => {
            return Fix::words(format!(
                "mount the engine that the probe `{}` is for at `{mount}/` (`vault secrets enable -path=… TYPE`), or set its \
                 `dynamic.mount`; `vault secrets list` lists those that are there",
                probe.name
            ));
        }
        Target::Pki(_) => "pki",
    };
    let script = || {
        let command = Command::vault(config, "secrets enable")?;
        let path = Word::pair("-path", &Plain::parse(mount)?);
        Some(Script::default().run(command.arg(path).args(engine)))
    };
    script().map_or_else(
        || {
            Fix::words(format!(
                "mount the engine at `{mount}/`, or set the probe's `mount`"
            ))
        },
        Fix::from,
    )
}

async fn role(
    vault: &Vault,
    config: &Config,
    probe: &Probe,
    engine: &str,
    path: &str,
    ledger: &mut Ledger,
) {
    let topic = Topic::VaultRole;
    match ask(
        "read the role",
        vault.try_read(path, probe.target.namespace()),
    )
    .await
    {
        Ok(reply) if reply.status < 300 => ledger.good(topic, path, "is there"),
        Ok(reply) if reply.status == 403 => {
            ledger.skipped(
                topic,
                path,
                "the token has no right to read it; no run needs that",
            );
        }
        Ok(reply) if reply.status == 404 => {
            let text = format!(
                "tried to read `{path}`, the role of the probe `{}`: it does not exist",
                probe.name
            );
            ledger.finding(topic, path, text, make_role(config, probe, engine, path));
        }
        Ok(reply) => ledger.unknown(
            topic,
            path,
            format!(
                "tried to read `{path}`: Vault answered {}: {}",
                reply.status,
                reply.errors.join("; ")
            ),
        ),
        Err(obstacle) => ledger.unknown(topic, path, obstacle.text),
    }
}

/// What makes the role, as far as that can be known from here.
fn make_role(config: &Config, probe: &Probe, engine: &str, path: &str) -> Fix {
    made_role(config, probe, engine, path).map_or_else(
        || {
            Fix::words(format!(
                "create the role `{path}` of the engine `{engine}` for what the probe requests"
            ))
        },
        Fix::from,
    )
}

fn made_role(config: &Config, probe: &Probe, engine: &str, path: &str) -> Option<Script> {
    const STATEMENT: &str =
        "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';";
    let write = Command::vault(config, "write")?.arg(&Plain::parse(path)?);
    if let Target::Pki(target) = &probe.target {
        let names = target.names();
        let names: Option<Vec<_>> = names
            .into_iter()
            .map(|name| Plain::parse(name).as_ref().map(Word::from))
            .collect();
        let domains = Word::pair("allowed_domains", Word::list(names?));
        let rest = "allow_bare_domains=true allow_subdomains=true max_ttl=24h";
        return Some(Script::default().run(write.arg(domains).args(rest)));
    }
    // A static role is of a user that is there already, which can't be known from here.
    let is_static = matches!(&probe.target, Target::Dynamic(target) if target.static_role);
    if engine != "database" || is_static {
        return None;
    }
    let connection = Variable::parse("connection")?;
    let connections = Word::from(&Plain::parse(mount(&probe.target))?).then("/config");
    let first = Command::vault(config, "list")?
        .arg("-format=yaml")
        .arg(connections)
        .pipe("sed -n")
        .arg("1s/^- //p");
    let write = write
        .holding("db_name=", &connection)
        .args("default_ttl=10m max_ttl=1h creation_statements=-");
    let script = Script::default()
        .remark("for PostgreSQL, with the first connection of the mount")
        .capture(&connection, first)
        .give(write, Input::literal(STATEMENT));
    Some(script)
}
