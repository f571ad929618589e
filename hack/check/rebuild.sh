#!/usr/bin/env bash
# make rebuild: the image is reproducible. Another clone of this commit, at another path, compiled from nothing into a target folder of
# its own, gives the same bytes. Some ten minutes of two cores.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/release.sh"

[[ $(commit) != *-dirty ]] || die "there are changes that no other clone has: commit them first"
[ -d "$ROOT/.git" ] || die "$ROOT is no clone, so there is no other one of the same commit"
"$HACK/image/build.sh"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
git clone --quiet "$ROOT" "$WORK/another"
CARGO_TARGET_DIR=$WORK/target IMAGE_OUT=$WORK/image "$WORK/another/hack/image/build.sh"
for file in bin/parley parley.tar; do
	cmp "$CACHE/image/$file" "$WORK/image/$file" || die "two builds of $(commit) differ in $file"
done
echo "rebuild: two builds of $(commit) give the same image, sha256:$(sha256sum <"$WORK/image/parley.tar" | cut -d' ' -f1)"
