# Parley and what it stands on, brought up step by step (sourced). Needs no network
# beyond the machine: everything comes from the cache.
#
# infrastructure  cluster, Kafka, PostgreSQL as processes of this machine
# platform        keys, release, sample; the same on kind, where all else is in the cluster

. "$HACK/cluster/env.sh"

NAMESPACE=parley
WEB_PORT=30080
KAFKA_PORT=9092
POSTGRES_PORT=5432
IMAGE=$CACHE/image
export KUBECONFIG=$STATE/kubeconfig

kubectl() { "$BIN/kubectl" "$@"; }
k() { kubectl -n "$NAMESPACE" "$@"; }
helm() { "$BIN/helm" "$@"; }

# infrastructure: the bridge first, since Kafka and PostgreSQL listen on its address.
infrastructure() {
	"$HACK/cluster/up.sh" network
	lane "Kafka" "$HACK/kafka/broker.sh" start "$STATE/kafka" "$NODE_IP" "$KAFKA_PORT"
	lane "PostgreSQL" "$HACK/postgres/server.sh" start "$STATE/postgres" "$NODE_IP" "$POSTGRES_PORT"
	lane "Kubernetes" "$HACK/cluster/up.sh"
	join "PostgreSQL" "Kafka" "Kubernetes"
	ln -sfn cluster/admin.kubeconfig "$STATE/kubeconfig"
}

# outside: what pods know of Kafka and PostgreSQL on the bridge: names and passwords.
outside() {
	namespace
	sed -e "s/@ADDRESS@/$NODE_IP/" -e "s/@KAFKA_PORT@/$KAFKA_PORT/" -e "s/@POSTGRES_PORT@/$POSTGRES_PORT/" "$HACK/up/outside.yaml" |
		k apply --server-side -f - >/dev/null
	database_secret
}
namespace() { kubectl create namespace "$NAMESPACE" --dry-run=client -o yaml | kubectl apply --server-side -f - >/dev/null; }

# database_secret: the roles' URLs, from the passwords in $STATE/postgres.
database_secret() {
	local dir=$STATE/secrets who
	(umask 077 && mkdir -p "$dir")
	for who in owner worker gateway; do
		(umask 077 && put "$dir/$who-url" <<<"postgres://parley_$who:$(cat "$STATE/postgres/$who.password")@postgres:5432/parley")
	done
	k create secret generic parley-database --dry-run=client -o yaml --from-file="$dir/owner-url" --from-file="$dir/worker-url" \
		--from-file="$dir/gateway-url" | k apply --server-side -f - >/dev/null
}

# keys: made once; new ones would void every record in flight.
keys() {
	local dir=$STATE/secrets
	(umask 077 && mkdir -p "$dir")
	if [ ! -d "$dir/keys" ]; then
		rm -rf "$dir/keys.new"
		(umask 077 && mkdir "$dir/keys.new" && "$IMAGE/bin/worker" keys "$dir/keys.new" >&2) || die "the keys could not be made: see the line above"
		mv "$dir/keys.new" "$dir/keys"
	fi
	k create secret generic parley-keys --dry-run=client -o yaml --from-file="$dir/keys" | k apply --server-side -f - >/dev/null
}

# release: only when chart, values or image differ from what runs. It waits, as GitOps tools do: pods are ready before there are topics.
release() {
	local tag want
	tag=$(cat "$IMAGE/tag")
	want=$(sum_of charts/parley hack/up/values.yaml)-$tag
	if [ "$(cat "$STATE/release" 2>/dev/null)" = "$want" ] && [ "$(release_status)" = deployed ]; then return; fi
	rm -f "$STATE/release"
	# A helm that was killed leaves its release "pending", which refuses everything.
	k delete secret -l 'owner=helm,name=parley,status in (pending-install,pending-upgrade,pending-rollback)' --ignore-not-found >/dev/null
	helm upgrade --install parley "$ROOT/charts/parley" -n "$NAMESPACE" -f "$HACK/up/values.yaml" --set "image.tag=$tag" \
		--wait --timeout 5m >"$LOGS/helm.log" 2>&1 || { tail -n 5 "$LOGS/helm.log" >&2; explain; die "helm could not install the chart: see above and $LOGS/helm.log"; }
	put "$STATE/release" <<<"$want"
}
release_status() { helm status parley -n "$NAMESPACE" -o json 2>/dev/null | jq -r .info.status; }

