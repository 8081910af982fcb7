//! The error of a reading: why there are no numbers of the operator's.

use std::fmt;

use crate::model::record::Obstacle;
use crate::model::reply::Reply;
use crate::model::text::Text;

/// Why there are no numbers.
#[derive(Clone, Debug)]
pub struct Error {
    /// What was asked for.
    pub asked: Asked,
    /// What came back, where something was sent.
    pub reply: Option<Reply>,
    /// What was tried, on what, what came back, and what to do.
    pub text: Text,
}

/// What was asked for when it failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    /// A token of a ServiceAccount, to ask for the metrics with.
    Token,
    /// The metrics.
    Metrics,
}

impl Error {
    /// An error at the metrics themselves.
    pub(super) fn new(reply: Option<Reply>, text: impl Into<Text>) -> Self {
        Self {
            asked: Asked::Metrics,
            reply,
            text: text.into(),
        }
    }

    /// An error at the token.
    pub(super) fn token(reply: Option<Reply>, text: impl Into<Text>) -> Self {
        Self {
            asked: Asked::Token,
            ..Self::new(reply, text)
        }
    }

    /// The status code that came back, if one did.
    pub fn status(&self) -> Option<u16> {
        self.reply.as_ref().and_then(Reply::status)
    }
}

impl From<Obstacle> for Error {
    fn from(obstacle: Obstacle) -> Self {
        Self::new(obstacle.reply, obstacle.text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl std::error::Error for Error {}
