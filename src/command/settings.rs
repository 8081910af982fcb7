//! The configuration as a command takes it: its file, and what the command line says in place of `kubernetes`.

use std::io::stdin;
use std::path::{Path, PathBuf};

use super::Error;
use crate::cli::KubernetesArgs;
use crate::config::problem::Problems;
use crate::config::{Config, check, namespace};
use crate::wire;

/// Where the configuration is read from, and what goes before it.
pub(super) struct Settings {
    file: Option<PathBuf>,
    kubernetes: KubernetesArgs,
}

impl Settings {
    /// Checks what the command line says.
    pub(super) fn new(file: Option<PathBuf>, kubernetes: KubernetesArgs) -> Result<Self, Error> {
        if let Some(name) = &kubernetes.namespace {
            namespace(name).map_err(|wrong| Error::Usage(format!("`--namespace` {wrong}")))?;
        }
        Ok(Self { file, kubernetes })
    }

    /// The configuration's file.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The file's name, as messages have it.
    pub(super) fn name(&self) -> String {
        self.file().unwrap_or(Path::new("")).display().to_string()
    }

    /// Reads and checks the configuration.
    pub(super) fn load(&self) -> Result<Config, Error> {
        let (name, text) = self.read()?;
        self.check(&text, &name).map_err(Error::problems)
    }

    /// Reads the configuration: the file's name and its text.
    pub(super) fn read(&self) -> Result<(String, String), Error> {
        let Some(file) = &self.file else {
            return Err(Error::Usage(
                "no configuration: pass `--config FILE` or set VSO_PROBER_CONFIG; `vso-prober config example` prints one"
                    .to_owned(),
            ));
        };
        let name = self.name();
        let text = wire::file::text(file)
            .map_err(|error| Error::Config(format!("tried to read {name}: {error}")))?;
        Ok((name, text))
    }

    /// As [`Self::read`], of another file if one is given; `-` is stdin.
    pub(super) fn read_or(self, file: Option<PathBuf>) -> Result<(Self, String, String), Error> {
        if file.as_ref().is_none_or(|file| file.as_os_str() != "-") {
            let file = file.or(self.file);
            let settings = Self { file, ..self };
            let (name, text) = settings.read()?;
            return Ok((settings, name, text));
        }
        let text = wire::file::text_of(stdin())
            .map_err(|error| Error::Config(format!("tried to read stdin: {error}")))?;
        Ok((self, "stdin".to_owned(), text))
    }

    /// Checks the configuration `text` of the file that is called `name`.
    pub(super) fn check(&self, text: &str, name: &str) -> Result<Config, Problems> {
        let mut config = check::load(text, name, |variable| std::env::var(variable).ok())?;
        let KubernetesArgs {
            namespace,
            context,
            kubeconfig,
        } = self.kubernetes.clone();
        let own = &mut config.kubernetes;
        own.namespace = namespace.unwrap_or_else(|| std::mem::take(&mut own.namespace));
        own.context = context.or_else(|| own.context.take());
        own.kubeconfig = kubeconfig;
        Ok(config)
    }
}
