//! The check of Vault's audit devices: whether their logs have what the rules go by, and whether one can stop Vault.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};

use url::Url;

use super::super::fix::Fix;
use super::super::network::Place;
use super::super::{Found, Ledger, Topic};
use super::ask;
use crate::config::Config;
use crate::vault::Vault;
use crate::vault::introspect::AuditDevice;

/// Where devices are told.
const PATH: &str = "sys/audit";
/// How far into a line its JSON may begin, behind the device's `prefix`, in bytes.
const FURTHEST: usize = 256;
/// The fields that rules go by, as `exclude` names them, and what is off without.
const FIELDS: [(&str, &str); 16] = [
    ("/time", "every rule"),
    ("/type", "every rule"),
    ("/error", "whether a request was granted"),
    ("/auth/client_token", "`moved`"),
    ("/auth/display_name", "`audit.readers` by display name"),
    ("/auth/policies", "`audit.readers` by policy"),
    ("/auth/metadata", "every rule on the operator's identities"),
    ("/auth/entity_id", "`audit.readers` by entity"),
    ("/auth/token_issue_time", "`revenant`"),
    ("/request/id", "every rule"),
    ("/request/operation", "every rule"),
    ("/request/path", "every rule"),
    ("/request/client_token", "`moved`"),
    ("/request/remote_address", "`address` and `moved`"),
    ("/request/headers", "`agent`"),
    ("/response/auth", "every rule on logins"),
];

/// What is wrong with a device, how much, and what a person can do.
#[derive(Debug, Eq, PartialEq)]
struct Flaw {
    found: Found,
    text: String,
    fix: &'static str,
}

/// Looks at the devices, where the token may read them.
pub(super) async fn look(vault: &Vault, config: &Config, ledger: &mut Ledger) {
    let topic = Topic::AuditDevice;
    if config.audit.is_none() {
        return;
    }
    let devices = match ask("read its audit devices", vault.audit_devices()).await {
        Ok(Some(devices)) => devices,
        Ok(None) => {
            let why = "the token has no right to read it (`read` and `sudo`), and the prober does without: let an administrator's token look";
            return ledger.skipped(topic, PATH, why);
        }
        Err(obstacle) => return ledger.unknown(topic, PATH, obstacle.text),
    };
    let mut own_flaws = BTreeMap::new();
    for (name, device) in &devices {
        if let Some((host, port)) = target(device)
            && let Some(flaw) = own(config, &host, port).await
        {
            own_flaws.insert(name.clone(), flaw);
        }
    }
    tell(&devices, own_flaws, ledger);
}

/// Tells what is wrong with the devices; `own` are the flaws of those that send to the prober.
fn tell(
    devices: &BTreeMap<String, AuditDevice>,
    mut own: BTreeMap<String, Flaw>,
    ledger: &mut Ledger,
) {
    let topic = Topic::AuditDevice;
    if devices.is_empty() {
        let text = format!("read `{PATH}`: Vault has no audit device, so there is no log to judge");
        let fix = "run `vault audit enable file file_path=/vault/audit/audit.log`; OpenBao has the block `audit` in its configuration instead";
        return ledger.finding(topic, PATH, text, Fix::words(fix));
    }
    for (name, device) in devices {
        let mut flaws = flaws(device, devices);
        flaws.extend(own.remove(name));
        if flaws.is_empty() {
            let file = device.option("file_path").unwrap_or_default();
            ledger.good(topic, name, format!("{} {file}", device.kind).trim_end());
        }
        for Flaw { found, text, fix } in flaws {
            let text = format!("read `{PATH}`: the audit device `{name}` {text}");
            ledger.note(topic, name, found, text, Some(Fix::words(fix)));
        }
    }
}

