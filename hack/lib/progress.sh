# What a person sees: steps with their time, and work side by side (sourced).
# LOGS is the folder of the lanes' logs.

. "$LIB/registry.sh"

# log_of LANE: its file.
log_of() { echo "$LOGS/$(tr -cs '[:alnum:]\n' - <<<"$1").log"; }

# seconds NANOSECONDS: as "12.3 s".
seconds() { printf '%6d.%d s' $(($1 / 1000000000)) $(($1 / 100000000 % 10)); }

# step NAME COMMAND...: run it and say how long it took.
step() {
	local name=$1 t0
	shift
	t0=$(date +%s%N)
	"$@"
	printf '%s  %s\n' "$(seconds $(($(date +%s%N) - t0)))" "$name" >&2
}

declare -A LANE_PID=() LANE_START=()

# lane NAME COMMAND...: run it in the background with a log of its own and in a
# process group of its own, so that all of it can be ended at once. It keeps the
# lock of `exclusively`: were this script killed, the next one waits for its lanes.
lane() {
	local name=$1
	shift
	mkdir -p "$LOGS"
	LANE_START[$name]=$(date +%s%N)
	set -m
	(
		set +m
		"$@"
	) >"$(log_of "$name")" 2>&1 </dev/null &
	LANE_PID[$name]=$!
	set +m
}

# unlocked COMMAND...: for a lane that has locks of its own and may outlive the script.
unlocked() {
	exec 9>&-
	"$@"
}

end_lanes() {
	local name
	for name in "${!LANE_PID[@]}"; do kill -TERM -- "-${LANE_PID[$name]}" 2>/dev/null || true; done
	LANE_PID=()
}
trap end_lanes EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# join NAME...: wait for these lanes, tell every 15 s which lanes still run; the first
# failure ends all lanes and shows the end of its log, or the one line when a registry was not there.
join() {
	local name pid said=$SECONDS now left=("$@") still advice
	while [ ${#left[@]} -gt 0 ]; do
		still=()
		now=$(date +%s%N)
		for name in "${left[@]}"; do
			pid=${LANE_PID[$name]}
			if kill -0 "$pid" 2>/dev/null; then
				still+=("$name")
			elif wait "$pid"; then
				unset "LANE_PID[$name]"
				printf '%s  %s\n' "$(seconds $((now - LANE_START[$name])))" "$name" >&2
			else
				unset "LANE_PID[$name]"
				if advice=$(registry_advice "$name" "$(log_of "$name")"); then die "$advice"; fi
				tail -n 25 "$(log_of "$name")" >&2
				die "$name failed; the whole log: $(log_of "$name")"
			fi
		done
		left=("${still[@]}")
		if [ ${#left[@]} -gt 0 ] && [ $((SECONDS - said)) -ge 15 ]; then
			said=$SECONDS
			for name in "${!LANE_PID[@]}"; do
				kill -0 "${LANE_PID[$name]}" 2>/dev/null || continue # done, and joined later
				printf '   … %4d s  %s: %s\n' $(((now - LANE_START[$name]) / 1000000000)) "$name" "$(last_line "$(log_of "$name")")" >&2
			done
		fi
		[ ${#left[@]} -eq 0 ] || sleep 0.2
	done
}
# The newest line of a log, without colour and short enough for a terminal.
last_line() { tail -c 4096 "$1" | tr '\r' '\n' | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' | grep -v '^ *$' | tail -n 1 | cut -c1-90; }
