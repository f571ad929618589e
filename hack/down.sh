#!/usr/bin/env bash
# make down: ends what make up started and removes all it made but the cache.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$LIB/progress.sh"
. "$LIB/stack.sh"

as_root
exclusively "$CACHE/lock-up" "make up or make down"
if docker info >/dev/null 2>&1; then step "kind" "$HACK/kind/up.sh" down; fi
step "processes, network, mounts, files" stack_down
