//! The facts of a certificate, and nothing of its key.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::Text;

/// A certificate in a Secret, as it was when it was seen there.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Certificate {
    /// Its serial number as Vault writes it: octets in hexadecimal, with colons between. Empty if there is
    /// none to read.
    pub serial: Text,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// How long that was ahead; zero if it was past.
    pub left: Duration,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaws: Vec<Flaw>,
}

impl Certificate {
    /// One that can't be read at all.
    pub fn unreadable(why: impl Into<Text>) -> Self {
        Self {
            flaws: vec![Flaw::new(Aspect::Form, why)],
            ..Self::default()
        }
    }

    /// Whether it is all that it should be.
    pub const fn is_right(&self) -> bool {
        self.flaws.is_empty()
    }
}

/// Something wrong with a certificate.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Flaw {
    /// Of which part.
    pub of: Aspect,
    /// Why. Never a part of a key.
    pub why: Text,
}

impl Flaw {
    /// A flaw of this part, and why it is one.
    pub fn new(of: Aspect, why: impl Into<Text>) -> Self {
        let why = why.into();
        Self { of, why }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of.as_str(), self.why)
    }
}

/// A part of what makes a certificate right.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// It can be read.
    Form,
    /// It was issued by the CA of the mount, and is valid.
    Chain,
    /// The private key beside it is its own.
    Key,
    /// It bears the name that was asked for.
    Name,
}

impl Aspect {
    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Chain => "chain",
            Self::Key => "key",
            Self::Name => "name",
        }
    }
}
