#!/usr/bin/env bash
# make bench-gateway: the gateway under load, on a Kafka, a PostgreSQL and a worker of its own.
#
#   gateway.sh [SCENARIO...]    idle fanout big stuck drain flood; all of them when none is named
#
# Each scenario has a fresh gateway at its default settings, but for what is said beside it. Reports are printed, and kept as JSON
# in $CACHE/bench. What docs/benchmarks.md says was measured by this. Takes some eight minutes after the build.
# Fewer STREAMS (default 10000) for a smaller machine; each needs a file in the gateway and one in the load generator.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
. "$LIB/web.sh"
as_root

STREAMS=${STREAMS:-10000}
PORTS=${BENCH_PORTS:-31800} # ten from here on, and the broker's at +100
RUN=$STATES/bench-gateway
OUT=$CACHE/bench
TARGET=$(uname -m)-unknown-linux-gnu
BIN=$CARGO_TARGET_DIR/$TARGET/release

build() {
	web_dist
	# The same flags as the image's, so that one build serves both.
	RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" OPENSSL_STATIC=1 \
		cargo build --manifest-path "$ROOT/Cargo.toml" --locked --release --target "$TARGET" --bin parley --bin loadgen
	mkdir -p "$RUN/bin" "$OUT"
	install -m 755 "$BIN/parley" "$BIN/loadgen" "$RUN/bin/"
	ln -sfn parley "$RUN/bin/worker"
	ln -sfn parley "$RUN/bin/gateway"
}

url() { echo "postgres://parley_$1:$(cat "$RUN/postgres/$1.password")@127.0.0.1:$((PORTS + 1))/parley"; }
sql() { PGPASSWORD=$(cat "$RUN/postgres/postgres.password") psql -Xq -v ON_ERROR_STOP=1 -h 127.0.0.1 -p $((PORTS + 1)) -U postgres -d parley "$@"; }

service() { # service NAME PROGRAM ADMIN-PORT SETTING=VALUE...
	local name=$1 program=$2 admin=$3
	shift 3
	start "$name" env PARLEY_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:$PORTS" PARLEY_DATABASE_URL="$(url "$program")" \
		PARLEY_REQUEST_KEYS_FILE="$RUN/keys/request-keys.json" PARLEY_REPLY_KEYS_FILE="$RUN/keys/reply-keys.json" \
		PARLEY_ADMIN_ADDR="127.0.0.1:$admin" "$@" "$RUN/bin/$program" run
	wait_for 90 "$name" "$name to be ready" curl --silent --fail "http://127.0.0.1:$admin/readyz"
}

gateway() { # gateway NAME N SETTING=VALUE...: listens at PORTS+4+2N
	local name=$1 n=$2
	shift 2
	service "$name" gateway $((PORTS + 5 + 2 * n)) PARLEY_SEAL_PUBLIC_KEYS_FILE="$RUN/keys/seal-public.json" \
		PARLEY_LISTEN_ADDR="127.0.0.1:$((PORTS + 4 + 2 * n))" "$@"
}

up() {
	"$HACK/kafka/broker.sh" start "$RUN/kafka" 127.0.0.1 "$PORTS"
	"$HACK/postgres/server.sh" start "$RUN/postgres" 127.0.0.1 $((PORTS + 1))
	"$RUN/bin/loadgen" topics --bootstrap "127.0.0.1:$PORTS"
	PARLEY_DATABASE_URL=$(url owner) "$RUN/bin/worker" migrate >/dev/null
	[ -d "$RUN/keys" ] || (umask 077 && "$RUN/bin/worker" keys "$RUN/keys" >/dev/null)
	service worker worker $((PORTS + 3)) PARLEY_SEAL_PRIVATE_KEYS_FILE="$RUN/keys/seal-private.json" \
		PARLEY_KINDS=Login,Logout,ListRooms,ListFriends,AddUser,ChangeStatus,AddRoom,AddChat,AddFriend PARLEY_CONSUMER_GROUP=bench
}

down() {
	local name
	for name in gateway other worker; do stop "$name" KILL; done
	"$HACK/kafka/broker.sh" stop "$RUN/kafka" KILL
	"$HACK/postgres/server.sh" stop "$RUN/postgres" QUIT
	rm -rf "$RUN"
}

# scenario NAME COMMAND USERS ROOM-SIZE "SETTING=VALUE..." ARGUMENT...
scenario() {
	local name=$1 command=$2 users=$3 size=$4 settings=$5 seed
	shift 5
	# One new name for each run, so that rooms begin empty.
	seed=$(printf '%s%x' "${name:0:3}" "$(date +%s)")
	# shellcheck disable=SC2086 # settings are words
	gateway gateway 0 $settings
	"$RUN/bin/loadgen" stage --seed "$seed" --users "$users" --room-size "$size" | sql -f - >/dev/null
	say "== $name: $users users in rooms of $size${settings:+, $settings}"
	if ! "$RUN/bin/loadgen" "$command" --seed "$seed" --users "$users" --room-size "$size" --gateway "127.0.0.1:$((PORTS + 4))" \
		--pid "$(pid_of gateway)" "$@" | tee "$OUT/gateway-$name.json"; then
		failed+=("$name")
	fi
	stop gateway
	stop other
}

run() {
	case $1 in
	idle) scenario idle idle "$STREAMS" 100 "" --settle 40 ;;
	# 5,000 deliveries a second.
	fanout) scenario fanout fanout "$STREAMS" 100 "" --rate 50 --seconds 30 ;;
	# One room with everybody in it, five messages a second: what the peers' figures are of.
	big) scenario big fanout "$STREAMS" 10000 "" --rate 5 --seconds 20 ;;
	# A thousand that read and a thousand that do not, in the same rooms.
	stuck) scenario stuck stuck 2000 100 "PARLEY_STREAM_QUEUE_KIB=64" --rate 40 --seconds 15 --message-bytes 4096 --rounds 3 ;;
	drain)
		gateway other 1
		scenario drain drain $((STREAMS / 2)) 100 "PARLEY_DRAIN_SECONDS=30" --other "127.0.0.1:$((PORTS + 6))" --rate 25 --seconds 45
		;;
	flood) scenario flood flood 200 100 "" --rate 20 --seconds 10 --connects 10000 ;;
	*) die "there is no scenario $1: idle fanout big stuck drain flood" ;;
	esac
}

failed=()
[ "$(ulimit -n)" -ge $((STREAMS * 2)) ] || ulimit -n "$(ulimit -Hn)"
build
trap down EXIT
up
[ $# -gt 0 ] || set -- idle fanout big stuck drain flood
for name in "$@"; do run "$name"; done
[ ${#failed[@]} = 0 ] || die "these found something wrong, see their reports above: ${failed[*]}"
