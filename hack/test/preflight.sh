#!/usr/bin/env bash
# A machine that cannot do it: does each lack end in one line that says what is wrong, with what, and what to do next?
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/packages.sh"
. "$LIB/preflight.sh"

SCRATCH=$(mktemp -d)
listener=
trap 'rm -rf "$SCRATCH"; [ -z "$listener" ] || kill "$listener"' EXIT
real=$PATH

# stand_in NAME [TEXT]: a program of this name that prints TEXT; without it, one that fails.
stand_in() {
	if [ $# = 1 ]; then printf '#!/bin/sh\nexit 1\n'; else printf '#!/bin/sh\ncat <<"T"\n%s\nT\n' "$2"; fi >"$SCRATCH/bin/$1"
	chmod +x "$SCRATCH/bin/$1"
}

# lacks PATTERN COMMAND...: COMMAND ends with one line on standard error, like PATTERN.
lacks() {
	local pattern=$1 said status=0
	shift
	said=$(PATH=$SCRATCH/bin:$real "$@" 2>&1 >/dev/null) || status=$?
	[ "$status" -ne 0 ] || die "$* succeeded, and should say: $pattern"
	[ "$(wc -l <<<"$said")" = 1 ] || die "$* says more than one line: $said"
	# shellcheck disable=SC2053  # a pattern
	[[ $said == $pattern ]] || die "$*: $said"
	rm -f "$SCRATCH"/bin/*
}
mkdir "$SCRATCH/bin"

stand_in go "go version go1.19.8 linux/amd64"
lacks "error: Go 1.19.8 is too old, 1.26 or newer is needed: install it *" compilers
stand_in node
lacks "error: Node.js is needed (20.19 or newer): install *" compilers
stand_in java 'openjdk version "11.0.2" 2019-01-15'
lacks "error: Java 11.0.2 is too old, 17 or newer is needed: apt-get install *" tools
stand_in mvn
lacks "error: Maven is needed (3.6 or newer): apt-get install maven" tools
stand_in pkg-config
lacks "error: OpenSSL's headers are needed: install them (Debian: libssl-dev)" libraries
stand_in uname 4.19.0-27-amd64
lacks "error: Linux 4.19.0-27-amd64 is too old: 5.4 or newer is needed" debian
stand_in df $'Avail\n 5G'
lacks "error: * has 5 GiB free, * are needed: *" disk
stand_in awk 2048
lacks "error: this machine has 2048 MiB of memory; 6 GiB are needed *" memory
stand_in unshare
lacks "error: this machine refuses mount and PID namespaces *: run on *" namespaces
# Which cluster make up takes is decided by whether a daemon answers: with one nobody asks for namespaces.
for docker in "a daemon" ""; do
	stand_in docker ${docker:+"$docker"}
	stand_in unshare
	stand_in go "go version go1.19.8 linux/amd64"
	said="error: this machine refuses mount and PID namespaces *"
	[ -z "$docker" ] || said="error: Go 1.19.8 is too old, *"
	lacks "$said" env XDG_CACHE_HOME="$SCRATCH/cache" "$HACK/up.sh"
done
stand_in id 1000
lacks "error: root is needed: *; run it with sudo" as_root

node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => console.log(s.address().port))' >"$SCRATCH/port" &
listener=$!
until [ -s "$SCRATCH/port" ]; do sleep 0.1; done
port=$(cat "$SCRATCH/port")
lacks "error: port $port, for the web page, is taken by another process: stop it (ss *$port' names it)" free_port "the web page" 127.0.0.1 "$port"
echo "preflight: each lack of a machine is one line with the next step"
