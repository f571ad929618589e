#!/usr/bin/env bash
# make profile: where processor time goes, as flame graphs, and the costliest functions as text.
#
#   profile.sh worker     while it saves a full backlog
#   profile.sh gateway    while it tells 10,000 streams of one room five messages a second (STREAMS)
#
# Writes docs/benchmarks/NAME.svg and $CACHE/bench/NAME.perf. Needs perf (Debian: linux-perf). Samples by the clock, so that it works on
# virtual machines without counters.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

MESSAGES=${MESSAGES:-150000}
STREAMS=${STREAMS:-10000}
USERS=1000 ROOM_SIZE=20
PORTS=${BENCH_PORTS:-31840}
RUN=$STATES/bench-profile
. "$LIB/bench.sh"
command -v perf >/dev/null || die "perf is needed: apt-get install linux-perf"

# record NAME COMMAND...: samples the program of this name while COMMAND runs.
record() {
	local name=$1
	shift
	perf record -e cpu-clock -F 499 -g --call-graph dwarf,16384 -p "$(pid_of "$name")" -o "$RUN/perf.data" -- "$@" >&2
	perf report -i "$RUN/perf.data" --no-children --percent-limit 0.5 --stdio -g none 2>/dev/null >"$OUT/$name.perf"
	perf script -i "$RUN/perf.data" 2>/dev/null | node "$HACK/bench/flame.mjs" >"$ROOT/docs/benchmarks/$name.svg"
	sed -n '1,60p' "$OUT/$name.perf" >&2
	say "flame graph: docs/benchmarks/$name.svg"
}

of_worker() {
	# It ends with the load.
	MEASURED_BY="record worker" measured profile 0 backlog --messages "$MESSAGES"
	rm -f "$OUT/worker-profile-0.json"
}

of_gateway() {
	local seed load
	gateway gateway 0
	staged profile "$STREAMS" "$STREAMS"
	"$RUN/bin/loadgen" fanout --seed "$seed" --users "$STREAMS" --room-size "$STREAMS" --gateway "127.0.0.1:$((PORTS + 4))" \
		--pid "$(pid_of gateway)" --rate 5 --seconds 30 --rounds 1 >"$RUN/profiled.json" &
	load=$!
	wait_for 120 gateway "all streams" streams_live
	record gateway sleep 15
	wait "$load" || failed+=(gateway)
	stop gateway
}
streams_live() {
	curl -fsS "http://127.0.0.1:$((PORTS + 5))/metrics" | awk -v most="$STREAMS" '/^parley_sse_connections{.*live/ {all = $NF >= most} END {exit !all}'
}

failed=()
[ "$(ulimit -n)" -ge $((STREAMS * 2)) ] || ulimit -n "$(ulimit -Hn)"
bench_build symbols
trap bench_down EXIT
bench_up
worker
[ $# -gt 0 ] || set -- worker gateway
for name in "$@"; do
	case $name in
	worker | gateway) "of_$name" ;;
	*) die "there is no profile of $name: worker gateway" ;;
	esac
done
[ ${#failed[@]} = 0 ] || die "these found something wrong: ${failed[*]}"
