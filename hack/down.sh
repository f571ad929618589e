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
mkdir -p "$CACHE/log"
# Others use the machine too: it may be theirs.
if [ -f "$CACHE/before-up" ] && ! "$HACK/cluster/leftovers.sh" check "$CACHE/before-up" >"$CACHE/log/leftovers" 2>&1; then
	say "what is there now (>) and was not before make up, or the other way round (<), if nothing else changed it:"
	cat "$CACHE/log/leftovers" >&2
fi
rm -f "$CACHE/before-up"