/// What is wrong with a device by its options, beside the others.
fn flaws(device: &AuditDevice, all: &BTreeMap<String, AuditDevice>) -> Vec<Flaw> {
    let is = |key, value: &str| {
        device
            .option(key)
            .is_some_and(|set| set.eq_ignore_ascii_case(value))
    };
    let mut flaws = Vec::new();
    let mut flaw = |found, text: String, fix| flaws.push(Flaw { found, text, fix });
    if is("log_raw", "true") || is("log_raw", "1") {
        flaw(
            Found::Finding,
            "has `log_raw`: its log holds secrets and tokens in clear text, and the prober takes no such line".to_owned(),
            "set the device up without `log_raw`, destroy its logs, and replace the secrets that they hold",
        );
    }
    if is("format", "jsonx") {
        flaw(
            Found::Finding,
            "writes `jsonx`, which the prober does not read".to_owned(),
            "set the device up with `format=json`, or another device beside it",
        );
    }
    if let Some(prefix) = device.option("prefix")
        && (prefix.contains('{') || prefix.len() > FURTHEST)
    {
        flaw(
            Found::Finding,
            format!(
                "has a `prefix` with a brace, or of more than {FURTHEST} bytes, behind which no line is found"
            ),
            "set the device up with a short `prefix` without braces, or without any",
        );
    }
    if let Some(filter) = device.option("filter") {
        let whole = all.values().any(is_whole);
        flaw(
            if whole {
                Found::Warning
            } else {
                Found::Finding
            },
            format!(
                "writes only what its `filter` lets through, `{filter}`; what it leaves out, no rule sees{}",
                if whole {
                    "; another device writes all"
                } else {
                    ""
                }
            ),
            "read a device without `filter`, of every node",
        );
    }
    if is("fallback", "true") {
        flaw(
            Found::Warning,
            "is a `fallback`: it writes only what no other device does".to_owned(),
            "read a device without `fallback` and `filter`, of every node",
        );
    }
    if let Some(exclude) = device.option("exclude") {
        match hidden(exclude) {
            Some(hidden) if hidden.is_empty() => {}
            Some(hidden) => flaw(
                Found::Finding,
                format!(
                    "leaves out by its `exclude` what rules go by: {}",
                    hidden.join(", ")
                ),
                "leave these fields out of `exclude`, or read another device that has them",
            ),
            None => flaw(
                Found::Warning,
                format!("has an `exclude` that could not be read, `{exclude}`"),
                "see that it leaves out nothing but `/request/data` and `/response/data`",
            ),
        }
    }
    flaws
}

/// Whether a device writes every request.
fn is_whole(device: &AuditDevice) -> bool {
    ["filter", "fallback"]
        .iter()
        .all(|key| device.option(key).is_none())
}

/// What is off for the fields that an `exclude` leaves out: a list of objects with pointers in `fields`. `None` if it can't be read.
fn hidden(exclude: &str) -> Option<Vec<String>> {
    let all: serde_json::Value = serde_json::from_str(exclude).ok()?;
    let mut hidden = Vec::new();
    for one in all.as_array()? {
        for field in one["fields"].as_array()? {
            let field = field.as_str()?;
            let touches = |needed: &str| {
                let below = |one: &str, other: &str| {
                    one.strip_prefix(other)
                        .is_some_and(|rest| rest.starts_with('/'))
                };
                field == needed || below(field, needed) || below(needed, field)
            };
            let needed = FIELDS.iter().filter(|(needed, _)| touches(needed));
            hidden.extend(needed.map(|(needed, off)| format!("`{needed}` ({off})")));
        }
    }
    hidden.dedup();
    Some(hidden)
}

