//! Rules for single values: each parses a text, or says what is wrong and what is allowed.

mod audit;
mod mark;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Refresh;
use super::duration::{self, DurationError};
use super::problem::quoted;
pub(super) use audit::{network, service_account, source};
pub(super) use mark::{
    header_name, header_value, label_value, mark, series_label, series_label_value,
};

/// What a rule makes of a text; the error continues a sentence whose subject is the key.
pub(super) type Checked<T> = Result<T, String>;

/// `vsop-<name>-<run ID of 16>` has to be an RFC 1123 label, of at most 63.
pub(super) const LONGEST_NAME: usize = 63 - "vsop-".len() - "-".len() - 16;

/// A duration that is longer than nothing.
pub(super) fn period(text: &str) -> Checked<Duration> {
    let units = "`h`, `m`, `s`, `ms`, `us`, `ns`";
    positive(text, duration::parse(text), units, "`30s` or `1m30s`")
}

/// As [`period`], of what may last for days: no part of it is handed on to the operator as it is written.
pub(super) fn life(text: &str) -> Checked<Duration> {
    let units = "`d`, `h`, `m`, `s`";
    positive(
        text,
        duration::parse_with_days(text),
        units,
        "`30d` or `12h`",
    )
}

/// A duration that the operator takes.
pub(super) fn refresh(text: &str) -> Checked<Refresh> {
    let single = "it must be one number with one unit of `s`, `m`, `h`";
    match (duration::parse_single(text), duration::parse(text)) {
        (Some(period), _) if !period.is_zero() => Ok(Refresh {
            text: text.to_owned(),
            period,
        }),
        (None, Ok(meant)) if !meant.is_zero() => Err(format!(
            "is {}; the operator takes only one number with one unit of `s`, `m`, `h`: `{}`",
            quoted(text),
            duration::format_single(meant),
        )),
        (_, Ok(_)) => Err(format!("is {}; it must be longer than `0s`", quoted(text))),
        (_, Err(DurationError::TooLong)) => Err(too_long(text)),
        (_, Err(error)) => Err(format!("{}; {single}, such as `90s`", wrong(text, &error))),
    }
}

/// A time to live that the operator asks for a certificate with: as [`refresh`], and takes days.
pub(super) fn ttl(text: &str) -> Checked<Refresh> {
    let days = text.strip_suffix('d').map(|number| format!("{number}h"));
    let hours = days.and_then(|hours| duration::parse_single(&hours));
    match hours.and_then(|hours| hours.checked_mul(24)) {
        Some(period) if !period.is_zero() => Ok(Refresh {
            text: text.to_owned(),
            period,
        }),
        _ => refresh(text),
    }
}

/// A name that can be a part of a canary's name.
pub(super) fn name(text: &str) -> Checked<String> {
    label(text, LONGEST_NAME)
}

/// A namespace's name.
pub(super) fn namespace(text: &str) -> Checked<String> {
    label(text, 63)
}

/// A `ServiceAccount`'s name.
pub(super) fn account(text: &str) -> Checked<String> {
    label(text, 63)
}

/// A `VaultAuth`: `name` or `namespace/name`.
pub(super) fn auth_ref(text: &str) -> Checked<String> {
    let (space, name) = text.split_once('/').unwrap_or(("default", text));
    let fits = |part: &str, longest| part.len() <= longest && part.split('.').all(is_label);
    if is_label(space) && space.len() <= 63 && fits(name, 253) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {}; it must name a VaultAuth as `name` or `namespace/name`",
        quoted(text)
    ))
}

/// A mount or a path in Vault.
pub(super) fn vault_path(text: &str) -> Checked<String> {
    let wrong = |what: &str| Err(format!("is {}; {what}", quoted(text)));
    if text.starts_with('/') || text.ends_with('/') {
        return wrong("it must neither begin nor end with `/`");
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("it must not have empty parts, `.` or `..`");
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '%' | '\\');
    if text.contains(odd) {
        return wrong("it must not contain blanks, `?`, `#`, `%` or `\\`");
    }
    Ok(text.to_owned())
}

