# The cluster's certificates and kubeconfigs (sourced by up.sh).

# One CA for everything; openssl with P-256 keys takes well under a second.
pki() {
	local d=$LIVE/pki
	[ -f "$d/done" ] && return
	openssl ecparam -name prime256v1 -genkey -noout -out "$d/ca.key"
	openssl req -x509 -new -key "$d/ca.key" -subj /CN=parley-ca -days 365 -out "$d/ca.crt" \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
	# cert NAME SUBJECT EXTENDED-KEY-USAGE [SAN]
	cert() {
		openssl ecparam -name prime256v1 -genkey -noout -out "$d/$1.key"
		openssl req -new -key "$d/$1.key" -subj "$2" |
			openssl x509 -req -CA "$d/ca.crt" -CAkey "$d/ca.key" -CAcreateserial -days 365 -out "$d/$1.crt" -extfile <(
				echo "keyUsage=critical,digitalSignature"
				echo "extendedKeyUsage=$3"
				if [ -n "${4:-}" ]; then echo "subjectAltName=$4"; fi
			) 2>/dev/null
	}
	cert apiserver /CN=kube-apiserver serverAuth \
		"IP:$NODE_IP,IP:127.0.0.1,IP:$API_SERVICE_IP,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	cert apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
	cert kubelet-server "/O=system:nodes/CN=system:node:$NODE_NAME" serverAuth "IP:$NODE_IP,DNS:$NODE_NAME"
	# The aggregation layer (metrics-server and the like) signs its forwarded
	# requests with a CA of its own; without it the controllers log errors.
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$d/front-proxy-ca.key" \
		-subj /CN=parley-front-proxy-ca -days 365 -out "$d/front-proxy-ca.crt" -addext basicConstraints=critical,CA:TRUE 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$d/front-proxy.key" -subj /CN=front-proxy-client 2>/dev/null |
		openssl x509 -req -CA "$d/front-proxy-ca.crt" -CAkey "$d/front-proxy-ca.key" -CAcreateserial -days 365 -out "$d/front-proxy.crt" \
			-extfile <(echo extendedKeyUsage=clientAuth) 2>/dev/null
	openssl genrsa -out "$d/service-account.key" 2048 2>/dev/null
	openssl rsa -in "$d/service-account.key" -pubout -out "$d/service-account.pub" 2>/dev/null

	# One kubeconfig per client, by the names that the built-in RBAC knows.
	local who subject
	while read -r who subject; do
		cert "$who" "$subject" clientAuth
		cat >"$LIVE/$who.kubeconfig" <<-Y
			apiVersion: v1
			kind: Config
			clusters:
			- name: parley
			  cluster:
			    server: https://$NODE_IP:$API_PORT
			    certificate-authority-data: $(base64 -w0 "$d/ca.crt")
			users:
			- name: $who
			  user:
			    client-certificate-data: $(base64 -w0 "$d/$who.crt")
			    client-key-data: $(base64 -w0 "$d/$who.key")
			contexts:
			- name: parley
			  context: {cluster: parley, user: $who}
			current-context: parley
		Y
		chmod 600 "$LIVE/$who.kubeconfig"
	done <<-L
		admin /O=system:masters/CN=parley-admin
		controller-manager /CN=system:kube-controller-manager
		scheduler /CN=system:kube-scheduler
		kubelet /O=system:nodes/CN=system:node:$NODE_NAME
		kube-proxy /CN=system:kube-proxy
	L
	touch "$d/done"
}
