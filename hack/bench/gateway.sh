#!/usr/bin/env bash
# make bench-gateway: the gateway under load, on a Kafka, a PostgreSQL and a worker of its own.
#
#   gateway.sh [SCENARIO...]    idle fanout big thousand stuck drain crash connect flood day; all of them when none is named
#
# Each scenario has a fresh gateway at its default settings, but for what is said beside it, and is measured ROUNDS times (5). Reports are
# printed, and kept as JSON in $CACHE/bench. What docs/benchmarks.md says was measured by this.
# Fewer STREAMS (default 10000) for a smaller machine; each needs a file in the gateway and one in the load generator.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

STREAMS=${STREAMS:-10000}
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-6}
PORTS=${BENCH_PORTS:-31800} # ten from here on, and the broker's at +100
RUN=$STATES/bench-gateway
. "$LIB/bench.sh"

# scenario NAME COMMAND USERS ROOM-SIZE "SETTING=VALUE..." ARGUMENT...
scenario() {
	local name=$1 command=$2 users=$3 size=$4 settings=$5 seed
	shift 5
	# shellcheck disable=SC2086 # settings are words
	gateway gateway 0 $settings
	staged "$name" "$users" "$size"
	say "== $name: $users users in rooms of $size${settings:+, $settings}"
	if ! "$RUN/bin/loadgen" "$command" --seed "$seed" --users "$users" --room-size "$size" --gateway "127.0.0.1:$((PORTS + 4))" \
		--pid "$(pid_of gateway)" "$@" | tee "$OUT/gateway-$name.json"; then
		failed+=("$name")
	fi
	stop gateway
	stop other
}
# again NAME ...: the same, ROUNDS times.
again() {
	local n
	for ((n = 1; n <= ROUNDS; n++)); do scenario "$1-$n" "${@:2}"; done
}
# with_other NAME ...: the same, with a second gateway for those who have to leave the first.
with_other() {
	local n
	for ((n = 1; n <= ROUNDS; n++)); do
		gateway other 1
		scenario "$1-$n" "${@:2}" --other "127.0.0.1:$((PORTS + 6))"
	done
}

run() {
	rm -f "$OUT/gateway-$1".json "$OUT/gateway-$1"-*.json
	case $1 in
	# Heartbeats come every 15 s.
	idle) again idle idle "$STREAMS" 100 "" --settle 20 ;;
	# 5,000 deliveries a second.
	fanout) scenario fanout fanout "$STREAMS" 100 "" --rate 50 --seconds "$SECONDS_EACH" --rounds "$ROUNDS" ;;
	# One room with everybody in it, five messages a second: what the peers' figures are of.
	big) scenario big fanout "$STREAMS" 10000 "" --rate 5 --seconds "$SECONDS_EACH" --rounds "$ROUNDS" ;;
	thousand) scenario thousand fanout $((STREAMS / 10)) 1000 "" --rate 5 --seconds "$SECONDS_EACH" --rounds "$ROUNDS" ;;
	# A thousand that read and a thousand that do not, in the same rooms. The kernel's buffers are filled before each phase; what the
	# phase brings then fits the queues nearly, so that they wait for most of it and are cut in the end.
	stuck)
		scenario stuck stuck 2000 100 "PARLEY_STREAM_QUEUE_KIB=128" --admin "127.0.0.1:$((PORTS + 5))" --rate 60 --seconds 10 \
			--message-bytes 4096 --rounds "$ROUNDS"
		;;
	drain) with_other drain drain $((STREAMS / 2)) 100 "PARLEY_DRAIN_SECONDS=15" --drain-seconds 15 --rate 25 --seconds 20 ;;
	# The other one has to take all who come back at once from a gateway that was killed.
	crash) with_other crash drain $((STREAMS / 2)) 100 "" --kill --rate 25 --seconds 12 ;;
	connect) again connect connect "$STREAMS" 100 "" --rate 2000 ;;
	flood) again flood flood 200 100 "" --rate 20 --seconds "$SECONDS_EACH" --connects 10000 ;;
	# Everything that people do.
	day) STAGE_OPTIONS=--passwords again day day $((STREAMS / 5)) 20 "" --rate 200 --seconds 12 ;;
	*) die "there is no scenario $1: idle fanout big thousand stuck drain crash connect flood day" ;;
	esac
}

failed=()
[ "$(ulimit -n)" -ge $((STREAMS * 2)) ] || ulimit -n "$(ulimit -Hn)"
bench_build
trap bench_down EXIT
bench_up
worker
[ $# -gt 0 ] || set -- idle fanout big thousand stuck drain crash connect flood day
for name in "$@"; do run "$name"; done
[ ${#failed[@]} = 0 ] || die "these found something wrong, see their reports above: ${failed[*]}"
