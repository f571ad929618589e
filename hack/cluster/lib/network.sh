# The bridge, and what a machine must look like before anything starts (sourced by up.sh).

preflight() {
	mkdir -p "$LIVE"/{pki,etcd,node/run,node/var-lib,node/var-log,cni,manifests}
	chmod 700 "$LIVE"
	[ -f "$LIVE/prepared" ] && return # a second run: the checks below would find our own things
	local dirty="the rest of another cluster, or of one whose state was removed by hand: run 'make down', or remove it"
	if ip link show "$BRIDGE" >/dev/null 2>&1; then die "the network device $BRIDGE exists already: $dirty"; fi
	if ip route | grep -qE "^(${POD_CIDR%.*}|${SERVICE_CIDR%.*.*})\."; then die "a route overlaps $POD_CIDR or $SERVICE_CIDR: $(ip route | grep -E "^(${POD_CIDR%.*}|${SERVICE_CIDR%.*.*})\." | head -n 1)"; fi
	if iptables-save 2>/dev/null | grep -qE '^:(KUBE|CNI)-'; then die "iptables has KUBE- or CNI- chains: $dirty"; fi
	local p
	for p in $ETCD_PORT $ETCD_PEER_PORT $KCM_PORT $SCHED_PORT $KUBELET_HEALTH_PORT $PROXY_HEALTH_PORT $PROXY_METRICS_PORT; do
		if listening 127.0.0.1 "$p"; then die "port $p is in use: stop what listens there (ss -ltnp 'sport = :$p')"; fi
	done
	# What down.sh has to put back. The machine's settings are noted once for all
	# clusters: the second one would note what the first has changed.
	noted "${NET_SYSCTLS[@]}" | put "$LIVE/sysctls"
	[ -f "$STATES/sysctls" ] || noted "${MACHINE_SYSCTLS[@]}" | put "$STATES/sysctls"
	if command -v nft >/dev/null; then nft list tables | put "$LIVE/nft-tables"; fi
	touch "$LIVE/prepared"
}
noted() {
	local s v
	for s in "$@"; do
		if v=$(sysctl -n "$s" 2>/dev/null); then echo "$s=$v"; fi
	done
}

# The bridge exists before any pod, because its address is the node's address:
# the API server, the kubelet and host services that pods must reach listen on it.
network() {
	# A fixed MAC: a bridge otherwise takes over the lowest one of its ports,
	# and pods' ARP entries go stale whenever that changes.
	ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" address 0a:58:0a:f4:00:01 type bridge
	ip addr replace "$NODE_IP/${POD_CIDR#*/}" dev "$BRIDGE"
	ip link set "$BRIDGE" up
	# Without this route, what is sent to a Service before kube-proxy has its
	# rules follows the default route out of the machine; where a gateway
	# answers for every address, the API server then keeps that connection
	# (seen with an aggregated API: 404 for ever). On the bridge it just fails.
	ip route replace "$SERVICE_CIDR" dev "$BRIDGE" src "$NODE_IP"
	sysctl -qw net.ipv4.ip_forward=1
	# Pod -> Service -> pod on the same bridge: replies must pass iptables to be translated back.
	sysctl -qw net.bridge.bridge-nf-call-iptables=1
	# kubelet, containerd and Go programs in pods share root's inotify instances; 128 is tight.
	[ "$(sysctl -n fs.inotify.max_user_instances)" -ge 1024 ] || sysctl -qw fs.inotify.max_user_instances=1024
}
