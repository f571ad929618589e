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
	sed -n '1,60p' "$OUT/$name.perf"
	say "flame graph: docs/benchmarks/$name.svg"
}

of_worker() {
	local seed
	seed=$(fresh profile)
	"$RUN/bin/loadgen" stage --seed "$seed" --users 1000 --room-size 20 | sql -f - >/dev/null
	# It ends with the load.
	PARLEY_DATABASE_URL=$(url worker) record worker \
		"$RUN/bin/loadgen" backlog --bootstrap "127.0.0.1:$PORTS" --request-keys-file "$RUN/keys/request-keys.json" \
		--reply-keys-file "$RUN/keys/reply-keys.json" --worker-pid "$(pid_of worker)" --seed "$seed" --users 1000 --room-size 20 --messages "$MESSAGES"
}

of_gateway() {
	local seed load
	seed=$(fresh profile)
	gateway gateway 0
	"$RUN/bin/loadgen" stage --seed "$seed" --users "$STREAMS" --room-size "$STREAMS" | sql -f - >/dev/null
	"$RUN/bin/loadgen" fanout --seed "$seed" --users "$STREAMS" --room-size "$STREAMS" --gateway "127.0.0.1:$((PORTS + 4))" \
		--pid "$(pid_of gateway)" --rate 5 --seconds 30 >"$OUT/profiled.json" &
	load=$!
	wait_for 120 gateway "all streams" streams_live
	record gateway sleep 15
	wait "$load"
	stop gateway
}
streams_live() {
	curl -fsS "http://127.0.0.1:$((PORTS + 5))/metrics" | awk -v most="$STREAMS" '/^parley_sse_connections{.*live/ {all = $NF >= most} END {exit !all}'
}

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
