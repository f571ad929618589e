#!/usr/bin/env bash
# namespace.sh COMMAND...: runs it beside whatever else this machine does, in network,
# mount and PID namespaces of its own, after clearing what an earlier run left. When the
# command ends, or this is killed, everything that it started ends with it.
#
# In the environment of COMMAND: KUBECONFIG, and kubectl, helm and the image's programs on the PATH.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

export CLUSTER_STATE=$STATES/test CLUSTER_CGROUP=parleytest

# keep_logs: of every process and pod, for whoever looks for the reason.
keep_logs() {
	local kept=$CACHE/log/namespace
	rm -rf "$kept"
	mkdir -p "$kept"
	cp -r "$CLUSTER_STATE/log" "$kept/steps" 2>/dev/null || true
	cp "$CLUSTER_STATE"/{cluster,kafka,postgres}/log/*.log "$kept/" 2>/dev/null || true
	cp -r "$CLUSTER_STATE/cluster/node/var-log/pods" "$kept/pods" 2>/dev/null || true
	say "the logs of processes and pods: $kept"
}

# Inside: PID 1 of the namespaces, which reaps what the command leaves.
if [ "${TEST_NAMESPACE_STATE:-}" = entering ]; then
	exec 9>&-
	ip link set lo up
	# There is nothing to end here any more, but there are files and cgroups.
	"$HACK/cluster/down.sh"
	rm -rf --one-file-system "$CLUSTER_STATE"
	before=$(mktemp)
	"$HACK/cluster/leftovers.sh" save "$before" "$CLUSTER_CGROUP"
	export TEST_NAMESPACE_STATE=entered KUBECONFIG=$CLUSTER_STATE/kubeconfig PATH=$CACHE/cluster/bin:$CACHE/image/bin:$PATH
	status=0
	"$@" || status=$?
	[ $status = 0 ] || keep_logs
	"$HACK/test/stack.sh" down
	if ! "$HACK/cluster/leftovers.sh" check "$before" "$CLUSTER_CGROUP" >&2; then
		say "error: the cluster left behind what the lines above name (>), or took away (<)"
		[ $status != 0 ] || status=1
	fi
	rm -f "$before"
	exit $status
fi

[ $# -gt 0 ] || die "usage: namespace.sh COMMAND..."
as_root
unshare --net --mount --pid --fork --mount-proc true 2>/dev/null ||
	die "this machine refuses network, mount and PID namespaces; the end-to-end tests need them (a machine or VM, root)"
exclusively "$CACHE/lock-test" "test run"
export TEST_NAMESPACE_STATE=entering
exec setpriv --pdeathsig KILL unshare --net --mount --pid --fork --mount-proc --kill-child=SIGKILL "$HACK/test/namespace.sh" "$@"
