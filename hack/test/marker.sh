#!/usr/bin/env bash
# After the end-to-end tests: no password that they typed, and no session's cookie, is anywhere (run through namespace.sh).
#
#   marker.sh pods    in Kafka's topics, dead letters among them, in PostgreSQL and in the logs of both and of all pods
#   marker.sh         the same without the pods' logs, which go with the pods
#
# Every password of those tests holds MARKER, but for those of the demo's users. In each place something else is looked for as well
# that is known to be there: a search that does not find it would not have found a password either.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

MARKER='a generated password'
COOKIE='__Host-parley=[A-Za-z0-9_-]{40}'
shopt -s nullglob
passwords=("$MARKER")
for file in "$STATE"/demo/*.password; do passwords+=("$(cat "$file")"); done

# holds PATTERN-OPTIONS... -- PATH...: the files that hold it, if any. A file may go while it is looked at; then all are, anew.
holds() {
	local status found try patterns
	patterns=$(cat)
	for try in 1 2 3 4 5; do
		status=0
		found=$(printf '%s\n' "$patterns" | grep -ral "$@") || status=$?
		if [ "$status" -le 1 ]; then
			printf '%s' "$found"
			return
		fi
		say "$what: files went while they were searched (try $try)" >&2
	done
	die "$what cannot be searched"
}

# search WHAT KNOWN PATH...: KNOWN is in these files and folders, and no secret is.
search() {
	local what=$1 known=$2 found
	shift 2
	[ $# -gt 0 ] || die "$what: there is no such file"
	grep -raqF -e "$known" -- "$@" || die "$what: \"$known\" is not found there, so the search says nothing: $*"
	# Through a pipe, so that no password shows in a list of processes.
	found=$(printf '%s\n' "${passwords[@]}" | holds -F -f - -- "$@")
	[ -z "$found" ] || die "$what: a password is in $found"
	found=$(holds -E -e "$COOKIE" -- "$@" </dev/null)
	[ -z "$found" ] || die "$what: a session's cookie is in $found"
	say "$what: $(find "$@" -type f | wc -l) files hold no password and no cookie"
}

data=$STATE/kafka/data-0
search "requests to log in" sealedPassword "$data"/login-request-*
search "requests to sign up" sealedPassword "$data"/user-add-request-*
search "replies" isSuccess "$data"/login-response-* "$data"/user-add-response-*
search "dead letters" origin-topic "$data"/dead-letter-*
search "all of Kafka" chat-event "$STATE/kafka"
# Rows as they are in the tables, or still in the write-ahead log.
# shellcheck disable=SC2016  # a hash begins like this
search "all of PostgreSQL" '$argon2id$v=19$' "$STATE/postgres"
if [ "${1:-}" = pods ]; then
	pods=$STATE/cluster/node/var-log/pods
	search "workers' logs" assigned "$pods"/parley_parley-worker-*
	search "gateways' logs" starting "$pods"/parley_parley-gateway-*
	search "all pods' logs" starting "$pods"
fi
