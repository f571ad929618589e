# Where things lie, and the few tools that every script here uses (sourced).
#
# Two folders of the machine, neither of them in the clone, so that any clone
# finds what another one built or left running:
#   CACHE  what is slow to make; nothing in it is needed to be right, only to be fast
#   STATE  one running system: `up` for make up, `test` for make test

LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HACK=$(dirname "$LIB")
ROOT=$(dirname "$HACK")
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/parley
STATES=/srv/parley
STATE=${CLUSTER_STATE:-$STATES/up}
TOOLS=$CACHE/tools

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# put FILE: stdin to FILE in one step, so that a kill leaves no half of it, and
# an equal file untouched: kube-proxy ends itself when its configuration is written.
put() {
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

# secret FILE: a random password into FILE, once, readable by its owner only.
secret() {
	[ -s "$1" ] || (umask 077 && put "$1" < <(od -An -N24 -tx1 /dev/urandom | tr -d ' \n'))
}

# sum_of PATH...: one line for the contents and names of these files and folders of the
# clone, wherever it lies; without what is built in them.
sum_of() {
	(cd "$ROOT" && find "$@" \( -name node_modules -o -name dist \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

# exclusively FILE WHAT: from here to its end this shell is alone with FILE. What it
# runs holds the lock with it, but for the processes of `start`, which stay.
exclusively() {
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	flock -n 9 && return
	say "waiting for another $2 to end"
	flock 9
}

# listening ADDRESS PORT: does a process on this machine already take it?
listening() { ss -Hltn "sport = :$2" | awk '{print $4}' | grep -qE "^(\[::ffff:)?(${1//./\\.}|0\.0\.0\.0|\*|\[::)\]?:$2\$"; }

as_root() { [ "$(id -u)" = 0 ] || die "root is needed: it makes network devices, mounts and cgroups; run it with sudo"; }

# Shared by clones and by both commands; cargo's own locks keep builds apart.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
