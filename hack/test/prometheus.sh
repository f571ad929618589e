#!/usr/bin/env bash
# A real Prometheus that scrapes the pods of the running system as the chart's ServiceMonitor
# says, and evaluates the chart's alerts.
#
#   prometheus.sh start DIR KUBECONFIG PORT
#   prometheus.sh stop DIR
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"

RUN=${2:?DIR is missing}

# Debian's Prometheus cannot ask Kubernetes itself: it reads who is there from a file.
configuration() {
	cat <<-Y
		global: {scrape_interval: 3s, evaluation_interval: 15s}
		rule_files: ["$ROOT/charts/parley/files/alerts.yaml"]
		scrape_configs:
		- {job_name: parley, honor_labels: true, file_sd_configs: [{files: ["$RUN/targets.json"], refresh_interval: 2s}]}
	Y
}

# targets KUBECONFIG: the pods with a port named admin, and the labels that a ServiceMonitor gives them: job is the
# component, and the pool comes along. Until Prometheus ends.
targets() {
	local found
	while alive prometheus; do
		if found=$("$CACHE/cluster/bin/kubectl" --kubeconfig "$1" -n parley get pods -l app.kubernetes.io/part-of=parley -o json 2>/dev/null |
			jq '[.items[] | select(.status.podIP and any(.spec.containers[].ports[]?; .name == "admin")) | {targets: ["\(.status.podIP):9090"],
				labels: {namespace: .metadata.namespace, pod: .metadata.name, job: .metadata.labels["app.kubernetes.io/component"], parley_dev_pool: (.metadata.labels["parley.dev/pool"] // "")}}]'); then
			put "$RUN/targets.json" <<<"$found"
		fi
		sleep 1
	done
}

case ${1:-} in
start)
	mkdir -p "$RUN"
	configuration | put "$RUN/prometheus.yaml"
	start prometheus prometheus --config.file "$RUN/prometheus.yaml" --storage.tsdb.path "$RUN/data" \
		--web.listen-address "127.0.0.1:${4:?PORT is missing}" --log.level warn
	wait_for 240 prometheus "Prometheus" curl -fsS "http://127.0.0.1:$4/-/ready"
	start targets "$0" targets "$RUN" "${3:?KUBECONFIG is missing}"
	;;
targets) targets "$3" ;;
stop) stop prometheus KILL ;;
*) die "usage: prometheus.sh start DIR KUBECONFIG PORT | stop DIR" ;;
esac
