#!/usr/bin/env bash
# Has kind's own parser read kind-config.yaml, strictly, without Docker: kind reads the file before it asks the daemon,
# so with a daemon that refuses, that refusal is the error of a good file.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$HACK/check/tools.sh"

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
version=$(sed -n 's/^KIND_VERSION=//p' "$HACK/kind/up.sh")
kind=$(go_tool kind "$version" sigs.k8s.io/kind)
printf '#!/bin/sh\nexit 1\n' >"$SCRATCH/docker"
chmod +x "$SCRATCH/docker"

# reads FILE WORDS: what kind says of it.
reads() {
	env PATH="$SCRATCH:$PATH" KIND_EXPERIMENTAL_PROVIDER=docker "$kind" create cluster --config "$1" --kubeconfig "$SCRATCH/kubeconfig" >"$SCRATCH/out" 2>&1 &&
		die "kind made a cluster without Docker"
	grep -qF -- "$2" "$SCRATCH/out" || { cat "$SCRATCH/out" >&2; die "kind does not read $1 as it should"; }
}
reads "$ROOT/kind-config.yaml" "failed to get docker info"
sed 's/extraPortMappings/extraPortMaps/' "$ROOT/kind-config.yaml" >"$SCRATCH/wrong.yaml"
reads "$SCRATCH/wrong.yaml" "field extraPortMaps not found"
# The page's port is the one that make up gives the gateway.
port=$(sed -n 's/.*nodePort: \([0-9]*\).*/\1/p' "$HACK/up/values.yaml")
grep -q "containerPort: $port, hostPort: $port, listenAddress: 127.0.0.1" "$ROOT/kind-config.yaml" || die "kind-config.yaml does not pass on port $port of the gateway"
