# etcd, the API server, the controllers and the scheduler (sourced by up.sh).

control_plane() {
	local d=$LIVE/pki
	# What Parley's accounts ask for, so that a test can hold it against what they may.
	put "$LIVE/audit.yaml" <<-Y
		apiVersion: audit.k8s.io/v1
		kind: Policy
		omitStages: [RequestReceived]
		rules:
		- {level: Metadata, userGroups: ["system:serviceaccounts:parley"]}
		- {level: None}
	Y
	# fsync off: the data does not outlive the cluster.
	start etcd "$BIN/etcd" --name parley --data-dir "$LIVE/etcd" --unsafe-no-fsync --log-level warn \
		--listen-client-urls "http://127.0.0.1:$ETCD_PORT" --advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
		--listen-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" --initial-advertise-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" \
		--initial-cluster "parley=http://127.0.0.1:$ETCD_PEER_PORT"
	# bind and advertise NODE_IP: the "kubernetes" Service's endpoint must not be
	# a loopback address, and nothing should listen on the machine's real network.
	start kube-apiserver "$BIN/kube-apiserver" \
		--bind-address "$NODE_IP" --advertise-address "$NODE_IP" --secure-port "$API_PORT" \
		--etcd-servers "http://127.0.0.1:$ETCD_PORT" \
		--client-ca-file "$d/ca.crt" --tls-cert-file "$d/apiserver.crt" --tls-private-key-file "$d/apiserver.key" \
		--kubelet-certificate-authority "$d/ca.crt" --kubelet-preferred-address-types InternalIP \
		--kubelet-client-certificate "$d/apiserver-kubelet-client.crt" --kubelet-client-key "$d/apiserver-kubelet-client.key" \
		--service-account-issuer https://kubernetes.default.svc.cluster.local \
		--service-account-key-file "$d/service-account.pub" --service-account-signing-key-file "$d/service-account.key" \
		--service-cluster-ip-range "$SERVICE_CIDR" --service-node-port-range "$NODE_PORTS" \
		--requestheader-client-ca-file "$d/front-proxy-ca.crt" --requestheader-allowed-names front-proxy-client \
		--requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
		--requestheader-extra-headers-prefix X-Remote-Extra- \
		--proxy-client-cert-file "$d/front-proxy.crt" --proxy-client-key-file "$d/front-proxy.key" \
		--authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true --profiling=false \
		--audit-policy-file "$LIVE/audit.yaml" --audit-log-path "$LIVE/audit.log" --audit-log-maxsize 20 --audit-log-maxbackup 1
	wait_for 240 kube-apiserver "the API server" k get --raw /readyz
	start kube-controller-manager "$BIN/kube-controller-manager" --bind-address 127.0.0.1 --secure-port "$KCM_PORT" \
		--kubeconfig "$LIVE/controller-manager.kubeconfig" --use-service-account-credentials --leader-elect=false \
		--authentication-kubeconfig "$LIVE/controller-manager.kubeconfig" --authorization-kubeconfig "$LIVE/controller-manager.kubeconfig" \
		--flex-volume-plugin-dir "$LIVE/volumeplugins" --root-ca-file "$d/ca.crt" --service-account-private-key-file "$d/service-account.key" \
		--cluster-signing-cert-file "$d/ca.crt" --cluster-signing-key-file "$d/ca.key" --profiling=false
	start kube-scheduler "$BIN/kube-scheduler" --bind-address 127.0.0.1 --secure-port "$SCHED_PORT" \
		--kubeconfig "$LIVE/scheduler.kubeconfig" --leader-elect=false --profiling=false \
		--authentication-kubeconfig "$LIVE/scheduler.kubeconfig" --authorization-kubeconfig "$LIVE/scheduler.kubeconfig"
}
