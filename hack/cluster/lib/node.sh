# The node: namespaces, containerd, kubelet, kube-proxy (sourced by up.sh).

node_namespace() {
	if ! alive node; then
		rm -f "$LIVE/node/ready"
		start node unshare --mount --pid --fork --mount-proc --kill-child=SIGKILL bash "$CLUSTER/node-init.sh" "$LIVE/node"
	fi
	wait_for 240 node "the node's namespaces" test -f "$LIVE/node/ready"
	# nsenter needs the namespace's PID 1, which is unshare's only child.
	NODE_PID=$(tr -d ' ' <"/proc/$(pid_of node)/task/$(pid_of node)/children")
}
in_node() { nsenter -t "$NODE_PID" -m -p -- "$@"; }
start_in_node() {
	local name=$1
	shift
	start "$name" nsenter -t "$NODE_PID" -m -p -- "$@"
}

# No default route in pods: only pods, Services and the node are reachable, so
# that whatever runs here never depends on what is out there.
runtime() {
	node_namespace
	put "$LIVE/cni/10-parley.conflist" <<-J
		{
		  "cniVersion": "1.0.0", "name": "parley",
		  "plugins": [
		    {"type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "hairpinMode": true, "ipMasq": false,
		     "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/networks",
		              "ranges": [[{"subnet": "$POD_CIDR", "gateway": "$NODE_IP"}]],
		              "routes": [{"dst": "$SERVICE_CIDR"}]}},
		    {"type": "portmap", "capabilities": {"portMappings": true}}
		  ]
		}
	J
	put "$LIVE/containerd.toml" <<-T
		version = 2
		root = "/var/lib/containerd"
		state = "/run/containerd"
		disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
		  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
		[grpc]
		  address = "/run/containerd/containerd.sock"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$PAUSE_IMAGE"
		  # Lowering oom_score_adj (-998 for the sandbox, -997 for Guaranteed pods)
		  # needs CAP_SYS_RESOURCE; this clamps it to containerd's own value.
		  restrict_oom_score_adj = true
		  # A loaded AppArmor profile would outlive the cluster.
		  disable_apparmor = true
		  # Streaming (exec, attach, port-forward) is proxied by the kubelet.
		  stream_server_address = "127.0.0.1"
		  stream_server_port = "0"
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "$BIN/cni"
		    conf_dir = "$LIVE/cni"
		  [plugins."io.containerd.grpc.v1.cri".containerd]
		    snapshotter = "overlayfs"
		    default_runtime_name = "runc"
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		      runtime_type = "io.containerd.runc.v2"
		      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
		        SystemdCgroup = false
	T
	start_in_node containerd containerd --config "$LIVE/containerd.toml"
	wait_for 240 containerd containerd in_node ctr version
	load_image "$IMAGES/pause.tar"
	load_image "$IMAGES/coredns.tar"
}

# load_image TAR: into containerd, unless this very file was loaded before.
load_image() {
	local mark
	mark=$LIVE/images/$(basename "$1")
	mkdir -p "$LIVE/images"
	[ "$(cat "$mark" 2>/dev/null)" != "$(stat -c '%i %s %y' "$1")" ] || return 0
	in_node ctr -n k8s.io images import "$1" >/dev/null
	stat -c '%i %s %y' "$1" | put "$mark"
}

node_agents() {
	kubelet
	kube_proxy
}

kubelet() {
	local c
	# Pods' cgroups go under one parent of our own, which down.sh removes. On
	# cgroup v1 it must exist in every hierarchy before the kubelet starts.
	if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
		mkdir -p "/sys/fs/cgroup/$CGROUP"
	else
		for c in /sys/fs/cgroup/*/; do
			[ "$(stat -fc %T "$c")" = cgroupfs ] && mkdir -p "$c$CGROUP"
		done
	fi
	# No upstream resolver: pods resolve cluster names only.
	echo "nameserver $DNS_IP" >"$LIVE/resolv.conf"
	put "$LIVE/kubelet.yaml" <<-Y
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		address: $NODE_IP
		port: $KUBELET_PORT
		healthzBindAddress: 127.0.0.1
		healthzPort: $KUBELET_HEALTH_PORT
		authentication:
		  anonymous: {enabled: false}
		  webhook: {enabled: true}
		  x509: {clientCAFile: $LIVE/pki/ca.crt}
		authorization: {mode: Webhook}
		tlsCertFile: $LIVE/pki/kubelet-server.crt
		tlsPrivateKeyFile: $LIVE/pki/kubelet-server.key
		containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
		cgroupDriver: cgroupfs
		cgroupRoot: /$CGROUP
		failCgroupV1: false
		failSwapOn: false
		# Default -999 needs CAP_SYS_RESOURCE.
		oomScoreAdj: 0
		# Default 1000000; raising the hard limit needs CAP_SYS_RESOURCE as well.
		maxOpenFiles: $(ulimit -Hn | sed 's/unlimited/1000000/')
		clusterDNS: [$DNS_IP]
		clusterDomain: cluster.local
		resolvConf: $LIVE/resolv.conf
		volumePluginDir: /var/lib/kubelet/volumeplugins
		# The images were imported by hand and cannot be pulled again: never collect them,
		# and do not evict pods because the host's disk is fairly full.
		imageGCHighThresholdPercent: 100
		evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
		maxPods: 100
	Y
	start_in_node kubelet "$BIN/kubelet" --config "$LIVE/kubelet.yaml" --kubeconfig "$LIVE/kubelet.kubeconfig" \
		--root-dir /var/lib/kubelet --hostname-override "$NODE_NAME" --node-ip "$NODE_IP"
}

kube_proxy() {
	put "$LIVE/kube-proxy.yaml" <<-Y
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: iptables
		clientConnection: {kubeconfig: $LIVE/kube-proxy.kubeconfig}
		hostnameOverride: $NODE_NAME
		detectLocalMode: ClusterCIDR
		clusterCIDR: $POD_CIDR
		healthzBindAddress: 127.0.0.1:$PROXY_HEALTH_PORT
		metricsBindAddress: 127.0.0.1:$PROXY_METRICS_PORT
		# NodePorts answer on loopback and on the bridge, never on the real network.
		nodePortAddresses: [127.0.0.0/8, $NODE_IP/32]
		oomScoreAdj: 0
		# Leave the machine's conntrack table as it is.
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
	Y
	start_in_node kube-proxy "$BIN/kube-proxy" --config "$LIVE/kube-proxy.yaml"
}
