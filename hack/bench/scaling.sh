#!/usr/bin/env bash
# make bench-scaling: the same backlog with 1, 2, 4 and 8 partitions and as many workers, each a process, on a Kafka and a PostgreSQL
# that are fresh each time. Reports are kept as $CACHE/bench/worker-scaling-N-ROUND.json.
#
#   scaling.sh [N...]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

ROUNDS=${ROUNDS:-5}
MESSAGES=${MESSAGES:-50000}
USERS=1000 ROOM_SIZE=20
PORTS=${BENCH_PORTS:-31860}
RUN=$STATES/bench-scaling
. "$LIB/bench.sh"

failed=()
trap bench_down EXIT
[ $# -gt 0 ] || set -- 1 2 4 8
for n in "$@"; do
	bench_build
	CHAT_PARTITIONS=$n bench_up
	for ((w = 0; w < n; w++)); do worker; done
	measured warm-up 0 backlog --messages "$MESSAGES"
	rm -f "$OUT/worker-warm-up-0.json" "$OUT/worker-scaling-$n"-*.json
	for ((r = 1; r <= ROUNDS; r++)); do measured "scaling-$n" "$r" backlog --messages "$MESSAGES"; done
	bench_down
done
[ ${#failed[@]} = 0 ] || die "these found something wrong, see their reports in $OUT: $(IFS=';' && echo "${failed[*]}")"
