#!/usr/bin/env bash
# Starts a real one-node Kubernetes cluster (etcd, kube-apiserver,
# kube-controller-manager, kube-scheduler, containerd + runc, kubelet,
# kube-proxy, CoreDNS) on a machine without Docker. Needs root, the Debian
# packages of ../lib/packages.sh and what build.sh built. Safe to run again:
# what already runs is left alone.
#
#   up.sh            all of it
#   up.sh network    only the bridge, for what must listen on it before the node is there
#
# State: $CLUSTER_STATE (default: that of make up). Stop: down.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
. "$CLUSTER/lib/network.sh"
. "$CLUSTER/lib/pki.sh"
. "$CLUSTER/lib/control-plane.sh"
. "$CLUSTER/lib/node.sh"

as_root
case $STATE in
/run/* | /var/lib/* | /var/log/* | /proc/* | /sys/*) die "the state folder $STATE lies under a folder that the node covers" ;;
esac

k() { "$BIN/kubectl" --kubeconfig "$KUBECONFIG_ADMIN" "$@"; }

addons() {
	sed -e "s#@IMAGE@#$COREDNS_IMAGE#" -e "s#@DNS_IP@#$DNS_IP#" "$CLUSTER/addons/coredns.yaml" | put "$LIVE/manifests/coredns.yaml"
	k apply -f "$LIVE/manifests/coredns.yaml" >/dev/null
}

ready() {
	wait_for 240 kubelet "the node to be Ready" k wait --for=condition=Ready "node/$NODE_NAME" --timeout=30s
	wait_for 240 kube-proxy "kube-proxy" curl -fsS "http://127.0.0.1:$PROXY_HEALTH_PORT/healthz"
	k -n kube-system rollout status deployment/coredns --timeout=240s >/dev/null
}

preflight
network
[ "${1:-}" != network ] || exit 0
pki
step "etcd, API server, controllers, scheduler" control_plane
step "node: namespaces, containerd, images" runtime
step "kubelet, kube-proxy" node_agents
addons
step "node and CoreDNS ready" ready
