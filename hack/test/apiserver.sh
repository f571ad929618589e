#!/usr/bin/env bash
# A real Kubernetes API for tests that need no nodes: etcd and kube-apiserver, on loopback.
#
#   apiserver.sh start DIR ADDRESS PORT    etcd listens at PORT+1 and PORT+2
#   apiserver.sh stop DIR [SIGNAL]
#
# DIR/kubeconfig is an administrator's; DIR/audit.log names every write, one JSON object a line.
# ETCD_BY=PORT leads the API server to etcd by way of whoever listens at that port.
# WITH_CONTROLLERS=1 adds kube-controller-manager (garbage collection, HPA, Deployments' status).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"

RUN=${2:?DIR is missing}
BIN=$CACHE/cluster/bin

files() {
	mkdir -p "$RUN"/{log,etcd,pki}
	secret "$RUN/token"
	[ -s "$RUN/pki/sa.key" ] || openssl ecparam -name prime256v1 -genkey -noout | put "$RUN/pki/sa.key"
	echo "$(cat "$RUN/token"),admin,admin,system:masters" | put "$RUN/tokens.csv"
	put "$RUN/audit.yaml" <<-Y
		apiVersion: audit.k8s.io/v1
		kind: Policy
		omitStages: [RequestReceived]
		rules:
		- {level: None, verbs: [get, list, watch]}
		- {level: Metadata}
	Y
	# The server makes its own certificate; tests reach it over loopback and know it by the token.
	put "$RUN/kubeconfig" <<-Y
		apiVersion: v1
		kind: Config
		clusters: [{name: test, cluster: {server: "https://$address:$port", insecure-skip-tls-verify: true}}]
		users: [{name: admin, user: {token: "$(cat "$RUN/token")"}}]
		contexts: [{name: test, context: {cluster: test, user: admin}}]
		current-context: test
	Y
	chmod 600 "$RUN/kubeconfig" "$RUN/tokens.csv"
}

start_all() {
	local etcd=http://$address:$((port + 1)) peer=http://$address:$((port + 2))
	[ -x "$BIN/kube-apiserver" ] || die "the cluster's programs are not built: run hack/cluster/build.sh"
	files
	start etcd "$BIN/etcd" --name test --data-dir "$RUN/etcd" --unsafe-no-fsync --log-level warn \
		--listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
		--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "test=$peer"
	start kube-apiserver "$BIN/kube-apiserver" --bind-address "$address" --secure-port "$port" --cert-dir "$RUN/pki" \
		--etcd-servers "http://$address:${ETCD_BY:-$((port + 1))}" --token-auth-file "$RUN/tokens.csv" --authorization-mode RBAC \
		--service-account-issuer https://kubernetes.default.svc --service-account-key-file "$RUN/pki/sa.key" \
		--service-account-signing-key-file "$RUN/pki/sa.key" --service-cluster-ip-range 10.97.0.0/24 \
		--audit-policy-file "$RUN/audit.yaml" --audit-log-path "$RUN/audit.log" --profiling=false \
		--endpoint-reconciler-type none --disable-admission-plugins ServiceAccount
	wait_for 240 kube-apiserver "the API server" "$BIN/kubectl" --kubeconfig "$RUN/kubeconfig" get --raw /readyz
	[ "${WITH_CONTROLLERS:-0}" = 1 ] || return 0
	start kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig "$RUN/kubeconfig" --leader-elect=false \
		--secure-port 0 --service-account-private-key-file "$RUN/pki/sa.key" --horizontal-pod-autoscaler-sync-period 1s
}

case ${1:-} in
start)
	address=${3:?ADDRESS is missing} port=${4:?PORT is missing}
	start_all
	;;
stop) for name in kube-controller-manager kube-apiserver etcd; do stop "$name" "${3:-KILL}"; done ;;
*) die "usage: apiserver.sh start DIR ADDRESS PORT | stop DIR [SIGNAL]" ;;
esac
