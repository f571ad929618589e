#!/usr/bin/env bash
# make fuzz: tries the properties of src/fuzzing on inputs that libFuzzer makes (docs/fuzzing.md).
#
#   fuzz.sh [SECONDS] [TARGET...]    each target so long, default 600; all of them when none is named
#   fuzz.sh again TARGET FILE        one input once more
#
# SEED makes the same course of it again, for as long as it lasts; left out or 0, it is another one each time.
# Begins with fuzz/corpus/TARGET and with what earlier runs found to lead further, in $CACHE/fuzz. JOBS run at a time.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$LIB/release.sh"

WORK=$CACHE/fuzz
LOGS=$CACHE/log/fuzz
JOBS=${JOBS:-$(nproc)}
# As many branches as only an instrumented product has.
FEWEST_COUNTERS=10000

build() {
	RUSTC_WORKSPACE_WRAPPER=$HACK/fuzz/rustc.sh release_build --package parley-fuzz --bins ||
		die "the fuzz targets could not be built: see the lines above"
}

# number TEXT LOG: the last number after this text in a log; 0 when it is not there.
number() {
	local found
	found=$(grep -aoE "$1 *[0-9]+" "$2" | tail -n 1 | grep -oE '[0-9]+$') || true
	echo "${found:-0}"
}

declare -A RUNNING=() # by process, its target
trap '[ ${#RUNNING[@]} = 0 ] || kill "${!RUNNING[@]}" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start TARGET SECONDS: in the background, out of the way of everything else.
start() {
	local corpus=$WORK/corpus/$1 found=$WORK/found/$1
	mkdir -p "$corpus" "$found" "$LOGS"
	nice -n 19 "$RELEASE/$1" -seed="${SEED:-0}" -max_total_time="$2" -timeout=60 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
		-dict="$ROOT/fuzz/words.dict" -artifact_prefix="$found/" "$corpus" "$ROOT/fuzz/corpus/$1" >"$LOGS/$1.log" 2>&1 &
	RUNNING[$!]=$1
}

# reap: waits until one of them ends, and says what came of it.
reap() {
	local pid status=0 target log
	wait -n -p pid || status=$?
	target=${RUNNING[$pid]} log=$LOGS/${RUNNING[$pid]}.log
	unset "RUNNING[$pid]"
	if [ $status = 0 ] && [ "$(number 'Loaded 1 modules +\(' "$log")" -gt $FEWEST_COUNTERS ]; then
		printf '%-8s  %9d inputs, %5d branches reached, nothing found\n' "$target" "$(number 'stat::number_of_executed_units:' "$log")" "$(number 'cov:' "$log")"
	else
		failed+=("$target")
		complain "$target" "$log"
	fi
}

complain() {
	local target=$1 log=$2 input
	input=$(sed -n 's|.*Test unit written to ||p' "$log" | tail -n 1)
	say "$target: a property does not hold, or the product is not instrumented; the whole log: $log"
	grep -aA 3 -E 'panicked at|ERROR: libFuzzer|Loaded .* modules' "$log" | head -n 8 | cut -c1-300 >&2
	[ -n "$input" ] || return 0
	say "  the input, $(stat -c %s "$input") bytes: $(printf '%q' "$(head -c 400 "$input" | tr -d '\0')")"
	say "  once more:  hack/fuzz.sh again $target $input"
	say "  for good:   cp $input fuzz/corpus/$target/NAME; cargo test --lib fuzzing fails until it is mended"
}

targets() { find "$ROOT/fuzz/fuzz_targets" -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort; }

failed=()
build
if [ "${1:-}" = again ]; then
	exec "$RELEASE/${2:?TARGET is missing}" "${3:?FILE is missing}"
fi
seconds=${1:-600}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "usage: fuzz.sh [SECONDS] [TARGET...] | again TARGET FILE"
mapfile -t chosen < <(targets)
[ $# -le 1 ] || chosen=("${@:2}")
for target in "${chosen[@]}"; do
	[ -f "$ROOT/fuzz/fuzz_targets/$target.rs" ] || die "there is no fuzz target $target; there are $(targets | tr '\n' ' ')"
	[ ${#RUNNING[@]} -lt "$JOBS" ] || reap
	start "$target" "$seconds"
done
while [ ${#RUNNING[@]} -gt 0 ]; do reap; done
[ ${#failed[@]} = 0 ] || die "fuzzing found something in ${failed[*]}: see above"
