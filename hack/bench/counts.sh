#!/usr/bin/env bash
# make bench-counts: what a message, or a delivery, costs in allocations and in calls of the system: counted by the kernel, not timed.
# Reports are kept as $CACHE/bench/counts-{worker,gateway}.json. Needs perf (Debian: linux-perf), and tracefs with uprobes.
#
# A gateway's are the difference between a long and a short load, so that opening the streams does not count.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
. "$LIB/packages.sh"
as_root

MESSAGES=${MESSAGES:-50000}
STREAMS=${STREAMS:-2000}
USERS=1000 ROOM_SIZE=20
PORTS=${BENCH_PORTS:-31880}
RUN=$STATES/bench-counts
. "$LIB/bench.sh"

install_packages linux-perf jq
mountpoint -q /sys/kernel/tracing || mount -t tracefs parley-trace /sys/kernel/tracing || die "tracefs cannot be mounted: nothing can be counted"
# glibc's, for librdkafka and OpenSSL, and those that our own allocations go through.
PROBES=(malloc calloc realloc aligned_alloc mi_malloc_aligned mi_zalloc_aligned mi_realloc_aligned)

probes() {
	local function
	for function in "${PROBES[@]}"; do perf probe -q -x "$RUN/bin/parley" --add "parley_$function=$function" >/dev/null; done
}
no_probes() { perf probe -q --del 'probe_parley:*' >/dev/null 2>&1 || true; }
finish() {
	no_probes
	bench_down
}

# counted FILE PID COMMAND...: what the process did while the command ran, as {"allocations": N, "calls": N}.
counted() {
	local file=$1 pid=$2 events=raw_syscalls:sys_enter function
	shift 2
	for function in "${PROBES[@]}"; do events+=,probe_parley:parley_$function; done
	perf stat -x, -e "$events" -p "$pid" -o "$file.csv" -- "$@"
	awk -F, '/sys_enter/ {calls = $1} /probe_parley/ {allocations += $1} END {printf "{\"allocations\": %d, \"calls\": %d}\n", allocations, calls}' \
		"$file.csv" >"$file"
}

count_worker() {
	worker
	measured warm-up 0 backlog --messages "$MESSAGES"
	rm -f "$OUT/worker-warm-up-0.json"
	MEASURED_BY="counted $RUN/worker.json $(pid_of worker)" measured counted 0 backlog --messages "$MESSAGES"
	rm -f "$OUT/worker-counted-0.json"
	# The scenario saves 2,000 more to begin with.
	jq --argjson messages $((MESSAGES + 2000)) '{messages: $messages, allocationsPerMessage: (.allocations / $messages), callsPerMessage: (.calls / $messages)}' \
		"$RUN/worker.json" | tee "$OUT/counts-worker.json"
}

# fanout SECONDS: a load of five messages a second to one room.
fanout() {
	local seed
	staged counts "$STREAMS" 10000
	counted "$RUN/gateway-$1.json" "$(pid_of gateway)" "$RUN/bin/loadgen" fanout --seed "$seed" --users "$STREAMS" --room-size 10000 \
		--gateway "127.0.0.1:$((PORTS + 4))" --pid "$(pid_of gateway)" --rate 5 --seconds "$1" --rounds 1 >"$RUN/fanout-$1.json"
}

count_gateway() {
	gateway gateway 0
	fanout 2
	fanout 22
	jq -n --slurpfile less "$RUN/gateway-2.json" --slurpfile more "$RUN/gateway-22.json" \
		--slurpfile short "$RUN/fanout-2.json" --slurpfile long "$RUN/fanout-22.json" '
		($long[0].rounds[0].deliveries - $short[0].rounds[0].deliveries) as $deliveries |
		{deliveries: $deliveries, streams: $long[0].streams, allocationsPerDelivery: (($more[0].allocations - $less[0].allocations) / $deliveries),
		 callsPerDelivery: (($more[0].calls - $less[0].calls) / $deliveries)}' | tee "$OUT/counts-gateway.json"
}

failed=()
bench_build symbols
trap finish EXIT
no_probes
probes
bench_up
count_worker
count_gateway
[ ${#failed[@]} = 0 ] || die "these found something wrong: ${failed[*]}"
