//! The rules for names and values that others read: labels, annotations, headers.

use super::{Checked, is_label, line};
use crate::config::problem::quoted;

/// The name of a label or annotation that is not the prober's or the operator's own.
pub(in crate::config) fn mark(text: &str) -> Checked<()> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let domain = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_label);
    if !prefix.is_none_or(domain) || name.is_empty() || !is_mark(name) {
        return Err(
            "is not a name of a label or annotation, such as `team` or `example.com/team`".into(),
        );
    }
    if matches!(
        prefix,
        Some("vso-prober" | "secrets.hashicorp.com" | "app.kubernetes.io")
    ) {
        return Err("can't be set: the prober or the operator sets those of its prefix".into());
    }
    Ok(())
}

/// The value of a label.
pub(in crate::config) fn label_value(text: &str) -> Checked<String> {
    if is_mark(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is {}; a label's value must be up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
        quoted(text)
    ))
}

fn is_mark(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= 63
        && text
            .bytes()
            .all(|byte| inner(byte) || b"-_.".contains(&byte))
        && text.bytes().next().is_none_or(inner)
        && text.bytes().next_back().is_none_or(inner)
}

/// The name of a header, in lower case, that the prober does not set itself.
pub(in crate::config) fn header_name(text: &str) -> Checked<String> {
    /// What the prober, its HTTP or Vault's own clients set.
    const TAKEN: [&str; 8] = [
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "x-vault-namespace",
        "x-vault-request",
        "x-vault-token",
    ];
    let name = http::HeaderName::try_from(text)
        .map_err(|_| "is not the name of a header, such as `X-Gateway`".to_owned())?;
    if TAKEN.contains(&name.as_str()) {
        return Err("can't be set: the prober sets it itself".into());
    }
    Ok(name.as_str().to_owned())
}

/// The value of a header. It is not repeated: it may let in.
pub(in crate::config) fn header_value(text: &str) -> Checked<String> {
    let line = line(text)?;
    match http::HeaderValue::try_from(&line) {
        Ok(_) => Ok(line),
        Err(_) => Err("can't be a header's value; it must be one line of printable text".into()),
    }
}

/// The name of a label of series that is not the prober's own, nor Prometheus'.
pub(in crate::config) fn series_label(text: &str) -> Checked<()> {
    /// What the prober's metrics bear, and what the receivers add.
    const TAKEN: [&str; 17] = [
        "bound", "cause", "instance", "job", "kind", "le", "method", "party", "probe", "quantile",
        "reason", "result", "run", "signal", "stage", "step", "version",
    ];
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !starts || !text.bytes().all(inner) || text.starts_with("__") {
        return Err(
            "is not the name of a label, such as `cluster`: letters, digits and `_`, not with a digit or `__` at the beginning".into(),
        );
    }
    if TAKEN.contains(&text) {
        return Err("can't be set: the prober's metrics have a label of that name".into());
    }
    Ok(())
}

/// The value of a label of series. It is sent with every one, and is a part of a path for a Pushgateway.
pub(in crate::config) fn series_label_value(text: &str) -> Checked<String> {
    const LONGEST: usize = 128;
    let line = line(text)?;
    let part = !matches!(text, "" | "." | "..") && !text.contains('/');
    if part && line.len() <= LONGEST {
        return Ok(line);
    }
    Err(format!(
        "is {}; it must have 1 to {LONGEST} bytes, without `/`, for which a Pushgateway has no place",
        quoted(text)
    ))
}
