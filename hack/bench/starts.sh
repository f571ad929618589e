#!/usr/bin/env bash
# make bench-starts: how long each program takes from its start until it is ready, cold: a fresh process each time, beside a Kafka, a
# PostgreSQL and an API server that are there. Reports are kept as $CACHE/bench/start-{worker,gateway,controller}-ROUND.json.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

ROUNDS=${ROUNDS:-5}
PORTS=${BENCH_PORTS:-31900}
RUN=$STATES/bench-starts
. "$LIB/bench.sh"
API=127.0.0.1:$((PORTS + 50))
ADMIN=127.0.0.1:$((PORTS + 60))
# So that the look itself does not count.
export WAIT_STEP=0.01

finish() {
	stop controller KILL
	"$HACK/test/apiserver.sh" stop "$RUN/api" KILL
	bench_down
}

prepare() {
	ln -sfn parley "$RUN/bin/controller"
	"$HACK/test/apiserver.sh" start "$RUN/api" "${API%:*}" "${API#*:}"
	"$CACHE/cluster/bin/kubectl" --kubeconfig "$RUN/api/kubeconfig" apply --server-side -f "$ROOT/crds/chattopicsets.yaml" >/dev/null
	"$CACHE/cluster/bin/kubectl" --kubeconfig "$RUN/api/kubeconfig" wait --for=condition=Established crd/chattopicsets.parley.dev --timeout=60s >/dev/null
}

controller() {
	KUBECONFIG=$RUN/api/kubeconfig PARLEY_ADMIN_ADDR=$ADMIN start controller "$RUN/bin/controller" run \
		--kafka-bootstrap-servers "127.0.0.1:$PORTS" --lease-namespace default
	wait_for 60 controller "the controller to be ready" curl -fsS "http://$ADMIN/readyz"
}

# timed NAME ROUND COMMAND...
timed() {
	local name=$1 round=$2 t0
	shift 2
	t0=$(date +%s%N)
	"$@"
	jq -n --argjson ms $((($(date +%s%N) - t0) / 1000000)) '{$ms}' >"$OUT/start-$name-$round.json"
	say "== $name, round $round: $(jq .ms "$OUT/start-$name-$round.json") ms"
}

bench_build
trap finish EXIT
bench_up
prepare
rm -f "$OUT"/start-*.json
for ((n = 1; n <= ROUNDS; n++)); do
	WORKERS=()
	timed worker "$n" worker
	timed gateway "$n" gateway gateway 0
	timed controller "$n" controller
	stop gateway
	stop worker
	# It gives its lease back, so that the next one need not wait for its end.
	stop controller
done
