//! An entry of an audit log: a line of Vault's, or an event of the API server's. What is in `data` is never kept.

mod raw;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::address;
use super::key::short_digest;
use raw::{RawAuth, RawLine, RawMetadata, RawRequest};

/// No text of an entry is kept longer, in bytes: paths and names are compared up to here.
const LONGEST: usize = 1024;
/// How an entry of Vault's begins, in the order in which its versions write the fields: after a torn half, the whole entry
/// stands on the same line.
const BEGINNINGS: [&[u8]; 2] = [br#"{"time":""#, br#"{"auth":{"#];
/// How many of them are tried, the last first.
const TRIES: usize = 4;
/// How far into a line the brace may stand behind a prefix, in bytes.
const PREFIX: usize = 256;
/// How every hashed value begins.
const HASHED: &str = "hmac-";

/// An entry, without anything that its writer meant to be hashed.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all that are kept are Vault's"
)]
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Entry {
    /// A line of Vault's audit log.
    Vault(VaultEntry),
    /// An event of the API server's audit log.
    Kube(KubeEntry),
}

impl Entry {
    /// When it was written, by its writer's clock.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Vault(entry) => entry.time,
            Self::Kube(event) => event.time,
        }
    }
}

/// Why a line is no entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Torn {
    /// It is not JSON, or not whole.
    #[error("the line is not a whole JSON object")]
    NotWhole,
    /// The audit device writes XML.
    #[error("the line is XML: set `format=json` for the audit device, `jsonx` can't be read")]
    Jsonx,
    /// It is JSON, but has not what every entry has.
    #[error("the object is not an audit entry: it lacks its time, its type or its request")]
    NotAnEntry,
    /// It holds a token in clear.
    #[error("the line holds a token that is not hashed: set `log_raw=false` for the audit device")]
    Unhashed,
}

/// Which of the two lines of a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Half {
    /// Written before the request is served.
    Request,
    /// Written after.
    Response,
}

/// A line of Vault's audit log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct VaultEntry {
    /// When it was written, by the clock of Vault's node.
    pub time: Timestamp,
    /// Which line of its request.
    pub half: Half,
    /// The ID of the request, the same in both lines.
    pub id: String,
    /// What was asked: `read`, `update`, …
    pub operation: String,
    /// Vault's namespace, with its trailing slash; empty for the root one.
    #[serde(default)]
    pub namespace: String,
    /// The path in it, without a leading slash.
    pub path: String,
    /// The mount, with its namespace before it and a trailing slash; empty where the version does not say.
    pub mount: String,
    /// From where; `None` if the address can't be read.
    pub address: Option<IpAddr>,
    /// Why it was refused.
    pub refused: bool,
    /// As whom. Of a login, as whom from now on.
    pub who: Who,
    /// The token: of its hash in the log the digest alone, to tell two apart.
    pub token: Option<TokenId>,
    /// When that token was issued, to the second.
    pub issued: Option<Timestamp>,
    /// Whether it is a login that was granted.
    pub login: bool,
    /// The client's User-Agent, where the device writes it.
    pub user_agent: Option<String>,
}

impl VaultEntry {
    /// Whether it has a token that Vault does not know, or no longer, or could not look up: it says of nobody that it was them.
    pub fn of_nobody(&self) -> bool {
        self.token.is_some() && self.who == Who::default()
    }

    /// The path with its namespace before it.
    pub fn full_path(&self) -> String {
        format!("{}{}", self.namespace, self.path)
    }

    /// The mount in its namespace.
    pub(super) fn own_mount(&self) -> &str {
        let mount = self.mount.strip_prefix(&self.namespace);
        mount.unwrap_or(&self.mount).trim_end_matches('/')
    }
}

/// What tells one token from another: the beginning of the digest of its hash, which differs from device to device.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct TokenId(u64);

impl TokenId {
    /// That of a token, as a device hashes it.
    pub fn of(hash: &str) -> Self {
        Self(short_digest(hash))
    }
}

/// Six digits of it.
impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.0 >> 40)
    }
}

