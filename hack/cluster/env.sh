# Settings shared by build.sh, up.sh and down.sh (sourced, not run).
# Versions are pinned in build/*/go.mod; build.sh fails when they say otherwise.

. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
. "$LIB/progress.sh"

K8S_VERSION=v1.34.4
ETCD_VERSION=v3.6.16
COREDNS_VERSION=v1.14.7
CNI_VERSION=v1.9.1
HELM_VERSION=v3.22.0

CLUSTER=$HACK/cluster
BIN=$CACHE/cluster/bin
IMAGES=$CACHE/cluster/images
LIVE=$STATE/cluster # everything about one running cluster (removed by down.sh)
RUN=$LIVE
KUBECONFIG_ADMIN=$LIVE/admin.kubeconfig

# ---- network -----------------------------------------------------------------
BRIDGE=parley0
POD_CIDR=10.244.0.0/24
NODE_IP=10.244.0.1        # the bridge's address: node, API server, and "the host" as pods see it
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10
API_PORT=6443             # on NODE_IP
ETCD_PORT=2379            # on 127.0.0.1
ETCD_PEER_PORT=2380       # on 127.0.0.1
KCM_PORT=10257 SCHED_PORT=10259 # on 127.0.0.1
KUBELET_PORT=10250        # on NODE_IP
KUBELET_HEALTH_PORT=10248 PROXY_HEALTH_PORT=10256 PROXY_METRICS_PORT=10249 # on 127.0.0.1
NODE_PORTS=30000-32767    # on 127.0.0.0/8 and NODE_IP only

NODE_NAME=parley
CGROUP=${CLUSTER_CGROUP:-parley} # parent of every pod's cgroup; a cluster of the tests has its own
PAUSE_IMAGE=registry.local/pause:1
COREDNS_IMAGE=registry.local/coredns:$COREDNS_VERSION

# Kernel settings that kubelet, kube-proxy or the bridge plugin change. up.sh
# saves them, down.sh puts them back. The first belong to the network namespace,
# the others to the whole machine, which another cluster may still be using.
NET_SYSCTLS=(
	net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.bridge.bridge-nf-call-iptables
	net.bridge.bridge-nf-call-ip6tables
	net.netfilter.nf_conntrack_max net.netfilter.nf_conntrack_tcp_be_liberal
	net.netfilter.nf_conntrack_tcp_timeout_established net.netfilter.nf_conntrack_tcp_timeout_close_wait
)
MACHINE_SYSCTLS=(
	vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
	kernel.keys.root_maxkeys kernel.keys.root_maxbytes fs.inotify.max_user_instances
)
