#!/usr/bin/env bash
# stack.sh up|down: the whole of Parley for the end-to-end tests, as make up starts it,
# from what lies in the cache. Runs under namespace.sh. Both may be called again.
set -euo pipefail
[ "${TEST_NAMESPACE_STATE:-}" = entered ] || { echo "error: run this through hack/test/namespace.sh" >&2 && exit 1; }
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/progress.sh"
. "$LIB/stack.sh"
. "$LIB/demo.sh"

LOGS=$STATE/log
case ${1:-} in
up)
	mkdir -p "$LOGS"
	step "the whole stack" stack_up
	step "demo users alice and bob" demo_users
	# For the test that does what it says.
	farewell >"$STATE/demo/farewell"
	;;
down) stack_down ;;
*) die "usage: stack.sh up|down" ;;
esac