/// As whom a request was made; empty where the entry does not say.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Who {
    /// E.g. `kubernetes-team-a-app`.
    pub display_name: String,
    /// The role of the login.
    pub role: String,
    /// The ServiceAccount, `namespace/name`.
    pub service_account: String,
    /// The ID of the entity.
    pub entity: String,
    /// Its policies.
    pub policies: Vec<String>,
}

/// An event of the API server's audit log: a token of a ServiceAccount was asked for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KubeEntry {
    /// When the API server got the request.
    pub time: Timestamp,
    /// The ID of the request, the same in all its events.
    pub id: String,
    /// Who asked.
    pub user: String,
    /// From where, the client first.
    pub addresses: Vec<IpAddr>,
    /// With what.
    pub user_agent: String,
    /// The ServiceAccount whose token was issued, `namespace/name`; `None` if it was another request.
    pub token_of: Option<String>,
}

/// Reads a line: the JSON of an entry, behind a prefix if the device has one.
///
/// # Errors
/// It is not whole, not an entry, or holds a token in clear. The error quotes nothing of it.
pub fn parse(line: &[u8]) -> Result<Entry, Torn> {
    let line = line.trim_ascii();
    if line.starts_with(b"<") {
        return Err(Torn::Jsonx);
    }
    let head = &line[..line.len().min(PREFIX)];
    let brace = head.iter().position(|byte| *byte == b'{');
    let line = &line[brace.ok_or(Torn::NotWhole)?..];
    let raw = match serde_json::from_slice::<RawLine<'_>>(line) {
        Ok(raw) => raw,
        Err(error) if error.is_data() => {
            // Well formed so far, but a field is not of its type.
            let whole = serde_json::from_slice::<IgnoredAny>(line).is_ok();
            return if whole {
                Err(Torn::NotAnEntry)
            } else {
                after_half(line)
            };
        }
        Err(_) => return after_half(line),
    };
    entry(&raw)
}

/// The whole entry on a line that begins with a torn half of it.
fn after_half(line: &[u8]) -> Result<Entry, Torn> {
    for beginning in BEGINNINGS {
        let begins = |at: &usize| line[*at..].starts_with(beginning);
        // A response holds such an object too, so that the last one may not be the entry.
        let last = (1..line.len()).rev().filter(begins).take(TRIES);
        for at in last {
            if let Ok(raw) = serde_json::from_slice::<RawLine<'_>>(&line[at..])
                && let Ok(entry) = entry(&raw)
            {
                return Ok(entry);
            }
        }
    }
    Err(Torn::NotWhole)
}

fn entry(raw: &RawLine<'_>) -> Result<Entry, Torn> {
    match &raw.request {
        Some(request) => vault(raw, request).map(Entry::Vault),
        None if raw.kind.as_deref() == Some("Event") => kube(raw).map(Entry::Kube),
        None => Err(Torn::NotAnEntry),
    }
}

