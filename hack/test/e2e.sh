#!/usr/bin/env bash
# The end-to-end tests on a stack of their own (run through namespace.sh).
#
#   e2e.sh             all: first what leaves the system as it was, then the bundle's, which replace it
#   e2e.sh FILTER...   those that cargo's filter chooses, one after another
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/stack.sh" up
"$here/prometheus.sh" start "$CLUSTER_STATE/prometheus" "$KUBECONFIG" 9095

# No network in here: everything was built before.
run() { CARGO_NET_OFFLINE=true cargo test --locked --test e2e -- "$@"; }
if [ $# -gt 0 ]; then
	run --test-threads=1 "$@"
else
	run --skip bundle::
	run bundle::rolling
	# What was scraped so far, as pictures for docs/dashboards.md.
	[ -z "${PICTURES:-}" ] || node "$here/../dashboards/pictures.mjs" http://127.0.0.1:9095 "$PICTURES"
	run bundle::watched
	"$here/marker.sh" pods
	# Uninstalls, reinstalls, upgrades, rolls back, and ends with the deletion of the namespace.
	run bundle::life
	"$here/marker.sh"
	# Takes away what is left, and installs it all anew as the documentation says.
	run bundle::pages
	# What the load of these tests typed stands nowhere in what servers and pods wrote.
	for part in kafka postgres cluster/log cluster/node/var-log; do
		[ -d "$CLUSTER_STATE/$part" ] || { echo "error: $CLUSTER_STATE/$part is not there to be searched" >&2 && exit 1; }
		"$here/passwords.sh" expect "$CLUSTER_STATE/$part"
		"$here/passwords.sh" look "$CLUSTER_STATE/$part"
	done
fi
