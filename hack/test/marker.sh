#!/usr/bin/env bash
# After the end-to-end tests: no password that they typed is anywhere (run through namespace.sh).
#
#   marker.sh pods    in Kafka's topics, dead letters among them, in PostgreSQL and in the logs of both and of all pods
#   marker.sh         the same without the pods' logs, which go with the pods
#
# Every password of those tests holds MARKER. In each place something else is looked for as well that is known to be there:
# a search that does not find it would not have found a password either.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

MARKER='a generated password'

# search WHAT KNOWN PATH...: KNOWN is in these files and folders, and MARKER is not.
search() {
	local what=$1 known=$2 found status=0
	shift 2
	[ $# -gt 0 ] || die "$what: there is no such file"
	grep -raqF -e "$known" -- "$@" || die "$what: \"$known\" is not found there, so the search says nothing: $*"
	found=$(grep -ralF -e "$MARKER" -- "$@") || status=$?
	[ "$status" -le 1 ] || die "$what cannot be searched: $*"
	[ -z "$found" ] || die "$what: a password is in $found"
	say "$what: $(find "$@" -type f | wc -l) files hold no password"
}

shopt -s nullglob
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