# sample: applied once and when it changed, so that what somebody tries out on the set stays.
sample() {
	local file=docs/samples/chat.yaml want
	want=$(sum_of "$file")
	if [ "$(cat "$STATE/sample" 2>/dev/null)" = "$want" ] && k get chattopicset/chat >/dev/null 2>&1; then return; fi
	kubectl wait --for=condition=Established crd/chattopicsets.parley.dev --timeout=240s >/dev/null
	k apply --server-side -f "$ROOT/$file" >/dev/null
	put "$STATE/sample" <<<"$want"
}

# settled: the set Ready, each Deployment rolled out, at least two workers in each pool, the page served.
settled() {
	within 240 "the topics and workers of ChatTopicSet chat" k wait chattopicset/chat --for=condition=Ready --timeout=2s
	local d
	for d in controller gateway worker-account worker-chat; do
		within 240 "Deployment parley-$d" k rollout status "deployment/parley-$d" --timeout=2s
	done
	for d in account chat; do
		within 240 "two or more workers in the pool $d" ready_workers "$d"
	done
	within 240 "the page" curl -fsS -m 2 -o /dev/null "http://127.0.0.1:$WEB_PORT/"
}
# The sample's partitions give each pool two; more when somebody has grown a topic.
ready_workers() {
	local wanted ready
	IFS=/ read -r wanted ready < <(k get "deployment/parley-worker-$1" -o 'jsonpath={.spec.replicas}/{.status.readyReplicas}{"\n"}')
	[ "${ready:-0}" -ge 2 ] && [ "$ready" = "$wanted" ]
}

# within SECONDS WHAT COMMAND...: until it succeeds; says every 15 s what it waits for.
within() {
	local limit=$((SECONDS + $1)) said=$SECONDS what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $limit ]; then
			explain
			die "timed out waiting for $what"
		fi
		if [ $((SECONDS - said)) -ge 15 ]; then
			said=$SECONDS
			say "   … waiting for $what: $(k get pods --no-headers 2>/dev/null | awk '{print $1 "=" $3}' | sed 's/^parley-//' | paste -sd' ' | cut -c1-120)"
		fi
		sleep 0.3
	done
}

# explain: what a person would look at first.
explain() {
	local pod
	{
		k get chattopicsets,deployments,jobs,pods -o wide
		for pod in $(k get pods -o json | jq -r '.items[] | select(.status.phase != "Succeeded") | select(all(.status.containerStatuses[]?; .ready) | not) | .metadata.name' | head -n 4); do
			echo "-- $pod"
			k logs "$pod" --tail=5
			k get events --field-selector "involvedObject.name=$pod" --sort-by=.lastTimestamp -o 'custom-columns=REASON:.reason,MESSAGE:.message' --no-headers | tail -n 3
		done
	} >&2 2>/dev/null || true
}

platform() {
	keys
	step "release (migrations, controller, workers, gateway)" release
	step "sample topic set" sample
	step "topics, workers and page ready" settled
}

# stack_up: all of it, from what lies in the cache.
stack_up() {
	infrastructure
	outside
	step "image loaded" "$HACK/cluster/load.sh" "$IMAGE/parley.tar"
	platform
}

# stack_down: ends it and removes its state.
stack_down() {
	"$HACK/cluster/down.sh"
	"$HACK/kafka/broker.sh" stop "$STATE/kafka" KILL
	[ ! -d "$STATE/postgres" ] || "$HACK/postgres/server.sh" stop "$STATE/postgres" QUIT
	rm -rf --one-file-system "$STATE"
	rmdir "$STATES" 2>/dev/null || true
}
