//! The standing of a replica: it leads, or it follows another.

use super::text::Text;

/// Whether this replica runs the probes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It does.
    Leads,
    /// Another does, as far as is known.
    Follows {
        /// Who holds the Lease, if anybody was seen to.
        leader: Option<Text>,
    },
}

impl Standing {
    /// Whether this replica runs the probes.
    pub fn leads(&self) -> bool {
        *self == Self::Leads
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self::Follows { leader: None }
    }
}
