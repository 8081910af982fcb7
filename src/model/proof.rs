//! The proof of a step's effect: presence is not enough.

use serde::{Deserialize, Serialize};

use super::Mark;
use super::timeline::Content;

/// The proof of a step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The Secret has exactly this content, under another UID than `not_uid` if one is given.
    Content {
        /// The content.
        expected: Content,
        /// The UID of the Secret that was deleted.
        not_uid: Option<String>,
        /// What the Secret must have been seen with before, where its content goes back to what it was.
        after: Option<Content>,
    },
    /// The Secret holds a credential (a value that is not empty) and the status names its lease.
    Credential {
        /// The digest of an empty value.
        empty: String,
    },
    /// The Secret holds a certificate that is right in every way, that outlasts the one which it held before if
    /// it held one, and whose serial number the status names.
    Certificate,
    /// The status says that the lease was prolonged, still the same one.
    Prolonged {
        /// The lease.
        lease: String,
        /// When it had been issued or last prolonged, in seconds since 1970.
        renewed: i64,
    },
    /// The Secret holds another credential and the status names another lease.
    Replaced {
        /// The lease before.
        lease: String,
        /// The Secret's content before.
        old: Content,
        /// The digest of an empty value.
        empty: String,
    },
    /// The Secret holds what Vault gives the prober for the same path, and that is not what it held before.
    Given {
        /// The Secret's content before, if there was one.
        old: Option<Content>,
    },
    /// The resource and the Secret are both gone.
    Gone,
}

/// When a proof was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proven {
    /// The moment of the sighting that completed it.
    pub at: Mark,
    /// Whether that moment is only an upper bound, as a watch had been interrupted.
    pub relisted: bool,
}

impl Proof {
    /// The lease that the effect puts an end to, or prolongs.
    pub fn lease(&self) -> Option<&str> {
        match self {
            Self::Prolonged { lease, .. } | Self::Replaced { lease, .. } => {
                Some(lease.as_str()).filter(|lease| !lease.is_empty())
            }
            Self::Content { .. }
            | Self::Credential { .. }
            | Self::Certificate
            | Self::Given { .. }
            | Self::Gone => None,
        }
    }

    /// What the prober itself puts into the Secret, for the operator to undo.
    pub const fn after(&self) -> Option<&Content> {
        match self {
            Self::Content { after, .. } => after.as_ref(),
            Self::Credential { .. }
            | Self::Certificate
            | Self::Prolonged { .. }
            | Self::Replaced { .. }
            | Self::Given { .. }
            | Self::Gone => None,
        }
    }

    /// Whether a Secret with this UID and content is the proof, as far as its content alone can tell.
    pub fn holds(&self, uid: &str, content: &Content) -> bool {
        match self {
            Self::Content {
                expected, not_uid, ..
            } => content == expected && not_uid.as_deref() != Some(uid),
            Self::Credential { empty } => content.0.values().any(|digest| digest != empty),
            Self::Replaced { old, empty, .. } => {
                content != old && content.0.values().any(|digest| digest != empty)
            }
            Self::Prolonged { .. } | Self::Certificate | Self::Given { .. } | Self::Gone => false,
        }
    }

    /// Whether a Secret with this content is the proof where Vault `gave` this.
    pub fn is_given(&self, content: &Content, gave: &Content) -> bool {
        let Self::Given { old } = self else {
            return false;
        };
        content.covers(gave) && !old.as_ref().is_some_and(|old| old.covers(gave))
    }
}