/// Where a device sends its lines.
fn target(device: &AuditDevice) -> Option<(String, u16)> {
    if let Some(uri) = device.option("uri") {
        let url = Url::parse(uri).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        return Some((host, url.port_or_known_default()?));
    }
    let (host, port) = device.option("address")?.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

/// Whether a device sends to the prober itself, whose every pause would be Vault's.
async fn own(config: &Config, host: &str, port: u16) -> Option<Flaw> {
    let audit = config.audit.as_ref()?;
    let intake = audit.sources.iter().any(|source| source.feed.is_http());
    let intake = intake.then_some(audit.server.listen);
    let mut listeners = intake.into_iter().chain([config.server.listen]);
    let listen = listeners.find(|listen| listen.port() == port)?;
    let place = Place::of(&format!("http://{host}:{port}"))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    if let Ok(resolved) = place.resolve().await {
        addresses.extend(resolved.iter().map(std::net::SocketAddr::ip));
    }
    let mine = [Some(listen.ip()), outgoing(&config.vault.address)];
    Some(verdict(
        host,
        port,
        &addresses,
        &mine,
        &config.kubernetes.namespace,
    ))
}

/// The address from which this machine, or Pod, reaches Vault.
fn outgoing(vault: &str) -> Option<IpAddr> {
    let url = Url::parse(vault).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent.
    socket.connect((host, url.port_or_known_default()?)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What is wrong with a device that sends to one of the prober's ports: it is the prober by its address, or by the name of a
/// Service of its namespace, or may be it.
fn verdict(
    host: &str,
    port: u16,
    addresses: &[IpAddr],
    mine: &[Option<IpAddr>],
    namespace: &str,
) -> Flaw {
    let here = |address: &IpAddr| {
        address.is_loopback() || address.is_unspecified() || mine.contains(&Some(*address))
    };
    let certain = addresses.iter().any(here) || host.split('.').nth(1) == Some(namespace);
    let fix = "remove the device: `vault audit disable NAME`, or its block `audit` in OpenBao's configuration; let a file device write, and \
               `vso-prober audit forward` send the file";
    let (found, is) = if certain {
        (Found::Finding, "where the prober itself listens")
    } else {
        (Found::Warning, "which may be the prober, by its port")
    };
    Flaw {
        found,
        text: format!(
            "sends its lines to {host}:{port}, {is}: whenever that does not answer, Vault stops"
        ),
        fix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(options: &[(&str, &str)]) -> AuditDevice {
        let options = options.iter();
        let options = options.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        AuditDevice {
            kind: "file".to_owned(),
            options: Some(options.collect()),
        }
    }

    fn found(devices: &[AuditDevice]) -> Vec<Found> {
        let names = (0..).map(|place: u32| place.to_string());
        let all: BTreeMap<_, _> = names.zip(devices.iter().cloned()).collect();
        let flaws = flaws(&devices[0], &all);
        flaws.iter().map(|flaw| flaw.found).collect()
    }

    #[test]
    fn what_hides_nothing_is_fine() {
        let plain = [
            ("file_path", "/vault/audit/audit.log"),
            ("elide_list_responses", "true"),
            ("hmac_accessor", "false"),
            ("log_raw", "false"),
            ("format", "json"),
            ("prefix", "@cee: "),
            (
                "exclude",
                r#"[{"fields":["/request/data","/response/data/keys"]}]"#,
            ),
        ];
        assert_eq!(found(&[device(&plain)]), []);
    }

    #[test]
    fn what_makes_a_log_useless_is_found() {
        for (key, value) in [
            ("log_raw", "true"),
            ("format", "jsonx"),
            ("prefix", "{"),
            ("filter", "mount_type == kv"),
            ("exclude", r#"[{"condition":"","fields":["/request"]}]"#),
            ("exclude", r#"[{"fields":["/auth/metadata/role"]}]"#),
        ] {
            assert_eq!(found(&[device(&[(key, value)])]), [Found::Finding], "{key}");
        }
    }

    #[test]
    fn a_filter_may_stand_beside_a_device_that_writes_all() {
        let filter = device(&[("filter", "mount_type == kv")]);
        let fallback = device(&[("fallback", "true")]);
        assert_eq!(found(&[filter.clone(), device(&[])]), [Found::Warning]);
        assert_eq!(found(&[filter, fallback.clone()]), [Found::Finding]);
        assert_eq!(found(&[fallback]), [Found::Warning]);
    }

    #[test]
    fn no_device_is_a_finding_and_each_is_told() {
        let mut ledger = Ledger::default();
        tell(&BTreeMap::new(), BTreeMap::new(), &mut ledger);
        assert!(ledger.found(Topic::AuditDevice, PATH), "{ledger:?}");
        let devices = [
            ("file/", device(&[])),
            ("raw/", device(&[("log_raw", "true")])),
        ];
        let devices = devices.map(|(name, device)| (name.to_owned(), device));
        let mut ledger = Ledger::default();
        tell(&devices.into(), BTreeMap::new(), &mut ledger);
        let told: Vec<_> = ledger.0.iter().map(|check| check.result).collect();
        assert_eq!(told, [Found::Good, Found::Finding]);
    }

    #[test]
    fn what_is_hidden_names_the_rules() {
        let told =
            hidden(r#"[{"fields":["/request/remote_address","/auth"]}]"#).expect("it can be read");
        assert!(told[0].contains("`address` and `moved`"), "{told:?}");
        assert_eq!(told.len(), 7, "{told:?}");
        assert_eq!(hidden("request.path"), None);
        assert_eq!(found(&[device(&[("exclude", "?")])]), [Found::Warning]);
    }

    #[test]
    fn a_device_that_sends_to_the_prober_is_found() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mine = [Some(ip("0.0.0.0")), Some(ip("10.0.0.7"))];
        let by =
            |host, addresses: &[IpAddr]| verdict(host, 9466, addresses, &mine, "vso-probe").found;
        assert_eq!(by("10.0.0.7", &[ip("10.0.0.7")]), Found::Finding);
        assert_eq!(by("localhost", &[ip("127.0.0.1")]), Found::Finding);
        let service = "vso-prober-audit.vso-probe.svc";
        assert_eq!(by(service, &[ip("10.96.0.9")]), Found::Finding);
        assert_eq!(by("siem.corp.example", &[ip("10.9.9.9")]), Found::Warning);
    }

    #[test]
    fn where_a_device_sends_is_read() {
        for (key, value, wanted) in [
            ("address", "127.0.0.1:9466", Some(("127.0.0.1", 9466))),
            ("address", "[::1]:9466", Some(("::1", 9466))),
            (
                "uri",
                "https://siem.example/audit",
                Some(("siem.example", 443)),
            ),
            ("file_path", "/a:1", None),
        ] {
            let wanted = wanted.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(target(&device(&[(key, value)])), wanted, "{value}");
        }
    }
}