fn vault(raw: &RawLine<'_>, request: &RawRequest<'_>) -> Result<VaultEntry, Torn> {
    let half = match raw.r#type.as_deref() {
        Some("request") => Half::Request,
        Some("response") => Half::Response,
        _ => return Err(Torn::NotAnEntry),
    };
    let time = moment(raw.time.as_ref()).ok_or(Torn::NotAnEntry)?;
    // What the server asks of itself as it starts has no ID (OpenBao 2.7.2).
    let id = request.id.as_ref().filter(|id| !id.is_empty());
    let id = id.or(raw.time.as_ref());
    let granted = raw
        .response
        .as_ref()
        .and_then(|answer| answer.auth.as_ref());
    let wrapped = raw
        .response
        .as_ref()
        .and_then(|answer| answer.wrap_info.as_ref());
    let mut tokens = [
        raw.auth
            .as_ref()
            .and_then(|auth| auth.client_token.as_ref()),
        request.client_token.as_ref(),
        granted.and_then(|auth| auth.client_token.as_ref()),
        wrapped.and_then(|wrap| wrap.token.as_ref()),
    ]
    .into_iter()
    .flatten();
    if tokens.any(|token| !token.is_empty() && !token.starts_with(HASHED)) {
        return Err(Torn::Unhashed);
    }
    let refused = raw.error.as_ref().is_some_and(|error| !error.is_empty());
    // A renewal has a response with `auth` too: a login is what had no token before.
    let login = granted.is_some() && request.client_token.as_ref().is_none_or(|t| t.is_empty());
    let auth = if login { granted } else { raw.auth.as_ref() };
    let agent = request
        .headers
        .as_ref()
        .and_then(|headers| headers.user_agent.as_ref());
    Ok(VaultEntry {
        time,
        half,
        id: kept(id),
        operation: kept(request.operation.as_ref()),
        namespace: kept(
            request
                .namespace
                .as_ref()
                .and_then(|namespace| namespace.path.as_ref()),
        ),
        path: kept(request.path.as_ref()),
        mount: kept(request.mount_point.as_ref()),
        address: request.remote_address.as_deref().and_then(address::parse),
        refused,
        who: auth.map(who).unwrap_or_default(),
        token: auth
            .and_then(|auth| auth.client_token.as_ref())
            .or(request.client_token.as_ref())
            .filter(|token| !token.is_empty())
            .map(|token| TokenId::of(token)),
        issued: auth.and_then(|auth| moment(auth.token_issue_time.as_ref())),
        login,
        user_agent: agent
            .and_then(|agents| agents.first())
            .filter(|agent| !agent.starts_with(HASHED))
            .map(|agent| kept(Some(agent))),
    })
}

fn who(auth: &RawAuth<'_>) -> Who {
    let metadata = auth.metadata.as_ref();
    let of = |field: fn(&RawMetadata<'_>) -> Option<String>| metadata.and_then(field);
    let role = of(|data| {
        data.role
            .as_ref()
            .or(data.role_name.as_ref())
            .map(|r| kept(Some(r)))
    });
    let account = of(|data| {
        let namespace = data.service_account_namespace.as_ref()?;
        let name = data.service_account_name.as_ref()?;
        Some(format!("{}/{}", kept(Some(namespace)), kept(Some(name))))
    });
    let policies = auth.policies.iter().flatten().take(64);
    Who {
        display_name: kept(auth.display_name.as_ref()),
        role: role.unwrap_or_default(),
        service_account: account.unwrap_or_default(),
        entity: kept(auth.entity_id.as_ref()),
        policies: policies.map(|policy| kept(Some(policy))).collect(),
    }
}

fn kube(raw: &RawLine<'_>) -> Result<KubeEntry, Torn> {
    let time = moment(raw.received.as_ref()).ok_or(Torn::NotAnEntry)?;
    let id = kept(raw.audit_id.as_ref());
    if id.is_empty() {
        return Err(Torn::NotAnEntry);
    }
    let user = raw.user.as_ref().and_then(|user| user.username.as_ref());
    let addresses = raw.source_ips.iter().flatten().take(16);
    Ok(KubeEntry {
        time,
        id,
        user: kept(user),
        addresses: addresses.filter_map(|text| address::parse(text)).collect(),
        user_agent: kept(raw.user_agent.as_ref()),
        token_of: token_of(raw),
    })
}

/// The ServiceAccount of a request for a token that was granted.
fn token_of(raw: &RawLine<'_>) -> Option<String> {
    let object = raw.object.as_ref()?;
    let is = |field: &Option<Cow<'_, str>>, text: &str| field.as_deref() == Some(text);
    let asked = is(&object.resource, "serviceaccounts") && is(&object.subresource, "token");
    let code = raw.status.as_ref().and_then(|status| status.code);
    let granted = code.is_some_and(|code| (200..300).contains(&code));
    (asked && granted && is(&raw.verb, "create")).then(|| {
        let (namespace, name) = (object.namespace.as_ref(), object.name.as_ref());
        format!("{}/{}", kept(namespace), kept(name))
    })
}

fn moment(text: Option<&Cow<'_, str>>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// A text, up to its bound.
fn kept(text: Option<&Cow<'_, str>>) -> String {
    let text = text.map(AsRef::as_ref).unwrap_or_default();
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
