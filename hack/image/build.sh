#!/usr/bin/env bash
# Builds the image without a daemon: one static binary under three names, a CA bundle
# and a user, in one layer. The same sources give the same bytes.
#
#   $CACHE/image/parley.tar    for `ctr images import`, `docker load`, `kind load image-archive`
#   $CACHE/image/tag           its tag: version and a hash of the contents
#   $CACHE/image/bin/          the programs in it, which run on this machine too
#
# It is also named parley.dev/parley:VERSION.
#
#   build.sh binaries    only the programs
#   build.sh assemble    the image from programs that are there, in IMAGE_OUT instead of $CACHE/image
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/release.sh"
. "$LIB/web.sh"

OUT=${IMAGE_OUT:-$CACHE/image}
LIMIT=$((50 * 1000 * 1000)) # the image is to be pulled in seconds
LINKS=(controller worker gateway) # to the one binary, which looks at its name
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)

binaries() {
	local name
	web_dist
	release_build --bin parley || die "the release build failed: see the lines above"
	mkdir -p "$OUT/bin"
	install -m 755 "$RELEASE/parley" "$OUT/bin/parley.new"
	if cmp -s "$OUT/bin/parley.new" "$OUT/bin/parley"; then rm "$OUT/bin/parley.new"; else mv "$OUT/bin/parley.new" "$OUT/bin/parley"; fi
	for name in "${LINKS[@]}"; do ln -sfn parley "$OUT/bin/$name"; done
}

assemble() {
	local tag name files=()
	printf 'parley:x:65532:65532:parley:/:/sbin/nologin\n' | put "$OUT/passwd"
	cp -L /etc/ssl/certs/ca-certificates.crt "$OUT/ca-certificates.crt"
	files=("$OUT/bin/parley=/bin/parley")
	for name in "${LINKS[@]}"; do files+=("$OUT/bin/$name=/bin/$name"); done
	files+=("$OUT/passwd=/etc/passwd" "$OUT/ca-certificates.crt=/etc/ssl/certs/ca-certificates.crt")
	tag=$version-$(cat "${files[@]%%=*}" | sha256sum | cut -c1-12)
	if [ -f "$OUT/parley.tar" ] && [ "$(cat "$OUT/tag" 2>/dev/null)" = "$tag" ]; then return; fi
	rm -f "$OUT/tag"
	"$CACHE/cluster/bin/mkimage" -o "$OUT/parley.tar" -t "parley.dev/parley:$version,parley.dev/parley:$tag" -user 65532:65532 \
		-label org.opencontainers.image.title=parley -label org.opencontainers.image.version="$version" \
		-label org.opencontainers.image.licenses=Apache-2.0 \
		-label org.opencontainers.image.description="A chat platform for Kubernetes" \
		"${files[@]}"
	[ "$(stat -c %s "$OUT/parley.tar")" -le $LIMIT ] || die "the image has $(stat -c %s "$OUT/parley.tar") bytes, the limit is $LIMIT"
	put "$OUT/tag" <<<"$tag"
}

mkdir -p "$OUT"
exclusively "$OUT/lock" "build of the image"
[ "${1:-}" = assemble ] || binaries
[ "${1:-}" != binaries ] || exit 0
"$HACK/cluster/build.sh" tools
assemble
say "image parley.dev/parley:$(cat "$OUT/tag"): $(stat -c %s "$OUT/parley.tar") bytes, $OUT/parley.tar"
