#!/usr/bin/env bash
# Stops servers that an earlier, killed test run left behind: those whose guard is gone.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
for RUN in "$STATES"/it/*; do
	[ -d "$RUN" ] || continue
	if [ -f "$RUN/guard" ] && grep -qs guard.sh "/proc/$(cat "$RUN/guard")/cmdline"; then continue; fi
	for pid in "$RUN"/pids/*; do
		[ ! -e "$pid" ] || stop "${pid##*/}" KILL
	done
	for disk in "$RUN"/data*; do no_disk "$disk"; done
	rm -rf "$RUN"
done
