# A Kafka, a PostgreSQL and services of a measurement's own, on loopback (sourced after base.sh and process.sh).
#
#   RUN     the folder of all of it, removed at the end
#   PORTS   the first of ten ports, and the broker's at +100: Kafka, PostgreSQL, -, the worker's admin, then gateways in pairs
#   OUT     results as JSON, kept
#   CHAT_PARTITIONS  of AddChat's topics (2)
#   BENCH_BIN  a folder with parley and loadgen; left out: they are built

OUT=$CACHE/bench
TARGET=$(uname -m)-unknown-linux-gnu
BIN=$CARGO_TARGET_DIR/$TARGET/release

# bench_build [symbols]: the programs, with the names of their functions when a profile wants them.
bench_build() {
	mkdir -p "$RUN/bin" "$OUT"
	[ -n "${BENCH_BIN:-}" ] || bench_compile "${1:-}"
	install -m 755 "${BENCH_BIN:-$BIN}/parley" "${BENCH_BIN:-$BIN}/loadgen" "$RUN/bin/"
	ln -sfn parley "$RUN/bin/worker"
	ln -sfn parley "$RUN/bin/gateway"
}

bench_compile() {
	local options=(--manifest-path "$ROOT/Cargo.toml" --locked --release --target "$TARGET")
	. "$LIB/web.sh"
	. "$LIB/release.sh"
	web_dist
	# The same flags as the image's, so that one build serves both.
	export "${RELEASE_ENV[@]}"
	cargo build "${options[@]}" --bin parley --bin loadgen
	# Only the last step again: the later of two options holds.
	[ "$1" != symbols ] || cargo rustc "${options[@]}" --bin parley -- -C strip=none
	unset RUSTFLAGS OPENSSL_STATIC
}

url() { echo "postgres://parley_$1:$(cat "$RUN/postgres/$1.password")@127.0.0.1:$((PORTS + 1))/parley"; }
sql() { PGPASSWORD=$(cat "$RUN/postgres/postgres.password") psql -Xq -v ON_ERROR_STOP=1 -h 127.0.0.1 -p $((PORTS + 1)) -U postgres -d parley "$@"; }

service() { # service NAME PROGRAM ADMIN-PORT SETTING=VALUE...
	local name=$1 program=$2 admin=$3
	shift 3
	start "$name" env PARLEY_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:$PORTS" PARLEY_DATABASE_URL="$(url "$program")" \
		PARLEY_REQUEST_KEYS_FILE="$RUN/keys/request-keys.json" PARLEY_REPLY_KEYS_FILE="$RUN/keys/reply-keys.json" \
		PARLEY_ADMIN_ADDR="127.0.0.1:$admin" "$@" "$RUN/bin/$program" run
	wait_for 240 "$name" "$name to be ready" curl --silent --fail "http://127.0.0.1:$admin/readyz"
}

gateway() { # gateway NAME N SETTING=VALUE...: listens at PORTS+4+2N
	local name=$1 n=$2
	shift 2
	service "$name" gateway $((PORTS + 5 + 2 * n)) PARLEY_SEAL_PUBLIC_KEYS_FILE="$RUN/keys/seal-public.json" \
		PARLEY_LISTEN_ADDR="127.0.0.1:$((PORTS + 4 + 2 * n))" "$@"
}

WORKERS=()
worker() { # worker SETTING=VALUE...: one more
	local n=${#WORKERS[@]} name
	name=worker$([ "$n" = 0 ] || echo "-$n")
	WORKERS+=("$name")
	service "$name" worker $((n == 0 ? PORTS + 3 : PORTS + 20 + n)) PARLEY_SEAL_PRIVATE_KEYS_FILE="$RUN/keys/seal-private.json" \
		PARLEY_KINDS=Login,Logout,ListRooms,ListFriends,AddUser,ChangeStatus,AddRoom,AddChat,AddFriend PARLEY_CONSUMER_GROUP=bench "$@"
}

bench_up() {
	"$HACK/kafka/broker.sh" start "$RUN/kafka" 127.0.0.1 "$PORTS"
	"$HACK/postgres/server.sh" start "$RUN/postgres" 127.0.0.1 $((PORTS + 1))
	"$RUN/bin/loadgen" topics --bootstrap "127.0.0.1:$PORTS" --chat-partitions "${CHAT_PARTITIONS:-2}"
	PARLEY_DATABASE_URL=$(url owner) "$RUN/bin/worker" migrate >/dev/null
	[ -d "$RUN/keys" ] || (umask 077 && "$RUN/bin/worker" keys "$RUN/keys" >/dev/null)
}

bench_down() {
	local name
	for name in gateway other "${WORKERS[@]}"; do stop "$name" KILL; done
	WORKERS=()
	"$HACK/kafka/broker.sh" stop "$RUN/kafka" KILL
	"$HACK/postgres/server.sh" stop "$RUN/postgres" QUIT
	rm -rf "$RUN"
}

# fresh NAME: a seed that no run before had, so that rooms begin empty.
fresh() { printf '%s%x' "${1:0:3}" "$(($(date +%s%N) / 1000000))"; }

# staged NAME USERS ROOM_SIZE: so many users in rooms of this size, whose names nobody had before; sets `seed`. STAGE_OPTIONS are words.
staged() {
	seed=$(fresh "$1")
	# shellcheck disable=SC2086 # options are words
	"$RUN/bin/loadgen" stage --seed "$seed" --users "$2" --room-size "$3" ${STAGE_OPTIONS:-} | sql -f - >/dev/null
}

other_pid() { cut -d' ' -f1 "$RUN/$1/pids/$2"; }
worker_pids() { for name in "${WORKERS[@]}"; do pid_of "$name"; done | paste -sd,; }

# measured NAME ROUND COMMAND ARGUMENT...: a scenario of loadgen on the worker's own path, in rooms of its own: ROOM_SIZE of USERS each.
# Its report is kept. What fails goes into the list `failed`. MEASURED_BY is a command in front of it.
measured() {
	local name=$1 round=$2 command=$3 seed
	shift 3
	staged "$name" "$USERS" "$ROOM_SIZE"
	say "== $name, round $round"
	# shellcheck disable=SC2086 # a command and its arguments
	PARLEY_DATABASE_URL=$(url worker) ${MEASURED_BY:-} "$RUN/bin/loadgen" "$command" --bootstrap "127.0.0.1:$PORTS" \
		--request-keys-file "$RUN/keys/request-keys.json" --reply-keys-file "$RUN/keys/reply-keys.json" \
		--worker-pid "$(worker_pids)" --postgres-pid "$(other_pid postgres postgres)" --broker-pid "$(other_pid kafka kafka-0)" \
		--seed "$seed" --users "$USERS" --room-size "$ROOM_SIZE" "$@" >"$OUT/worker-$name-$round.json" || failed+=("$name, round $round")
	short "$OUT/worker-$name-$round.json"
}
short() { jq -c 'walk(if type == "object" then del(.curve) else . end)' "$1" >&2 || true; }
