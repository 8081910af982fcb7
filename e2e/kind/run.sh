#!/usr/bin/env bash
# Tests the shipped manifests in a kind cluster, with Vault and the operator from their charts: installs them as in
# docs/install.md, runs every step of the shipped probe in a Job, and exits with the prober's exit code. The report is
# left in target/kind/report.xml. VSO_VERSION chooses the operator's chart, VAULT_VERSION Vault's; KEEP=1 keeps the cluster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cluster=vso-prober
output=target/kind
say() { printf '\n── %s\n' "$*" >&2; }

for command in docker kind helm kubectl make; do
  command -v "$command" >/dev/null || {
    say "\`$command\` is needed and was not found on the PATH"
    exit 2
  }
done
mkdir -p "$output"
export KUBECONFIG=$PWD/$output/kubeconfig

# shellcheck disable=SC2329 # the trap calls it
end() {
  local code=$?
  if ((code)); then
    say "the state of things"
    kubectl get pods --all-namespaces || true
    kubectl -n vso-probe describe job vso-prober || true
    kubectl -n vso-probe get events --sort-by=.lastTimestamp || true
    kubectl -n vault-secrets-operator-system logs deploy/vault-secrets-operator-controller-manager \
      --container manager --tail 50 || true
  fi
  [[ ${KEEP:-} == 1 ]] || kind delete cluster --name "$cluster"
  exit "$code"
}
trap end EXIT

say "the image"
make image

say "the cluster"
kind create cluster --config kind-config.yaml --wait 120s
kind load image-archive target/image/vso-prober.tar --name "$cluster"

say "Vault and the operator"
helm repo add hashicorp https://helm.releases.hashicorp.com --force-update
helm install vault hashicorp/vault ${VAULT_VERSION:+--version "$VAULT_VERSION"} --namespace vault --create-namespace \
  --set server.dev.enabled=true --set server.dev.devRootToken=root --set injector.enabled=false --wait --timeout 5m
helm install vault-secrets-operator hashicorp/vault-secrets-operator ${VSO_VERSION:+--version "$VSO_VERSION"} \
  --namespace vault-secrets-operator-system --create-namespace --wait --timeout 5m

say "policies and roles"
vault() { kubectl -n vault exec -i vault-0 -- env VAULT_TOKEN=root vault "$@"; }
vault auth enable kubernetes
vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc
vault secrets enable -path=kvv2 kv-v2
for name in policy:vso-prober canaries:vso-prober-canaries; do
  vault policy write "${name#*:}" - <"manifests/vault/${name%:*}.hcl"
done
for name in role:vso-prober canaries:vso-prober-canaries; do
  vault write "auth/kubernetes/role/${name#*:}" - <"manifests/vault/${name%:*}.json"
done

say "the probe"
kubectl apply --kustomize e2e/kind
pod=
for _ in {1..120}; do
  pod=$(kubectl -n vso-probe get pods --selector batch.kubernetes.io/job-name=vso-prober --output name)
  phase=$(kubectl -n vso-probe get pods --selector batch.kubernetes.io/job-name=vso-prober \
    --output jsonpath='{.items[*].status.phase}')
  [[ $phase == Succeeded || $phase == Failed ]] && break
  sleep 5
done
kubectl -n vso-probe logs "$pod" | tee "$output/report.xml"
code=$(kubectl -n vso-probe get "$pod" --output jsonpath='{.status.containerStatuses[0].state.terminated.exitCode}')
say "the prober's exit code: ${code:-none, as it did not end}"

say "the Deployment"
kubectl apply --dry-run=server --kustomize manifests/overlays/cronjob
kubectl -n vso-probe delete job vso-prober
helm upgrade --install vso-prober manifests/chart --namespace vso-probe --take-ownership \
  --set image.tag=dev --set serviceMonitor.enabled=false --wait --timeout 2m
kubectl -n vso-probe exec deploy/vso-prober -- vso-prober doctor --leader-elect
exit "${code:-3}"