/// A Vault namespace for a secret: the prober's own, or one below it, for its token opens no other.
pub(super) fn vault_namespace(text: &str, own: Option<&str>) -> Checked<String> {
    let namespace = vault_path(text)?;
    let own = own.unwrap_or_default();
    let below = namespace
        .strip_prefix(own)
        .is_some_and(|rest| own.is_empty() || rest.is_empty() || rest.starts_with('/'));
    if below {
        return Ok(namespace);
    }
    Err(format!(
        "is {}; it must be {}, which is `vault.namespace`, or one below it: the prober's token opens no other",
        quoted(text),
        quoted(own)
    ))
}

/// Where an auth method is mounted.
pub(super) fn auth_mount(text: &str) -> Checked<String> {
    let mount = vault_path(text)?;
    match mount.strip_prefix("auth/") {
        Some(bare) => Err(format!(
            "is {}; Vault adds `auth/` itself: set {}",
            quoted(text),
            quoted(bare)
        )),
        None => Ok(mount),
    }
}

/// Whether a path is that of a static role: of a database, or of LDAP.
fn is_static_role(path: &str) -> bool {
    let role = ["static-creds/", "static-cred/"].into_iter();
    role.filter_map(|first| path.strip_prefix(first))
        .any(|role| !role.is_empty())
}

/// The path of credentials that have a lease.
pub(super) fn leased_path(text: &str) -> Checked<String> {
    let path = vault_path(text)?;
    if is_static_role(&path) {
        return Err(format!(
            "is {}; what a static role gives has no lease: set `allowStaticCreds: true` beside it, as the operator needs it too",
            quoted(text)
        ));
    }
    Ok(path)
}

/// The path of a static role's credential.
pub(super) fn static_role_path(text: &str) -> Checked<String> {
    let path = vault_path(text)?;
    if is_static_role(&path) {
        return Ok(path);
    }
    Err(format!(
        "is {}; with `allowStaticCreds` it must be that of a static role, `static-creds/NAME` or `static-cred/NAME`: the prober \
         reads it too, and any other path could issue a credential at each read",
        quoted(text)
    ))
}

/// A role's name.
pub(super) fn role(text: &str) -> Checked<String> {
    if text.contains('/') {
        return Err(format!(
            "is {}; it must be the role's name, without `/`",
            quoted(text)
        ));
    }
    vault_path(text)
}

/// A text on one line without blanks around it.
pub(super) fn line(text: &str) -> Checked<String> {
    if text.trim() != text || text.contains(char::is_control) {
        return Err("has blanks around it or line breaks; it must be one plain line".into());
    }
    Ok(text.to_owned())
}

/// The name of a login by name and password, from which a colon parts the password.
pub(super) fn username(text: &str) -> Checked<String> {
    if text.contains(':') {
        return Err("has a colon, which a name can't have".into());
    }
    line(text)
}

/// A file or folder.
pub(super) fn file(text: &str) -> Checked<PathBuf> {
    line(text).map(PathBuf::from)
}

/// The name of an environment variable. It is not repeated: a token may have been put in its place.
pub(super) fn variable(text: &str) -> Checked<String> {
    let word = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if word && !text.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(
        "is not the name of an environment variable; it must consist of letters, digits and `_`, \
         such as `VAULT_TOKEN`"
            .into(),
    )
}

/// Vault's address, without a trailing slash.
pub(super) fn vault_address(text: &str) -> Checked<String> {
    if text.contains("${") || text.starts_with('$') {
        return Err("refers to a variable, but variables are not interpolated; \
                    remove the key to use `VAULT_ADDR`"
            .into());
    }
    let address = url(text)?.trim_end_matches('/').to_owned();
    if address.ends_with("/v1") {
        return Err(format!("is {}; it must end before `/v1`", quoted(text)));
    }
    if address.contains(['?', '#']) {
        return Err(format!(
            "is {}; it must not contain `?` or `#`",
            quoted(text)
        ));
    }
    Ok(address)
}

