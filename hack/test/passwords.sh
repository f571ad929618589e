#!/usr/bin/env bash
# No password that the tests type (the lines of `passwords`) is in what servers and services wrote: topics and dead letters,
# PostgreSQL's files, etcd's, logs. Each test program's servers are searched when they end; the findings are lines of the file
# SEARCHED. Without it nothing is done.
#
#   passwords.sh expect PATH     says that PATH will be searched
#   passwords.sh look PATH       searches this file or folder
#   passwords.sh found           waits until all that was expected was searched; fails when a password is anywhere
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
[ -n "${SEARCHED:-}" ] || exit 0

# Lines of one write each: many may write at a time.
note() { printf '%s\n' "$*" >>"$SEARCHED"; }
count() { grep -c "^$1 " "$SEARCHED" || true; }

case ${1:-} in
expect) note "expected $2" ;;
look)
	# A file may go meanwhile: the server is still there. Without -a the holes of sparse files are passed over, and no match is.
	found=$(grep -rlsF -D skip -f "$HACK/test/passwords" -- "$2" | tr '\n' ' ' || true)
	[ -z "$found" ] || note "found in $found"
	note "searched $2, $(find "$2" -type f 2>/dev/null | wc -l) files"
	;;
found)
	# A search that finds nothing of what was planted says nothing.
	probe=$(mktemp -d)
	cp "$HACK/test/passwords" "$probe/planted"
	SEARCHED=$probe/said "$0" look "$probe/planted"
	grep -q '^found in ' "$probe/said" || die "a planted password is not found"
	rm -r "$probe"
	for ((second = 0; second < 240; second++)); do
		[ "$(count expected)" -gt "$(grep -c '^searched /srv' "$SEARCHED" || true)" ] || break
		sleep 1
	done
	[ "$second" -lt 240 ] || die "the servers of the tests were not all searched: $SEARCHED"
	[ "$(count expected)" -gt 0 ] || die "no server was searched for passwords"
	! grep '^found ' "$SEARCHED" >&2 || die "a test's password is in the files above"
	say "$(count searched) servers and logs, $(awk '/^searched / {n += $(NF - 1)} END {print n}' "$SEARCHED") files: no password"
	;;
*) die "usage: passwords.sh expect|look PATH, passwords.sh found" ;;
esac
