#!/usr/bin/env bash
# What the hot path costs, without a clock: the instructions of one round of each loop in src/hot, counted by callgrind
# in the release, against hack/check/instructions-ARCHITECTURE.txt. One that is off by more than TOLERANCE percent,
# up or down, fails.
#
#   instructions.sh             compares
#   UPDATE=1 instructions.sh    writes the file anew: for a change that means what it costs, or is cheaper
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/release.sh"

TOLERANCE=${TOLERANCE:-5}
ROUNDS=100
EXPECTED=$HACK/check/instructions-$(uname -m).txt

# collected LOOP ROUNDS: instructions of the whole program.
collected() {
	local said
	said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null "$RELEASE/hot" "$1" "$2" 2>&1) ||
		die "hot $1 $2 failed under valgrind: $said"
	sed -n 's/.*Collected : \([0-9]*\).*/\1/p' <<<"$said"
}

# a_round LOOP: what one more round takes; what the program does before and after it falls out.
a_round() { echo $((($(collected "$1" $((2 * ROUNDS))) - $(collected "$1" $ROUNDS)) / ROUNDS)); }

release_build --bin hot || die "the loops could not be built: see the lines above"
mapfile -t loops < <("$RELEASE/hot")
[ ${#loops[@]} -gt 0 ] || die "$RELEASE/hot names no loop"
counted=$(for loop in "${loops[@]}"; do printf '%s %d\n' "$loop" "$(a_round "$loop")"; done)
if [ -n "${UPDATE:-}" ]; then
	put "$EXPECTED" <<<"$counted"
elif [ ! -f "$EXPECTED" ]; then
	say "instructions: none are written down for $(uname -m); UPDATE=1 hack/check/instructions.sh does so"
	exit 0
fi
failed=0
while read -r loop now; do
	before=$(awk -v loop="$loop" '$1 == loop {print $2}' "$EXPECTED")
	[ -n "$before" ] || die "$EXPECTED does not know $loop: UPDATE=1 hack/check/instructions.sh writes it anew"
	change=$(awk -v a="$before" -v b="$now" 'BEGIN {printf "%+.1f", (b - a) * 100 / a}')
	printf '%-12s %9d instructions a round, %s %%\n' "$loop" "$now" "$change"
	awk -v c="$change" -v t="$TOLERANCE" 'BEGIN {exit c <= t && c >= -t}' || continue
	failed=1
	say "$loop: $now instructions a round, $before are expected ($change %, $TOLERANCE are tolerated)"
done <<<"$counted"
[ $failed = 0 ] || die "the hot path has changed its cost. Where: valgrind --tool=callgrind $RELEASE/hot LOOP 1000, then callgrind_annotate.
If it is meant, UPDATE=1 hack/check/instructions.sh writes the new counts, to be committed with the change"
