# Processes that outlive the script which starts them (sourced).
# RUN is the folder of one group of them: $RUN/pids and $RUN/log.

# A process is named by pid and start time, so a recycled pid is never taken
# for ours. Field 22 of /proc/PID/stat, counted after the ")" of the name; a
# zombie (some machines' PID 1 is slow to reap) counts as gone.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'; }

alive() { # alive NAME
	local pid start
	[ -f "$RUN/pids/$1" ] || return 1
	read -r pid start <"$RUN/pids/$1"
	[ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ]
}
pid_of() { cut -d' ' -f1 "$RUN/pids/$1"; }

# start NAME COMMAND...: in the background, own session, log file, pid noted.
# The process notes itself before it becomes the command: were this shell killed
# in between, an unknown process would hold its port for ever. It inherits nothing
# but its three streams: librdkafka's pipes in a test's process are not closed on
# exec, and PostgreSQL refuses to start beside a thousand of them. Nor does it inherit
# what is ignored: a JVM below a script that ignores SIGTERM could not be asked to end.
start() {
	local name=$1 child pid
	shift
	if alive "$name"; then return; fi
	mkdir -p "$RUN/pids" "$RUN/log"
	rm -f "$RUN/pids/$name"
	# shellcheck disable=SC2016 # for the inner shell
	setsid bash -c '
		. "$1/process.sh"
		echo "$$ $(start_time $$)" >"$2.new" && mv "$2.new" "$2"
		shift 2
		for open in /proc/self/fd/*; do
			if [ "${open##*/}" -gt 2 ]; then eval "exec ${open##*/}>&-"; fi
		done
		exec env --default-signal=HUP,INT,TERM "$@"
	' start "$LIB" "$RUN/pids/$name" "$@" >>"$RUN/log/$name.log" 2>&1 </dev/null &
	child=$!
	until read -r pid _ 2>/dev/null <"$RUN/pids/$name" && [ "$pid" = "$child" ]; do
		# It may have noted itself and ended between the two looks.
		[ -d "/proc/$child" ] || { read -r pid _ 2>/dev/null <"$RUN/pids/$name" && [ "$pid" = "$child" ]; } ||
			die "$name did not start: $(tail -n 1 "$RUN/log/$name.log")"
		sleep 0.01
	done
}

stop() { # stop NAME [SIGNAL]; KILL after ten seconds
	local pid i
	if alive "$1"; then
		pid=$(pid_of "$1")
		kill "-${2:-TERM}" "$pid" 2>/dev/null || true
		for ((i = 0; i < 100; i++)); do
			alive "$1" || break
			sleep 0.1
		done
		if alive "$1"; then kill -KILL "$pid" 2>/dev/null || true; fi
	fi
	rm -f "$RUN/pids/$1"
}

# wait_for SECONDS PROCESS WHAT COMMAND...: until COMMAND succeeds. PROCESS may be
# empty; when it is named and ends, waiting is over. WAIT_STEP is the time between two tries.
wait_for() {
	local limit=$((SECONDS + $1)) proc=$2 what=$3
	shift 3
	until "$@" >/dev/null 2>&1; do
		[ -z "$proc" ] || alive "$proc" || { last_lines "$proc"; die "$proc ended while waiting for $what; its log: $RUN/log/$proc.log"; }
		[ $SECONDS -lt $limit ] || { [ -z "$proc" ] || last_lines "$proc"; die "timed out waiting for $what"; }
		sleep "${WAIT_STEP:-0.1}"
	done
}
last_lines() { tail -n 20 "$RUN/log/$1.log" >&2 || true; }

# own_disk DIR: DIR is there; with DISK_MIB=N on a disk of its own, in memory, of that size.
own_disk() {
	mkdir -p "$1"
	[ -z "${DISK_MIB:-}" ] || mountpoint -q "$1" || mount -t tmpfs -o "size=${DISK_MIB}m,mode=700" parley-disk "$1"
}
# What still uses it keeps it until it ends, and nobody else finds it any more.
no_disk() { ! mountpoint -q "$1" || umount -l "$1"; }
