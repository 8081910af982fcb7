//! The labels of the metrics: one spelling a word, that of the JSON.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::model::cause::{Cause, Party};
use crate::model::signal::Signal;
use crate::model::snapshot::Void;
use crate::model::{Kind, Stage, Step, Verdict};

/// What every `vso_probe_*` carries.
#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct At {
    pub(super) probe: String,
    pub(super) kind: Kind,
    pub(super) step: Step,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfProbe {
    pub(super) probe: String,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfStage {
    pub(super) stage: Stage,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfResult {
    pub(super) result: Verdict,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfCause {
    pub(super) cause: Cause,
    pub(super) party: Party,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfFailure {
    pub(super) run: String,
    pub(super) cause: Cause,
    pub(super) party: Party,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfVoid {
    pub(super) reason: Void,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfSignal {
    pub(super) signal: Signal,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfMethod {
    pub(super) signal: Signal,
    pub(super) method: Method,
}

#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfVersion {
    pub(super) version: String,
}

/// Which end of a span a time is.
#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfBound {
    pub(super) bound: Bound,
}

/// The exemplar of a bucket.
#[derive(Clone, Debug, EncodeLabelSet)]
pub(super) struct OfRun {
    pub(super) run: String,
}

/// How a coefficient was computed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    /// From ranks.
    Spearman,
    /// From values.
    Pearson,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Spearman => "spearman",
            Self::Pearson => "pearson",
        }
    }
}

/// An end of a span in which the truth lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// It is no less.
    Least,
    /// It is no more.
    Most,
}

impl Bound {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Least => "least",
            Self::Most => "most",
        }
    }
}

macro_rules! label_values {
    ($($word:ident)*) => {
        $(impl EncodeLabelValue for $word {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
                self.as_str().encode(encoder)
            }
        })*
    };
}

label_values!(Bound Cause Kind Method Party Signal Stage Step Verdict Void);
