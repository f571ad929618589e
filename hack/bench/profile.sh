#!/usr/bin/env bash
# make profile: where the worker's processor time goes while it saves a full backlog: a flame graph, and the costliest functions.
#
#   $CACHE/bench/worker.svg     the flame graph
#   $CACHE/bench/worker.perf    functions by their own share, as text
#
# Needs perf (Debian: linux-perf). Samples by the clock, so that it works on virtual machines without counters.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

MESSAGES=${MESSAGES:-150000}
PORTS=${BENCH_PORTS:-31840}
RUN=$STATES/bench-profile
. "$LIB/bench.sh"
command -v perf >/dev/null || die "perf is needed: apt-get install linux-perf"

bench_build symbols
trap bench_down EXIT
bench_up
worker
seed=$(fresh profile)
"$RUN/bin/loadgen" stage --seed "$seed" --users 1000 --room-size 20 | sql -f - >/dev/null
# The worker's own threads only: perf ends with the load.
PARLEY_DATABASE_URL=$(url worker) perf record -e cpu-clock -F 499 -g --call-graph dwarf,16384 -p "$(pid_of worker)" -o "$RUN/perf.data" -- \
	"$RUN/bin/loadgen" backlog --bootstrap "127.0.0.1:$PORTS" --request-keys-file "$RUN/keys/request-keys.json" \
	--reply-keys-file "$RUN/keys/reply-keys.json" --worker-pid "$(pid_of worker)" --seed "$seed" --users 1000 --room-size 20 --messages "$MESSAGES" >&2
perf report -i "$RUN/perf.data" --no-children --percent-limit 0.5 --stdio -g none 2>/dev/null >"$OUT/worker.perf"
perf script -i "$RUN/perf.data" 2>/dev/null | node "$HACK/bench/flame.mjs" >"$OUT/worker.svg"
sed -n '1,60p' "$OUT/worker.perf"
say "flame graph: $OUT/worker.svg"
