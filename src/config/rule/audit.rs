//! The rules for what the audit logs are read by: names of sources, networks, accounts.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Checked, is_label};
use crate::config::problem::quoted;
use crate::model::name::{ObjectRef, SourceName};

/// How long a source's name may be.
const LONGEST_SOURCE: usize = 32;

/// The name of a source.
pub(in crate::config) fn source(text: &str) -> Checked<SourceName> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=LONGEST_SOURCE).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.into());
    }
    Err(format!(
        "is {}; it must be 1 to {LONGEST_SOURCE} of `a-z`, `0-9` and `-`",
        quoted(text)
    ))
}

/// An address or a network, as it is meant: no bit is set beyond its prefix.
pub(in crate::config) fn network(text: &str) -> Checked<IpNet> {
    let allowed = "it must be an IP address or a network, such as `10.20.0.0/16`";
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text
            .parse::<IpNet>()
            .map_err(|_| format!("is {}; {allowed}", quoted(text)))?,
    };
    if network.trunc() != network {
        return Err(format!(
            "is {}, an address within a network; write {} or {}",
            quoted(text),
            quoted(&network.trunc().to_string()),
            quoted(&network.addr().to_string()),
        ));
    }
    Ok(network)
}

/// A `ServiceAccount`, `namespace/name`.
pub(in crate::config) fn service_account(text: &str) -> Checked<ObjectRef> {
    let fits = |part: &str| part.len() <= 63 && is_label(part);
    match text.split_once('/') {
        Some((namespace, name)) if fits(namespace) && name.split('.').all(fits) => {
            Ok(ObjectRef::new(namespace, name))
        }
        _ => Err(format!(
            "is {}; it must name a ServiceAccount as `namespace/name`",
            quoted(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_written_as_it_is_meant() {
        assert_eq!(network("10.20.0.0/16").unwrap().to_string(), "10.20.0.0/16");
        assert_eq!(network("10.20.0.1").unwrap().to_string(), "10.20.0.1/32");
        assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
        let wrong = network("10.20.3.0/16").unwrap_err();
        assert!(wrong.contains("`10.20.0.0/16` or `10.20.3.0`"), "{wrong}");
        assert!(network("everywhere").is_err());
    }
}
