#!/usr/bin/env bash
# A PostgreSQL server of our own: data, log, pid and passwords in one folder.
#
#   server.sh start DIR ADDRESS PORT    initialises, starts, makes the roles and the database `parley`
#   server.sh stop DIR [SIGNAL]
#
# STANDBY_OF="DIR PORT" makes it, at its first start, a streaming standby of the server in that folder; it becomes one of its own by
# pg_promote(). DISK_MIB=N gives the data a disk of its own of that size, in memory.
# Passwords (mode 0600): DIR/{postgres,owner,worker,gateway}.password. Needs root,
# which PostgreSQL refuses to run as: everything goes through the user `postgres`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

RUN=${2:?DIR is missing}
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
sql() { PGOPTIONS=--client-min-messages=warning PGPASSWORD=$(cat "$RUN/postgres.password") "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$address" -p "$port" -U postgres "$@"; }

initialise() {
	[ ! -f "$RUN/data/initialised" ] || return 0
	own_disk "$RUN/data"
	find "$RUN/data" -mindepth 1 -delete
	install -d -o postgres -g postgres -m 700 "$RUN/data"
	if [ -n "${STANDBY_OF:-}" ]; then
		copy
		return
	fi
	# initdb reads the password as `postgres`, who may not read ours.
	install -o postgres -g postgres -m 600 "$RUN/postgres.password" "$RUN/data.password"
	as_postgres "$bin/initdb" -D "$RUN/data" -U postgres -A scram-sha-256 --pwfile="$RUN/data.password" -E UTF8 --locale=C.UTF-8 \
		>"$RUN/log/initdb.log" 2>&1 || die "initdb failed: see $RUN/log/initdb.log"
	rm "$RUN/data.password"
	# Every address that the server listens on is this machine's own.
	echo "host all all all scram-sha-256" >>"$RUN/data/pg_hba.conf"
	touch "$RUN/data/initialised"
}

# Copies the server that this one shall stand by, with its passwords. The copy holds the mark `initialised` too.
copy() {
	local from port_there
	read -r from port_there <<<"$STANDBY_OF"
	cp -p "$from"/*.password "$RUN/"
	PGPASSWORD=$(cat "$RUN/postgres.password") as_postgres "$bin/pg_basebackup" -h "$address" -p "$port_there" -U postgres \
		-D "$RUN/data" -R -X stream -c fast >"$RUN/log/copy.log" 2>&1 || die "pg_basebackup failed: see $RUN/log/copy.log"
}

# in_use: does any process (all of PostgreSQL's stand in the data folder) still use the data?
in_use() { find /proc -maxdepth 2 -name cwd -lname "$RUN/data" 2>/dev/null | grep -q .; }

# A killed server leaves its lock file, and children for a moment; its number may
# linger as a zombie or already be somebody else's, which PostgreSQL takes for a
# running server. Once nothing uses the data the file is stale.
after_a_kill() {
	if alive postgres || [ ! -f "$RUN/data/postmaster.pid" ]; then return; fi
	wait_for 240 "" "the rest of a killed PostgreSQL to end" eval '! in_use'
	rm -f "$RUN/data/postmaster.pid"
}

start_server() {
	local who
	bin=$("$HACK/postgres/bin.sh")
	mkdir -p "$RUN/log"
	chmod 711 "$RUN"
	for who in postgres owner worker gateway; do secret "$RUN/$who.password"; done
	initialise
	after_a_kill
	start postgres setpriv --reuid=postgres --regid=postgres --init-groups -- "$bin/postgres" -D "$RUN/data" \
		-c listen_addresses="$address" -c port="$port" -c unix_socket_directories= -c max_connections=200
	wait_for 240 postgres "PostgreSQL at $address:$port" "$bin/pg_isready" -q -h "$address" -p "$port"
	# A standby has its roles from where it comes.
	[ ! -f "$RUN/data/standby.signal" ] || return 0
	# As psql's own commands: a password on the command line would show in ps.
	{
		for who in owner worker gateway; do echo "\\set ${who}_password $(cat "$RUN/$who.password")"; done
		cat "$HACK/postgres/roles.sql"
	} | sql -d postgres -f -
}

case ${1:-} in
start)
	address=${3:?ADDRESS is missing} port=${4:?PORT is missing}
	start_server
	;;
# INT ("fast") ends sessions and loses nothing; QUIT is for data that is thrown away.
stop)
	stop postgres "${3:-INT}"
	no_disk "$RUN/data"
	;;
*) die "usage: server.sh start DIR ADDRESS PORT | stop DIR [SIGNAL]" ;;
esac
