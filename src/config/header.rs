//! A header of requests that the user sets, and where its value comes from.

use std::fmt;
use std::path::PathBuf;

/// A header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Its name, in lower case.
    pub name: String,
    /// Where its value comes from.
    pub value: HeaderSource,
}

/// Where a header's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderSource {
    /// The configuration itself.
    Value(Literal),
    /// The environment variable of this name.
    Env(String),
    /// This file.
    File(PathBuf),
}

/// A value that is written in the configuration and shown nowhere: it may let in.
#[derive(Clone, PartialEq)]
pub struct Literal(String);

impl Literal {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
