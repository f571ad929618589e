#!/usr/bin/env bash
# make bench-worker: the worker's own path under load, on a Kafka and a PostgreSQL of its own, and what these could do alone.
#
#   worker.sh [PART...]    backlog rooms steady half streams hash logins stream; all of them when none is named
#
# Each part runs ROUNDS times (5). `backlog` is a round of several: the worker, PostgreSQL alone, Kafka alone by the worker's client
# library and by Kafka's own tools, and the plain loop, in turns, so that whatever disturbs the machine disturbs all of them.
# Reports are kept as JSON in $CACHE/bench; hack/bench/report.mjs makes the tables of docs/benchmarks.md of them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

ROUNDS=${ROUNDS:-5}
MESSAGES=${MESSAGES:-100000} # of a backlog
SECONDS_EACH=${SECONDS_EACH:-6}
HALF=12500 # messages a second: half of what is aimed at
USERS=1000 ROOM_SIZE=20 # 50 rooms, when nothing else is said
PORTS=${BENCH_PORTS:-31820}
RUN=$STATES/bench-worker
. "$LIB/bench.sh"
STREAMS=${STREAMS:-9000} # each is two files of one process, which may have 20,000
HASH_THREADS=$((($(nproc) + 1) / 2))

# alone NAME ROUND COMMAND ARGUMENT...: one that needs no system.
alone() {
	local name=$1 round=$2
	shift 2
	say "== $name, round $round"
	"$RUN/bin/loadgen" "$@" >"$OUT/worker-$name-$round.json" || failed+=("$name, round $round")
	short "$OUT/worker-$name-$round.json"
}
# The worker's own account of its stages, as JSON.
stages() {
	curl -fsS "http://127.0.0.1:$((PORTS + 3))/metrics" | awk '
		/^parley_batch_duration_seconds_(sum|count)\{/ || /^parley_batch_records_(sum|count) / {
			gsub(/[{}="]/, " "); name = $1; stage = NF > 2 ? "." $3 : ""
			sub(/^parley_batch_/, "", name)
			printf "%s\"%s%s\": %s", (n++ ? ", " : "{"), name, stage, $NF
		}
		END {print (n ? "}" : "{}")}'
}

backlog_round() {
	local n=$1 before
	before=$(stages)
	measured backlog "$n" backlog --messages "$MESSAGES"
	jq -n --argjson before "$before" --argjson after "$(stages)" '{$before, $after}' >"$OUT/worker-stages-$n.json"
	measured limit-postgres "$n" limit-postgres --rows "$MESSAGES" --connections 2
	measured limit-kafka "$n" limit-kafka --messages "$MESSAGES"
	measured one-by-one "$n" one-by-one --seconds "$SECONDS_EACH"
	perf_tools "$n"
}

# Kafka's own tools, on a topic of their own.
perf_tools() {
	local n=$1 produce consume topic=loadgen-perf-$1
	tool() { "$HACK/kafka/java.sh" 256m "org.apache.kafka.tools.$1" "${@:2}"; }
	say "== Kafka's own tools, round $n"
	tool TopicCommand --bootstrap-server "127.0.0.1:$PORTS" --create --if-not-exists --topic "$topic" --partitions 2 --replication-factor 1 >/dev/null
	produce=$(tool ProducerPerformance --topic "$topic" --num-records $((MESSAGES * 4)) --record-size 500 --throughput -1 \
		--producer-props "bootstrap.servers=127.0.0.1:$PORTS" acks=all enable.idempotence=true linger.ms=1 | tail -n 1)
	consume=$(tool ConsumerPerformance --bootstrap-server "127.0.0.1:$PORTS" --topic "$topic" --messages $((MESSAGES * 4)) --hide-header | tail -n 1)
	tool TopicCommand --bootstrap-server "127.0.0.1:$PORTS" --delete --topic "$topic" >/dev/null
	jq -n --arg produce "$produce" --arg consume "$consume" '{
		producePerSecond: ($produce | capture("(?<rate>[0-9.]+) records/sec").rate | tonumber),
		consumePerSecond: ($consume | split(", ") | .[9] | tonumber)
	}' >"$OUT/worker-perf-tools-$n.json" || failed+=("Kafka's own tools, round $n")
	short "$OUT/worker-perf-tools-$n.json"
}

# The broker's compiler must have seen the work before what it makes of the broker is worth measuring.
warm_up() {
	measured warm-up 0 backlog --messages "$MESSAGES"
	measured warm-up 0 save --rate "$HALF" --seconds "$SECONDS_EACH"
	measured warm-up 0 one-by-one --seconds "$SECONDS_EACH"
	rm -f "$OUT/worker-warm-up-0.json"
}

part() {
	local n r
	rm -f "$OUT/worker-$1"-*.json
	case $1 in
	backlog)
		rm -f "$OUT"/worker-{stages,limit-postgres,limit-kafka,one-by-one,perf-tools}-*.json
		for ((n = 1; n <= ROUNDS; n++)); do backlog_round "$n"; done
		;;
	rooms)
		for n in 1 10 100 500; do
			for ((r = 1; r <= ROUNDS; r++)); do USERS=$((n * 2)) ROOM_SIZE=2 measured "rooms-$n" "$r" backlog --messages $((MESSAGES / 2)); done
		done
		;;
	steady) for ((n = 1; n <= ROUNDS; n++)); do measured steady "$n" save --rate 1000 --seconds "$SECONDS_EACH"; done ;;
	half)
		for ((n = 1; n <= ROUNDS; n++)); do measured half "$n" save --rate "$HALF" --seconds "$SECONDS_EACH"; done
		;;
	# With a gateway that delivers every message to one member.
	streams)
		gateway gateway 0
		for ((n = 1; n <= ROUNDS; n++)); do
			measured streams "$n" save --rate "$HALF" --seconds "$SECONDS_EACH" --gateway "127.0.0.1:$((PORTS + 4))" --gateway-pid "$(pid_of gateway)"
		done
		stop gateway
		;;
	hash) for ((n = 1; n <= ROUNDS; n++)); do alone hash "$n" limit-hash --threads "$HASH_THREADS" --seconds 4; done ;;
	logins)
		for ((n = 1; n <= ROUNDS; n++)); do
			STAGE_OPTIONS=--passwords measured logins "$n" logins --seal-public-keys-file "$RUN/keys/seal-public.json" \
				--rate 500 --seconds "$SECONDS_EACH" --logins $((SECONDS_EACH * HASH_THREADS * 120))
		done
		;;
	stream)
		rm -f "$OUT"/worker-stream-big-*.json
		for ((n = 1; n <= ROUNDS; n++)); do
			alone stream "$n" limit-stream --streams 1000 --rate 5 --seconds "$SECONDS_EACH"
			alone stream-big "$n" limit-stream --streams "$STREAMS" --rate 5 --seconds "$SECONDS_EACH"
		done
		;;
	*) die "there is no part $1: backlog rooms steady half streams hash logins stream" ;;
	esac
}

failed=()
ulimit -n "$(ulimit -Hn)"
bench_build
trap bench_down EXIT
bench_up
worker
[ $# -gt 0 ] || set -- backlog rooms steady half streams hash logins stream
warm_up
for name in "$@"; do part "$name"; done
[ ${#failed[@]} = 0 ] || die "these found something wrong, see their reports in $OUT: $(IFS=';' && echo "${failed[*]}")"
