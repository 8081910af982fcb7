//! An event of a watch, a line of JSON: whom it is about is read first, its content only where that is wanted.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kubernetes::hands::{holders, toucher};
use crate::kubernetes::read::lean;
use crate::model::text::Text;

/// Whom an event is about, and what befell it.
#[derive(Deserialize)]
pub(super) struct Header {
    /// What befell it.
    #[serde(rename = "type")]
    pub(super) change: Change,
    object: Named,
}

/// What befell an object.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Change {
    /// It is new to the watch.
    Added,
    /// It is another than it was.
    Modified,
    /// It is gone.
    Deleted,
    /// Nothing: the watch has come so far.
    Bookmark,
    /// The watch is at its end, and the object says why.
    Error,
    /// Something that is not known yet.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    resource_version: String,
}

#[derive(Deserialize)]
struct Whole {
    object: Value,
}

impl Header {
    /// Reads whom a line is about. A line that was cut, as it was too long, says nothing.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The name of the object.
    pub(super) fn name(&self) -> &str {
        &self.object.metadata.name
    }

    /// How far the watch has come with it, if it says so.
    pub(super) fn version(&self) -> Option<&str> {
        let version = &self.object.metadata.resource_version;
        Some(version.as_str()).filter(|version| !version.is_empty())
    }
}

/// Who else has a hand in an object.
#[derive(Default)]
pub(super) struct Others {
    /// Who changed it last without writing its data.
    pub(super) toucher: Option<Text>,
    /// The first finalizer that holds it while it is being deleted.
    pub(super) holder: Option<Text>,
}

/// The object that a line is about, if it is what it should be, and who else has a hand in it.
pub(super) fn object<K: DeserializeOwned>(line: &[u8]) -> Option<(K, Others)> {
    let whole: Whole = serde_json::from_slice(line).ok()?;
    let holder = holders(&whole.object, |_| false).into_iter().next();
    let others = Others {
        toucher: toucher(&whole.object),
        holder: holder.map(|holder| holder.as_str().into()),
    };
    Some((lean(whole.object).ok()?, others))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::ResourceExt as _;

    use super::*;

    #[test]
    fn whom_a_line_is_about_is_read_before_its_content() {
        let line = br#"{"type":"MODIFIED","object":{"kind":"Secret","metadata":{"name":"a","resourceVersion":"7"},"data":7}}"#;
        let header = Header::read(line).expect("an event");
        assert_eq!(header.change, Change::Modified);
        assert_eq!((header.name(), header.version()), ("a", Some("7")));
        assert!(object::<Secret>(line).is_none(), "its content is odd");

        let line = br#"{"type":"DELETED","object":{"metadata":{"name":"b"},"data":{"k":"dg=="}}}"#;
        let header = Header::read(line).expect("an event");
        assert_eq!((header.change, header.version()), (Change::Deleted, None));
        let (secret, _) = object::<Secret>(line).expect("a Secret");
        assert_eq!(secret.name_any(), "b");
    }

    #[test]
    fn what_is_no_event_is_none() {
        for line in [
            &b""[..],
            b"\n",
            b"{",
            br#"{"type":"ADDED","object":{"metadata":{"na"#,
            b"\xff",
        ] {
            assert!(Header::read(line).is_none());
        }
        let header = Header::read(br#"{"type":"NEW","object":{}}"#).expect("an event");
        assert_eq!((header.change, header.name()), (Change::Other, ""));
    }
}
