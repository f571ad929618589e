#!/usr/bin/env bash
# make bench-controller: what the controller costs, against a real broker and a real API server on this machine.
# Prints docs/benchmarks.md's table for it. Everything is on loopback and is taken away at the end.
#
#   CONTROLLER=FILE     the program; left out: the image's, built now
#   TOPICS SETS IDLE    10000 topics in 50 sets, looked at for 75 seconds
#   ONCE HALF           1000 sets at once; 500 topics in each of the two sets from nothing
#   ROUNDS              each of these so often, and the idle time in so many parts: 5
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"

TOPICS=${TOPICS:-10000} SETS=${SETS:-50} IDLE=${IDLE:-75} ONCE=${ONCE:-1000} HALF=${HALF:-500} ROUNDS=${ROUNDS:-5}
BENCH=$STATES/bench-controller
RUN=$BENCH/run
API=127.0.0.1:18910
KAFKA_PORT=18920
ADMIN=127.0.0.1:18930

finish() {
	[ "${KEEP:-0}" = 0 ] || return 0
	stop controller TERM
	bash "$HACK/kafka/broker.sh" stop "$BENCH/kafka" KILL
	bash "$HACK/test/apiserver.sh" stop "$BENCH/api" KILL
	rm -rf "$BENCH"
}

k() { "$CACHE/cluster/bin/kubectl" --kubeconfig "$BENCH/api/kubeconfig" --cache-dir "$BENCH/kubectl" "$@"; }
ms() { echo $(($(date +%s%N) / 1000000)); }
row() { printf '| %s | %s |\n' "$1" "$2"; }
seconds() { awk -v ms="$1" 'BEGIN {printf "%.1f s", ms / 1000}'; }

# metric NAME [TEXT]: the sum over the series that hold TEXT.
metric() {
	curl -fsS "http://$ADMIN/metrics" |
		awk -v name="parley_$1" -v text="${2:-}" 'index($0, name "{") == 1 || index($0, name " ") == 1 {if (text == "" || index($0, text)) sum += $NF} END {printf "%.3f\n", sum}'
}
calls() { metric kafka_admin_request_duration_seconds_count "${1:-}"; }
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz)}' "/proc/$(pid_of controller)/stat"; }
memory() { awk -v key="$1:" '$1 == key {printf "%.1f MB", $2 / 1024}' "/proc/$(pid_of controller)/status"; }
# Writes to the namespace that the API server noted, without the lease's and this script's own.
writes() { grep '"namespace":"bench"' "$BENCH/api/audit.log" | grep -v '"resource":"leases"' | grep -vc '"userAgent":"kubectl' || true; }

# set NAME TOPICS PREFIX WORKERS: one ChatTopicSet as YAML.
set_of() {
	local i
	printf -- '---\napiVersion: parley.dev/v1alpha1\nkind: ChatTopicSet\nmetadata: {name: %s, namespace: bench}\nspec:\n' "$1"
	printf '  deletionPolicy: Delete\n  defaults: {partitions: 1, replicas: 1, config: {retention.ms: 3600000}}\n  topics:\n'
	for ((i = 0; i < $2; i++)); do printf -- '  - name: %s.%s\n' "$3" "$i"; done
	[ "$4" -gt 0 ] || return 0
	printf '  workers:\n'
	for ((i = 0; i < $4; i++)); do
		printf -- '  - {name: w%s, scaleTargetRef: {name: %s-w%s}, topics: [%s.%s]}\n' "$i" "$1" "$i" "$3" "$i"
	done
}

deployment() {
	printf -- '---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: bench}\nspec:\n  selector: {matchLabels: {app: x}}\n' "$1"
	printf '  template: {metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: none}]}}\n'
}

# until_ready N: waits until N sets have TopicsReady=True for their generation. The controller's metrics are asked, because to have a
# thousand sets printed five times a second is work for a core; what they say is held against the API server afterwards.
until_ready() {
	local deadline=$((SECONDS + 900))
	while [ "$(metric topicset_condition 'status="True",type="TopicsReady"' | cut -d. -f1)" -lt "$1" ]; do
		[ $SECONDS -lt $deadline ] || die "not all of $1 sets became ready: see $RUN/log/controller.log"
		sleep 0.1
	done
	ready_at=$(ms)
	[ "$(ready)" -ge "$1" ] || die "the controller says that $1 sets are ready, the API server knows $(ready): see $RUN/log/controller.log"
}
ready() {
	k get chattopicsets -n bench -o json | jq '[.items[] | select(.status.observedGeneration == .metadata.generation) | select(any(.status.conditions[]?; .type == "TopicsReady" and .status == "True"))] | length'
}
# of FORMAT VALUE...: the median, the lowest and the highest, each as awk's printf writes it.
of() {
	local format=$1
	shift
	printf '%s\n' "$@" | sort -n | awk -v f="$format" '{v[NR] = $1} END {printf f " (" f "–" f ")", v[int((NR + 1) / 2)], v[1], v[NR]}'
}
seconds_of() { printf '%s s' "$(for ms in "$@"; do awk -v ms="$ms" 'BEGIN {print ms / 1000}'; done | { mapfile -t all; of %.1f "${all[@]}"; })"; }

