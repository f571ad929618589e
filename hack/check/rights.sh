#!/usr/bin/env bash
# What the controller's account may do on a real API server, and what it may not:
# the rights of docs/chattopicset.md and nothing else.
#
#   hack/check/rights.sh KUBECONFIG
#
# Applies the chart's roles to that server and leaves them: use one of the tests' own.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=${XDG_CACHE_HOME:-$HOME/.cache}/parley/cluster/bin
HELM=${HELM:-$BIN/helm}
KUBECTL=${KUBECTL:-$BIN/kubectl}
export KUBECONFIG=${1:?a kubeconfig}

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# With a cache of its own: the user's would remember another server that had this port.
k() { "$KUBECTL" --cache-dir "$SCRATCH" "$@"; }

# roles RELEASE VALUES...: the controller's roles of a release, in the namespace of its name.
roles() {
	local release=$1 ns
	shift
	for ns in "$release" parley team-a; do
		k create namespace "$ns" --dry-run=client -o yaml | k apply --server-side -f - >/dev/null
	done
	"$HELM" template "$release" "$ROOT/charts/parley" -n "$release" --kube-version 1.34.4 \
		--show-only templates/controller/rbac.yaml --show-only templates/uninstall/rbac.yaml \
		--show-only templates/keys/rbac.yaml --set keys.generate.enabled=true "$@" |
		k apply --server-side --force-conflicts -f - >/dev/null
}

# ask RELEASE ACCOUNT NAMESPACE VERB RESOURCE [SUBRESOURCE]: yes or no.
ask() {
	k auth can-i "$4" "$5" ${6:+--subresource="$6"} -n "$3" \
		--as="system:serviceaccount:$1:$1-$2" --as-group=system:authenticated 2>/dev/null || true
}

# expect RELEASE [ACCOUNT]: reads lines `yes|no NAMESPACE VERB RESOURCE [SUBRESOURCE]`.
expect() {
	local release=$1 account=${2:-controller} want ns verb resource sub got
	while read -r want ns verb resource sub; do
		got=$(ask "$release" "$account" "$ns" "$verb" "$resource" "$sub")
		[ "$got" = "$want" ] || fail "may the $account of release $release $verb $resource${sub:+/$sub} in $ns? $got, but it should be $want"
		asked=$((asked + 1))
	done
}
asked=0

# Everywhere: rights on sets and targets reach into all namespaces, those on the lease do not.
roles parley-rights
expect parley-rights <<'END'
yes team-a list chattopicsets.parley.dev
yes team-a watch chattopicsets.parley.dev
yes team-a patch chattopicsets.parley.dev
yes team-a patch chattopicsets.parley.dev status
yes team-a list deployments.apps
yes team-a watch deployments.apps
yes team-a get deployments.apps
yes team-a patch deployments.apps scale
yes team-a create events.events.k8s.io
yes team-a patch events.events.k8s.io
yes parley-rights create leases.coordination.k8s.io
yes parley-rights get leases.coordination.k8s.io/parley-rights-controller
yes parley-rights update leases.coordination.k8s.io/parley-rights-controller
no parley-rights update leases.coordination.k8s.io/another
no parley-rights list leases.coordination.k8s.io
no parley-rights delete leases.coordination.k8s.io/parley-rights-controller
no team-a create leases.coordination.k8s.io
no team-a get chattopicsets.parley.dev
no team-a get deployments.apps scale
no team-a create chattopicsets.parley.dev
no team-a update chattopicsets.parley.dev
no team-a delete chattopicsets.parley.dev
no team-a update chattopicsets.parley.dev status
no team-a patch deployments.apps
no team-a update deployments.apps
no team-a update deployments.apps scale
no team-a delete deployments.apps
no team-a list statefulsets.apps
no team-a get secrets
no team-a list secrets
no parley-rights get secrets/parley-database
no team-a list pods
no team-a get configmaps
no team-a create pods
END

# The hook of an uninstallation: the sets' finalizers and its own controller's replicas, nothing else.
expect parley-rights uninstall <<'END'
yes team-a list chattopicsets.parley.dev
yes team-a patch chattopicsets.parley.dev
yes parley-rights patch deployments.apps/parley-rights-controller scale
yes parley-rights list pods
no parley-rights patch deployments.apps/parley-rights-gateway scale
no parley-rights patch deployments.apps/parley-rights-controller
no team-a patch deployments.apps/parley-rights-controller scale
no team-a list pods
no parley-rights delete pods
no team-a delete chattopicsets.parley.dev
no team-a patch chattopicsets.parley.dev status
no parley-rights get secrets/parley-database
END

# The hook that makes the keys: it writes one Secret and reads none, not even that one, so that no token of another account
# can be had by it.
expect parley-rights keys <<'END'
yes parley-rights create secrets
no team-a create secrets
no parley-rights get secrets/parley-keys
no parley-rights list secrets
no parley-rights watch secrets
no parley-rights patch secrets/parley-keys
no parley-rights update secrets/parley-keys
no parley-rights delete secrets/parley-keys
no parley-rights create serviceaccounts token
no parley-rights create pods
no parley-rights list chattopicsets.parley.dev
END

# In named namespaces, with Secrets: nothing beyond them.
roles parley-narrow --set 'controller.watchNamespaces={parley-narrow,team-a}' \
	--set 'controller.secretAccess[0].namespace=parley-narrow,controller.secretAccess[0].names={team-kafka}' \
	--set 'controller.secretAccess[1].namespace=team-a,controller.secretAccess[1].all=true'
expect parley-narrow <<'END'
yes parley-narrow list chattopicsets.parley.dev
yes team-a list chattopicsets.parley.dev
yes team-a patch deployments.apps scale
yes parley-narrow get secrets/team-kafka
yes team-a get secrets/whatever
no parley-narrow get secrets/parley-database
no parley-narrow list secrets
no team-a list secrets
no team-a watch secrets
no parley list chattopicsets.parley.dev
no parley list deployments.apps
no parley patch deployments.apps scale
no parley create events.events.k8s.io
END
echo "rights: $asked questions about the accounts of controller and hooks answered as they should be"
