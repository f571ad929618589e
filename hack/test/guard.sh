#!/usr/bin/env bash
# Holds one server for a test program: starts it, says "up", and stops it and removes its folder as soon as
# standard input ends, which it does when the test program ends, however it ends.
#
#   guard.sh SCRIPT DIR ARGUMENT...      SCRIPT start DIR ARGUMENT... ; … ; SCRIPT stop DIR KILL
#
# Before that it looks for the tests' passwords in all that the server wrote, when SEARCHED is set: see passwords.sh.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
script=$1 dir=$2
shift 2
trap '' INT TERM HUP # the end of standard input is the one signal
finish() {
	"$HACK/test/passwords.sh" look "$dir"
	bash "$HACK/$script" stop "$dir" KILL >&2
	rm -rf "$dir"
}
mkdir -p "$dir"
"$HACK/test/passwords.sh" expect "$dir"
echo $$ >"$dir/guard"
if ! bash "$HACK/$script" start "$dir" "$@" >&2; then
	[ -z "${KEEP_FAILED:-}" ] || cp -r "$dir/log" "/tmp/parley-failed-$$"
	finish
	exit 1
fi
echo up
cat >/dev/null
finish