# Until the controller has forgotten them too.
no_sets() {
	# kubectl would wait for one after another, five a second.
	k delete chattopicsets -n bench --all --wait=false >/dev/null
	wait_for 900 controller "all sets to be gone" none_left
	wait_for 240 controller "the controller to forget all sets" no_metric
}
none_left() { [ -z "$(k get chattopicsets -n bench -o name)" ]; }
no_metric() { [ "$(metric topicset_condition)" = 0.000 ]; }

prepare() {
	[ -n "${CONTROLLER:-}" ] || {
		bash "$HACK/image/build.sh" binaries
		CONTROLLER=$CACHE/image/bin/controller
	}
	rm -rf "$BENCH"
	mkdir -p "$RUN"
	trap finish EXIT
	KAFKA_HEAP=${KAFKA_HEAP:-1536m} bash "$HACK/kafka/broker.sh" start "$BENCH/kafka" 127.0.0.1 $KAFKA_PORT
	bash "$HACK/test/apiserver.sh" start "$BENCH/api" "${API%:*}" "${API#*:}"
	k apply --server-side -f "$ROOT/crds/chattopicsets.yaml" >/dev/null
	k wait --for=condition=Established crd/chattopicsets.parley.dev --timeout=60s >/dev/null
	k create namespace bench >/dev/null
	KUBECONFIG=$BENCH/api/kubeconfig PARLEY_ADMIN_ADDR=$ADMIN start controller "$CONTROLLER" run \
		--kafka-bootstrap-servers 127.0.0.1:$KAFKA_PORT --watch-namespaces bench --own-connection-namespaces bench --lease-namespace bench
	wait_for 240 controller "the controller" curl -fsS "http://$ADMIN/readyz"
}

# A thousand topics from nothing, in two sets, for one holds at most 500.
from_nothing() {
	local n t0 all=() applied=() worked=() asked=() s0 c0
	{ set_of a "$HALF" a 0; set_of b "$HALF" b 0; } >"$BENCH/thousand.yaml"
	for ((n = 0; n < ROUNDS; n++)); do
		s0=$(metric kafka_admin_request_duration_seconds_sum 'api="CreateTopics"') c0=$(calls 'api="CreateTopics"')
		t0=$(ms)
		k apply --server-side -f "$BENCH/thousand.yaml" >/dev/null
		applied+=($(($(ms) - t0)))
		until_ready 2
		all+=($((ready_at - t0)))
		worked+=("$(awk -v a="$s0" -v b="$(metric kafka_admin_request_duration_seconds_sum 'api="CreateTopics"')" 'BEGIN {print (b - a) * 1000}')")
		asked+=("$(awk -v a="$c0" -v b="$(calls 'api="CreateTopics"')" 'BEGIN {print b - a}')")
		no_sets
	done
	row "$((2 * HALF)) topics from nothing (2 sets of $HALF), from \`kubectl apply\` to ready" "$(seconds_of "${all[@]}")"
	row "… of which \`kubectl apply\` itself" "$(seconds_of "${applied[@]}")"
	row "… of which Kafka worked on CreateTopics" "$(seconds_of "${worked[@]}") in $(of %d "${asked[@]}") calls"
}

