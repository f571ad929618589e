# Is this machine able to do it? Each failure is one line with the next step (sourced).

# at_least HAVE WANT: version order.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# tool NAME WANT HOW VERSION-COMMAND...: NAME must be there in version WANT or newer.
tool() {
	local name=$1 want=$2 how=$3 have
	shift 3
	have=$("$@" 2>&1 | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || true
	[ -n "$have" ] || die "$name is needed ($want or newer): $how"
	at_least "$have" "$want" || die "$name $have is too old, $want or newer is needed: $how"
}

# Rust is the clone's own: rust-toolchain.toml says which, rustup fetches it.
compilers() {
	cd "$ROOT" || exit
	command -v cargo >/dev/null || die "Rust is needed (1.95): install it with rustup"
	tool Rust 1.95 "install it with rustup (Debian's own is too old)" rustc --version
	tool Go 1.26 "install it from go.dev (Debian's own is too old)" go version
	tool Node.js 20.19 "install Node.js 20.19 or newer" node --version
}
# With Kafka on this machine.
tools() {
	compilers
	tool Java 17 "apt-get install openjdk-17-jdk-headless" java -version
	tool Maven 3.6 "apt-get install maven" mvn --version
}
# What BUILD_PACKAGES brings where there is no apt.
libraries() {
	local name
	for name in cc make pkg-config curl jq; do
		command -v $name >/dev/null || die "$name is needed: install it (Debian: ${BUILD_PACKAGES[*]})"
	done
	pkg-config --exists openssl || die "OpenSSL's headers are needed: install them (Debian: libssl-dev)"
}

debian() {
	if [ ! -f /etc/debian_version ] || ! command -v apt-get >/dev/null; then
		die "Debian 12 (or a relative of it, with apt) is needed; elsewhere install Docker and kind"
	fi
	at_least "$(uname -r | grep -oE '^[0-9]+\.[0-9]+')" 5.4 || die "Linux $(uname -r) is too old: 5.4 or newer is needed"
}

mebibytes() { awk -v field="$1:" '$1 == field {print int($2 / 1024)}' /proc/meminfo; }
memory() {
	local total
	total=$(mebibytes MemTotal)
	[ "$total" -ge 5500 ] || die "this machine has $total MiB of memory; 6 GiB are needed (the builds take most of it)"
}

# Cold, the Go caches take 8 GiB, cargo's target folder 8; built once, little more is needed.
disk() {
	local need=20 free
	[ ! -x "$CACHE/cluster/bin/helm" ] || need=6
	mkdir -p "$CACHE" "$STATES"
	free=$(df --output=avail -BG "$CACHE" | tail -n 1 | tr -dc 0-9)
	[ "$free" -ge $need ] || die "$CACHE has $free GiB free, $need are needed: free some, or set XDG_CACHE_HOME to a larger disk"
	free=$(df --output=avail -BG "$STATES" | tail -n 1 | tr -dc 0-9)
	[ "$free" -ge 3 ] || die "$STATES has $free GiB free, 3 are needed"
}

namespaces() {
	unshare --mount --pid --fork --mount-proc true 2>/dev/null ||
		die "this machine refuses mount and PID namespaces (a container without privileges?): run on a machine or VM, or use Docker and kind"
}

# ports: those that `make up` takes, unless what runs there is our own.
ports() {
	local p
	if ! RUN=$STATE/kafka alive kafka-0; then free_port Kafka "$NODE_IP" "$KAFKA_PORT"; fi
	if ! RUN=$STATE/postgres alive postgres; then free_port PostgreSQL "$NODE_IP" "$POSTGRES_PORT"; fi
	if ! RUN=$STATE/cluster alive kube-apiserver; then
		free_port "the API server" "$NODE_IP" "$API_PORT"
		free_port "the web page" 127.0.0.1 "$WEB_PORT"
	fi
}
free_port() {
	! listening "$2" "$3" || die "port $3, for $1, is taken by another process: stop it (ss -ltnp 'sport = :$3' names it)"
}
