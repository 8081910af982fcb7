//! The names of probes, runs and objects: each a type of its own, and each one word that is safe to show.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::text::Text;

macro_rules! names {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                word(String::deserialize(from)?).map(Self).map_err(D::Error::custom)
            }
        }
    )*};
}

names! {
    /// The name of a probe, as it is configured.
    ProbeId;
    /// The ID of a run.
    RunId;
    /// The name of a source of audit lines, as it is configured.
    SourceName;
}

/// An object in a namespace, written `namespace/name`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The object of this name in this namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl From<ObjectRef> for String {
    fn from(object: ObjectRef) -> Self {
        object.to_string()
    }
}

impl TryFrom<String> for ObjectRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let text = word(text)?;
        match text.split_once('/') {
            Some((namespace, name)) => Ok(Self::new(namespace, name)),
            None => Err(format!("`{text}` is not `namespace/name`")),
        }
    }
}

/// A text that can be shown as it is.
fn word(text: String) -> Result<String, String> {
    if Text::new(&text).as_str() == text {
        Ok(text)
    } else {
        Err(format!("`{}` can't be a name", Text::new(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_a_name_or_refused() {
        let run = |text: &str| serde_json::from_str::<RunId>(text);
        assert_eq!(run(r#""run0001""#).expect("a name"), "run0001");
        let refused = run(r#""\u001b[2J""#)
            .expect_err("it steers a terminal")
            .to_string();
        assert!(
            refused.contains(r"`\u{1b}[2J` can't be a name"),
            "{refused}"
        );
        let object = |text: &str| serde_json::from_str::<ObjectRef>(text);
        let canary = object(r#""vso-probe/vsop-kv""#).expect("an object");
        assert_eq!(canary, ObjectRef::new("vso-probe", "vsop-kv"));
        let written = serde_json::to_string(&canary).expect("it is plain");
        assert_eq!(written, r#""vso-probe/vsop-kv""#);
        assert!(object(r#""vsop-kv""#).is_err() && object(r#""a\n/b""#).is_err());
    }
}
