//! Addresses, and how Vault's audit log shows that of the operator: learnt from its reads of canaries.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How many reads of canaries must agree before a mode is known.
const AGREEING: usize = 3;

/// Reads an address as logs write it: IPv4-mapped IPv6 is IPv4, a zone ID is dropped, and so is a port.
pub fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let text = bare.map_or(text, |(inner, _)| inner);
    let text = text.split('%').next().unwrap_or(text);
    let parsed = text.parse::<IpAddr>();
    let parsed = parsed.or_else(|error| match text.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host.parse(),
        _ => Err(error),
    });
    parsed.ok().map(|address| address.to_canonical())
}

/// A range of addresses: `10.0.0.0/8`, or one alone.
///
/// # Errors
/// It is neither.
pub fn range(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().ok();
    let net = net.or_else(|| parse(text).map(IpNet::from));
    net.ok_or_else(|| format!("`{text}` is neither an address nor a range such as `10.0.0.0/8`"))
}

/// As which address Vault sees the operator.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As its Pod's.
    Pod,
    /// As its node's.
    Node,
    /// As a proxy's, the same for others.
    Proxy,
    /// It is not known, or not to be used.
    Off,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Pod, Self::Node, Self::Proxy, Self::Off];

    /// Its name in configurations, labels and findings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Proxy => "proxy",
            Self::Off => "off",
        }
    }

    /// Whether an address tells the operator from others.
    pub const fn tells(self) -> bool {
        matches!(self, Self::Pod | Self::Node)
    }

    /// What the reads of canaries say, the latest last: the mode that the last three that say anything agree on, or that
    /// three before them did.
    pub fn learnt(votes: impl DoubleEndedIterator<Item = Option<Self>>) -> Self {
        let mut run: Option<(Self, usize)> = None;
        for vote in votes.rev().flatten() {
            let count = match run {
                Some((mode, count)) if mode == vote => count + 1,
                _ => 1,
            };
            if count == AGREEING {
                return vote;
            }
            run = Some((vote, count));
        }
        Self::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_and_not_their_spelling() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|text| text.parse().expect("an address"));
            assert_eq!(parse(text), expected, "{text}");
        };
        check("10.1.2.3", Some("10.1.2.3"));
        check("::ffff:10.1.2.3", Some("10.1.2.3"));
        check("fe80::1%eth0", Some("fe80::1"));
        check("10.1.2.3:8200", Some("10.1.2.3"));
        check("[2001:db8::1]:8200", Some("2001:db8::1"));
        check("2001:DB8:0::1", Some("2001:db8::1"));
        check("vault.example", None);
        check("", None);
    }

    #[test]
    fn a_range_may_be_one_address() {
        let one = range("10.0.0.7").expect("an address");
        assert!(one.contains(&parse("10.0.0.7").expect("an address")));
        assert!(
            range("10.0.0.0/8").is_ok() && range("10.0.0.0/40").is_err() && range("x").is_err()
        );
    }

    #[test]
    fn a_mode_is_learnt_when_three_agree() {
        let check = |votes: &str, expected| {
            let votes = votes.chars().map(|vote| match vote {
                'p' => Some(Mode::Pod),
                'n' => Some(Mode::Node),
                _ => None,
            });
            let votes: Vec<_> = votes.collect();
            assert_eq!(Mode::learnt(votes.iter().copied()), expected, "{votes:?}");
        };
        check("", Mode::Off);
        check("pp", Mode::Off);
        check("p.p.p", Mode::Pod);
        check("pppn", Mode::Pod);
        check("pppnnn", Mode::Node);
    }
}