/// An HTTP URL.
pub(super) fn url(text: &str) -> Checked<String> {
    let allowed = "it must be a URL that begins with `http://` or `https://`, \
                   such as `https://vault.example:8200`";
    // What stands before an `@` may be a password.
    if text.contains('@') {
        return Err("contains `@`; credentials don't belong in a URL".into());
    }
    if text.contains(char::is_whitespace) {
        return Err(format!("is {}; it must not contain blanks", quoted(text)));
    }
    // `http:/host` and `http:host` would be mended by the parser.
    let authority = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let Some(authority) = authority else {
        return Err(format!("is {}; {allowed}", quoted(text)));
    };
    if authority.is_empty() || authority.starts_with(['/', '?', '#', ':', '\\']) {
        return Err(format!("is {}, without a host; {allowed}", quoted(text)));
    }
    match Url::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("is {}: {error}; {allowed}", quoted(text))),
    }
}

/// A URL, taken apart.
pub(super) fn parsed_url(text: &str) -> Checked<Url> {
    let text = url(text)?;
    Url::parse(&text).map_err(|error| format!("is {}: {error}", quoted(&text)))
}

/// An address to listen on.
pub(super) fn listen(text: &str) -> Checked<SocketAddr> {
    text.parse().map_err(|_| {
        format!(
            "is {}; it must be an IP address and a port, such as `127.0.0.1:9465` or `[::]:9465`",
            quoted(text),
        )
    })
}

/// A label selector of Kubernetes.
pub(super) fn label_selector(text: &str) -> Checked<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || " ._/=!,()-".contains(c);
    if text.chars().all(fits) && !text.starts_with(['=', ',']) && !text.ends_with([',', '!']) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {}; it must be a label selector, such as `app=vso,tier in (a, b)`",
        quoted(text)
    ))
}

/// A selector of Prometheus.
pub(super) fn series_selector(text: &str) -> Checked<String> {
    if text.starts_with('{') && text.ends_with('}') && text.contains('=') {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {}; it must be a selector in braces, such as `{{job=\"vso\"}}`",
        quoted(text)
    ))
}

/// A host, by name or address.
pub(super) fn host(text: &str) -> Checked<String> {
    let port = text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_err();
    if port || text.contains(|c: char| c.is_whitespace() || "/@?#".contains(c)) {
        return Err(
            "is not a host; it must be a name or an IP address, without scheme, port \
                    or credentials"
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// A host, or `*.` and the end of hosts' names.
pub(super) fn host_pattern(text: &str) -> Checked<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    match host(name) {
        Ok(name) if !name.is_empty() && !name.contains('*') => Ok(text.to_lowercase()),
        Ok(_) => Err(format!(
            "is {}; it must be a host's name, such as `vault-0.vault-internal` or `*.vault-internal`",
            quoted(text)
        )),
        Err(wrong) => Err(wrong),
    }
}

fn label(text: &str, longest: usize) -> Checked<String> {
    if is_label(text) && text.len() <= longest {
        return Ok(text.to_owned());
    }
    let length = text.chars().count();
    let found = if is_label(text) {
        format!(" of {length} characters")
    } else {
        String::new()
    };
    Err(format!(
        "is {}{found}; it must be 1 to {longest} of `a-z`, `0-9` and `-`, \
         with a letter or digit at both ends",
        quoted(text),
    ))
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

fn positive(
    text: &str,
    parsed: Result<Duration, DurationError>,
    units: &str,
    examples: &str,
) -> Checked<Duration> {
    match parsed {
        Ok(period) if period.is_zero() => {
            Err(format!("is {}; it must be longer than `0s`", quoted(text)))
        }
        Ok(period) => Ok(period),
        Err(DurationError::TooLong) => Err(too_long(text)),
        Err(error) => Err(format!(
            "{}; it must be numbers, each with a unit of {units}, such as {examples}",
            wrong(text, &error),
        )),
    }
}

fn too_long(text: &str) -> String {
    format!("is {}; it must be shorter than 292 years", quoted(text))
}

fn wrong(text: &str, error: &DurationError) -> String {
    format!("is {}, which {error}", quoted(text))
}
