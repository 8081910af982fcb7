//! The node: containerd and a kubelet in namespaces of their own, where real Pods run, and the scheduler that sends them there.
//!
//! Its network is a bridge with the Pods on it that leads nowhere. What a Pod is to reach of the machine listens at the node's
//! address, behind a [`Door`]; nothing of it shows in the machine's own network, so that two labs never meet.

mod door;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::Client;
use kube::api::Api;
use rustix::process::geteuid;
use serde_json::json;
use tokio::net::UnixStream;
use tokio::process::Command;

use super::control_plane::ApiServer;
use super::kubeconfig::{self, User};
use super::part::{Part, Process};
use super::port;
use super::site::Site;
pub use door::Door;
use door::Network;

/// The node's address, which is also what the API server has Pods told as its own: the first of the Services' range
/// (`--service-cluster-ip-range`). So a door there is all that Pods need, and no proxy.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The node's name. The API server takes it for the host that the kubelet listens on, and finds a door there.
const NAME: &str = "localhost";

/// The image that `make tools` makes.
pub const PAUSE: &str = "lab.example/pause:1";

/// How long a part of the node may take to start.
const START: Duration = Duration::from_secs(60);

/// A running node.
pub struct Node {
    namespaces: Process,
    containerd: Process,
    kubelet: Process,
    scheduler: Process,
    network: Network,
    runtime: Runtime,
    _doors: Vec<Door>,
}

impl Node {
    /// Starts a node whose Pods reach the API server as in any cluster, and Vault at port 8200 of [`ADDRESS`].
    pub(crate) async fn start(site: &Site, apiserver: &ApiServer, vault: &str) -> Result<Self> {
        ensure!(
            geteuid().is_root(),
            "a node needs root, for its namespaces and what is mounted there; NODE=0 leaves out the trials that need a node"
        );
        site.say("node: namespaces, containerd");
        let scheduler = start_scheduler(site, apiserver)?;
        let namespaces = start_namespaces(site).await?;
        let network = Network::of(namespaces.pid())?;
        let door = |port, url: &str| {
            let address = url.rsplit('/').next().unwrap_or_default();
            let to = address
                .parse()
                .with_context(|| format!("`{url}` names a port"))?;
            Door::out(&network, (ADDRESS, port).into(), to)
        };
        let mut doors = vec![door(443, &apiserver.address)?, door(8200, vault)?];
        let (containerd, runtime) = Runtime::start(site, &namespaces).await?;
        runtime.import(&site.tools.pause()?).await?;
        site.say("node: kubelet");
        let (kubelet, door) = port::retry(async || {
            let port = port::free()?;
            let door = Door::into(&network, port, (ADDRESS, port).into()).await?;
            let kubelet = start_kubelet(site, &namespaces, &runtime, apiserver, port)?;
            ready(&kubelet, &apiserver.admin).await?;
            Ok((kubelet, door))
        })
        .await?;
        doors.push(door);
        Ok(Self {
            namespaces,
            containerd,
            kubelet,
            scheduler,
            network,
            runtime,
            _doors: doors,
        })
    }

    /// The process of a part of it, if the part is the node's.
    pub(crate) fn process(&self, part: Part) -> Option<&Process> {
        match part {
            Part::Namespaces => Some(&self.namespaces),
            Part::Containerd => Some(&self.containerd),
            Part::Kubelet => Some(&self.kubelet),
            Part::Scheduler => Some(&self.scheduler),
            Part::Etcd
            | Part::ApiServer
            | Part::ControllerManager
            | Part::Vault
            | Part::Postgres
            | Part::Operator => None,
        }
    }

    /// Lets Pods reach an address of the machine's at this port of [`ADDRESS`].
    pub fn open(&self, port: u16, to: SocketAddr) -> Result<Door> {
        Door::out(&self.network, (ADDRESS, port).into(), to)
    }

    /// A way to an address in the node's network, a Pod's for one.
    pub async fn reach(&self, to: SocketAddr) -> Result<Door> {
        Door::into(&self.network, 0, to).await
    }

    /// Puts an image on the node, from an archive.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        self.runtime.import(archive).await
    }

    /// Where containerd listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.runtime.socket
    }
}

async fn start_namespaces(site: &Site) -> Result<Process> {
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["sh", "-c", include_str!("node/namespaces.sh"), "node"])
        .arg(&site.folder);
    let process = site.spawn(Part::Namespaces, &mut command)?;
    let up = site.folder.join("node.up");
    let asked = async || {
        ensure!(up.exists(), "it is not set up yet");
        Ok(())
    };
    process.ready(START, asked).await?;
    Ok(process)
}

/// A command in the node's namespaces.
fn inside(namespaces: &Process, program: &Path) -> Command {
    let pid = namespaces.pid();
    let mut command = Command::new("nsenter");
    command
        .args(["--target", &pid.to_string(), "--mount", "--net"])
        // `unshare` itself is in its old namespace of processes; its children are in the new one.
        .arg(format!("--pid=/proc/{pid}/ns/pid_for_children"))
        .arg(program);
    command
}

/// containerd, as whoever speaks to it knows it.
struct Runtime {
    socket: PathBuf,
    ctr: PathBuf,
}

