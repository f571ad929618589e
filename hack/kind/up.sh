#!/usr/bin/env bash
# The demo's cluster on a machine with Docker: kind, Kafka, PostgreSQL and the
# image in it. Safe to run again: what is there is left as it is.
#
#   hack/kind/up.sh IMAGE.tar     makes the cluster `parley` and prints its kubeconfig's path
#   hack/kind/up.sh down          deletes it, and all data in it
#
# Leaves behind: namespace parley, the Services kafka and postgres, both ready, and the
# Secret parley-database. KUBECTL names another kubectl than the one on PATH.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

NAME=parley
KIND_VERSION=v0.33.0
KIND=$TOOLS/kind-$KIND_VERSION/kind
KUBECONFIG=$CACHE/kind.kubeconfig # kind can write it anew at any time
KUBECTL=${KUBECTL:-kubectl}
export KUBECONFIG

k() { "$KUBECTL" "$@"; }
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

tools() {
	docker info >/dev/null 2>&1 || die "no Docker daemon answers (docker info): start Docker, or use a machine without it"
	[ ! -x "$KIND" ] || return 0
	command -v go >/dev/null || die "Go is missing: it builds kind $KIND_VERSION"
	GOBIN=$(dirname "$KIND") CGO_ENABLED=0 go install "sigs.k8s.io/kind@$KIND_VERSION" >&2
}

# exists NAME: kind's list is one name a line.
exists() { "$KIND" get clusters 2>/dev/null | grep -x "$1" >/dev/null; }

cluster() {
	if exists "$NAME"; then
		"$KIND" export kubeconfig --name "$NAME" --kubeconfig "$KUBECONFIG" >&2
	else
		mkdir -p "$CACHE"
		"$KIND" create cluster --config "$ROOT/kind-config.yaml" --kubeconfig "$KUBECONFIG" --wait 180s >&2
	fi
}

# cluster_secret NAME < key=value lines: once; the passwords in a database do not change with it.
cluster_secret() {
	if k -n parley get secret "$1" >/dev/null 2>&1; then return; fi
	k -n parley create secret generic "$1" --from-env-file=/dev/stdin >&2
}

# password KEY: of the Secret postgres, in clear.
password() { k -n parley get secret postgres -o "go-template={{index .data \"$1\" | base64decode}}"; }

backends() {
	local who
	k create namespace parley --dry-run=client -o yaml | k apply -f - >&2
	for who in postgres owner worker gateway; do echo "$who=$(random)"; done | cluster_secret postgres
	k apply -f "$HACK/kind/kafka.yaml" -f "$HACK/kind/postgres.yaml" >&2
	k -n parley rollout status statefulset/postgres --timeout=300s >&2
	# Roles and database. Through psql's input: a password on a command line shows in ps.
	{
		for who in owner worker gateway; do echo "\\set ${who}_password $(password $who)"; done
		cat "$HACK/postgres/roles.sql"
	} | k -n parley exec -i postgres-0 -- psql -X -q -v ON_ERROR_STOP=1 -U postgres -d postgres >&2
	for who in owner worker gateway; do
		echo "$who-url=postgres://parley_$who:$(password $who)@postgres.parley.svc:5432/parley"
	done | cluster_secret parley-database
	k -n parley rollout status statefulset/kafka --timeout=300s >&2
}

case ${1:-} in
down)
	tools
	if exists "$NAME"; then "$KIND" delete cluster --name "$NAME" --kubeconfig "$KUBECONFIG" >&2; fi
	rm -f "$KUBECONFIG"
	;;
*.tar)
	[ -f "$1" ] || die "no image at $1: make image"
	tools
	command -v "$KUBECTL" >/dev/null || die "kubectl is missing: install it, or name one in KUBECTL"
	cluster
	"$KIND" load image-archive "$1" --name "$NAME" >&2
	backends
	echo "$KUBECONFIG"
	;;
*) die "usage: $0 IMAGE.tar | down" ;;
esac
