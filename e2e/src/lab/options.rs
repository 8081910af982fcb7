//! The options of a lab.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// What can be chosen about a lab; [`Options::from_env`] is what `lab up` and the tests use.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The operator to run; the stand-in if `None`.
    pub operator: Option<RealOperator>,
    /// A `vault` binary to run in OpenBao's place.
    pub vault: Option<PathBuf>,
    /// How many resources of a kind that writes a Secret the operator reconciles at once; 100, its own default, if `None`.
    pub workers: Option<u16>,
    /// Whether Vault also listens by IPv6, and for what speaks the PROXY protocol.
    pub listeners: bool,
    /// Whether there is a node for Pods to run on, which needs root.
    pub node: bool,
    /// Whether the logs stay when the lab has gone. They also do when it fails to start.
    pub keep: bool,
    /// Told what is being done, a line at a time.
    pub say: Option<fn(&str)>,
}

/// An operator that is not the stand-in.
#[derive(Clone, Debug)]
pub struct RealOperator {
    /// Its binary.
    pub binary: PathBuf,
    /// A folder with the YAML of its CRDs.
    pub crds: PathBuf,
}

impl Options {
    /// Reads `VSO_BIN` with `VSO_CRDS`, and `VAULT_BIN`.
    pub fn from_env() -> Result<Self> {
        let operator = match (path("VSO_BIN")?, path("VSO_CRDS")?) {
            (Some(binary), Some(crds)) => Some(RealOperator { binary, crds }),
            (None, None) => None,
            _ => bail!(
                "only one of VSO_BIN and VSO_CRDS is set: the first names the operator's binary, the second the folder with its CRDs; set both, or none for the stand-in"
            ),
        };
        Ok(Self {
            operator,
            vault: path("VAULT_BIN")?,
            ..Self::default()
        })
    }
}

fn path(name: &str) -> Result<Option<PathBuf>> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(value);
    let absolute = path.canonicalize();
    absolute
        .map(Some)
        .with_context(|| format!("{name} names `{}`, which can't be found", path.display()))
}