impl Runtime {
    async fn start(site: &Site, namespaces: &Process) -> Result<(Process, Self)> {
        let tools = &site.tools;
        let runtime = Self {
            socket: site.folder.join("containerd.sock"),
            ctr: tools.ctr()?,
        };
        let networks = site.folder.join("cni");
        fs::create_dir(&networks).with_context(|| format!("{}", networks.display()))?;
        let bridge = json!({
            "cniVersion": "0.4.0", "name": "pods",
            "plugins": [{"type": "bridge", "bridge": "pods", "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.0.0.0/16", "rangeStart": "10.0.1.1", "rangeEnd": "10.0.255.254", "gateway": ADDRESS}]],
            }}],
        });
        site.write("cni/pods.conflist", bridge.to_string())?;
        let (folder, socket) = (site.folder.display(), runtime.socket.display());
        // Without CAP_SYS_RESOURCE, as in a container, runc dies of a score below its own with `can't get final child's PID
        // from pipe: EOF`; hence `restrict_oom_score_adj`. A profile of AppArmor's would stay in the kernel.
        let config = format!(
            "\
version = 2
root = \"{folder}/containerd\"
state = \"/run/containerd\"
disabled_plugins = [\"io.containerd.internal.v1.opt\"]
[grpc]
address = \"{socket}\"
[plugins.\"io.containerd.grpc.v1.cri\"]
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
sandbox_image = \"{PAUSE}\"
[plugins.\"io.containerd.grpc.v1.cri\".cni]
bin_dir = \"{}\"
conf_dir = \"{}\"
",
            folder_of(&tools.host_local()?),
            networks.display()
        );
        let config = site.write("containerd.toml", config)?;
        let binary = tools.containerd()?;
        let path = std::env::var("PATH").unwrap_or_default();
        let beside = [folder_of(&binary), folder_of(&tools.runc()?)].join(":");
        let mut command = inside(namespaces, &binary);
        command
            .arg("--config")
            .arg(config)
            .env("PATH", format!("{beside}:{path}"));
        let process = site.spawn(Part::Containerd, &mut command)?;
        let asked = async || Ok(UnixStream::connect(&runtime.socket).await.map(drop)?);
        process.ready(START, asked).await?;
        Ok((process, runtime))
    }

    async fn import(&self, archive: &Path) -> Result<()> {
        let output = Command::new(&self.ctr)
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(archive)
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "could not import `{}`: {}",
            archive.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

fn folder_of(tool: &Path) -> String {
    tool.parent().unwrap_or(tool).display().to_string()
}

fn start_kubelet(
    site: &Site,
    namespaces: &Process,
    runtime: &Runtime,
    apiserver: &ApiServer,
    port: u16,
) -> Result<Process> {
    let folder = site.folder.display();
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", runtime.socket.display()),
        "port": port, "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "failCgroupV1": false, "failSwapOn": false,
        // Without groups by quality of service, runc's would be below one of containerd's, which is every lab's.
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", site.name()), "enforceNodeAllocatable": [],
        "volumePluginDir": "/var/lib/kubelet/plugins", "podLogsDir": format!("{folder}/pods"),
        // Names are told to Pods by `hostAliases`: nobody listens there.
        "clusterDNS": [ADDRESS], "resolvConf": "", "makeIPTablesUtilChains": false,
        // How full the machine's disk is says nothing of the node.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
    });
    let config = site.write("kubelet.json", config.to_string())?;
    let kubeconfig = kubeconfig::render(
        &format!("https://{ADDRESS}"),
        &apiserver.ca,
        &[User {
            name: "kubelet",
            token: &apiserver.admin_token,
            namespace: "default",
        }],
    );
    let kubeconfig = site.write("kubelet.kubeconfig", kubeconfig)?;
    let mut command = inside(namespaces, &site.tools.kubelet()?);
    command
        .arg(format!("--config={}", config.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--hostname-override={NAME}"))
        .arg(format!("--node-ip={ADDRESS}"));
    site.spawn(Part::Kubelet, &mut command)
}

/// Waits until Pods can be scheduled: the kubelet is well, and the controllers have taken the taint of a new node away.
async fn ready(kubelet: &Process, admin: &Client) -> Result<()> {
    let nodes: Api<KubeNode> = Api::all(admin.clone());
    let asked = async || {
        let node = nodes.get(NAME).await?;
        let conditions = node.status.and_then(|status| status.conditions);
        let ready = conditions.iter().flatten().find(|one| one.type_ == "Ready");
        let ready = ready.context("it has not said that it is ready")?;
        ensure!(ready.status == "True", "{ready:?}");
        let taints = node.spec.and_then(|spec| spec.taints);
        ensure!(taints.iter().flatten().next().is_none(), "{taints:?}");
        Ok(())
    };
    kubelet.ready(START, asked).await
}

fn start_scheduler(site: &Site, apiserver: &ApiServer) -> Result<Process> {
    let mut command = Command::new(site.tools.kube_scheduler()?);
    command
        .arg(format!(
            "--kubeconfig={}",
            apiserver.admin_kubeconfig.display()
        ))
        .args(["--leader-elect=false", "--secure-port=0"]);
    site.spawn(Part::Scheduler, &mut command)
}
