//! The standing of a replica: it leads, it follows another, or it runs no probes at all.

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
    /// No replica of its kind does: it judges audit logs alone.
    Audits,
}

impl Standing {
    /// Whether this replica runs the probes.
    pub fn leads(&self) -> bool {
        *self == Self::Leads
    }

    /// Whether another replica runs the probes, and publishes what this one would.
    pub fn follows(&self) -> bool {
        matches!(self, Self::Follows { .. })
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self::Follows { leader: None }
    }
}