# From the moment at which the API server took a changed spec to that at which it took what follows, by its audit log.
reaction() {
	local i from='' topics=() scales=()
	{ set_of r 1 r 1; deployment r-w0; } | k apply --server-side -f - >/dev/null
	until_ready 1
	for ((i = 2; i <= 21; i++)); do
		k patch chattopicset r -n bench --type=merge -p "{\"spec\":{\"topics\":[{\"name\":\"r.0\",\"partitions\":$i}]}}" >/dev/null
		wait_for 240 controller "the pool" test_scale r-w0 "$i"
	done
	# The note of the growth is written right after Kafka has acknowledged it.
	mapfile -t topics < <(after '.objectRef.resource == "events"')
	mapfile -t scales < <(after '.objectRef.subresource == "scale"')
	if [ ${#topics[@]} -lt 20 ] || [ ${#scales[@]} -lt 20 ]; then die "the audit log does not show 20 changes"; fi
	# The first of all was the creation.
	topics=("${topics[@]: -20}") scales=("${scales[@]: -20}")
	row "a spec with one partition more, until Kafka has acknowledged it (20 times)" "median $(nth 10 "${topics[@]}") ms, longest $(nth 20 "${topics[@]}") ms"
	row "… until the worker's replica count is written" "median $(nth 10 "${scales[@]}") ms, longest $(nth 20 "${scales[@]}") ms"
	no_sets
}
test_scale() { [ "$(k get deployment "$1" -n bench -o 'jsonpath={.spec.replicas}')" = "$2" ]; }
nth() { local n=$1; shift; printf '%s\n' "$@" | sort -n | sed -n "${n}p"; }
# after FILTER: for each of our changes of the spec the milliseconds until the next request that the filter takes.
after() {
	jq -rs --arg agent kubectl '
		def at: .stageTimestamp | capture("^(?<s>.*)\\.(?<f>[0-9]{3})[0-9]*Z$") | (.s + "Z" | fromdateiso8601) * 1000 + (.f | tonumber);
		def ours: (.userAgent // "") | startswith($agent);
		[.[] | select(.stage == "ResponseComplete")] | sort_by(.stageTimestamp) | . as $all
		| range(length) | . as $i | $all[$i]
		| select(.objectRef.resource == "chattopicsets" and .objectRef.name == "r" and .objectRef.subresource == null and .verb == "patch" and ours)
		| at as $t | ([$all[$i + 1:][] | select((ours | not) and ('"$1"'))] | first // empty) | at - $t' \
		"$BENCH/api/audit.log"
}

at_once() {
	local i n t0 all=() created=() failed resident
	failed=$(metric reconcile_total 'outcome="failed"')
	for ((i = 0; i < ONCE; i++)); do set_of "s$i" 1 "s$i" 0; done >"$BENCH/sets.yaml"
	for ((n = 0; n < ROUNDS; n++)); do
		t0=$(ms)
		k create -f "$BENCH/sets.yaml" >/dev/null
		created+=($(($(ms) - t0)))
		until_ready "$ONCE"
		all+=($((ready_at - t0)))
		resident=$(memory VmRSS)
		no_sets
	done
	row "$ONCE sets of one topic at once, from \`kubectl create\` to all ready" "$(seconds_of "${all[@]}")"
	row "… of which \`kubectl create\` itself" "$(seconds_of "${created[@]}")"
	row "… reconciles that failed, in all rounds" "$(awk -v a="$failed" -v b="$(metric reconcile_total 'outcome="failed"')" 'BEGIN {print b - a}')"
	row "memory (resident) with $ONCE sets, after all of that" "$resident"
}

idle() {
	local i n w t0 each=$((TOPICS / SETS)) c0 w0 r0 cpu0 api cpu=()
	for ((i = 0; i < SETS; i++)); do
		set_of "set$i" "$each" "set$i" 4
		for ((w = 0; w < 4; w++)); do deployment "set$i-w$w"; done
	done >"$BENCH/many.yaml"
	t0=$(ms)
	k apply --server-side -f "$BENCH/many.yaml" >/dev/null
	until_ready "$SETS"
	row "$TOPICS topics in $SETS sets and $((SETS * 4)) worker targets, from nothing to ready" "$(seconds $((ready_at - t0)))"
	# What was to be done is done when the reconciles of two rounds of the poller have found nothing more.
	sleep 60
	c0=$(calls) w0=$(writes) r0=$(metric reconcile_total)
	api=$(mktemp -p "$BENCH")
	by_api >"$api"
	for ((n = 0; n < ROUNDS; n++)); do
		cpu0=$(cpu_ms)
		sleep $((IDLE / ROUNDS))
		cpu+=("$(awk -v ms=$(($(cpu_ms) - cpu0)) -v s=$((IDLE / ROUNDS)) 'BEGIN {print ms / s / 10}')")
	done
	row "the same, idle for $IDLE s: CPU" "$(of %.2f "${cpu[@]}") % of a core"
	row "… memory (resident)" "$(memory VmRSS)"
	row "… admin calls" "$(awk -v a="$c0" -v b="$(calls)" 'BEGIN {print b - a}'): $(by_api | join -j 1 "$api" - | awk '{if ($3 > $2) printf "%s%s %d", (n++ ? ", " : ""), $1, $3 - $2}')"
	row "… reconciles" "$(awk -v a="$r0" -v b="$(metric reconcile_total)" 'BEGIN {print b - a}')"
	row "… writes to the API server (audit log, without the lease)" "$(($(writes) - w0))"
	row "most memory that it ever took in all of this" "$(memory VmHWM)"
}
by_api() { curl -fsS "http://$ADMIN/metrics" | sed -n 's/^parley_kafka_admin_request_duration_seconds_count{api="\([A-Za-z]*\)"} /\1 /p' | sort; }

prepare
printf '<!-- %s; %s cores, %s; load before: %s -->\n' "$(date -u +%F)" "$(nproc)" "$(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)" "$(cut -d' ' -f1-3 /proc/loadavg)"
printf '| what | result |\n|---|---|\n'
from_nothing
reaction
at_once
idle
printf '<!-- load after: %s -->\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
