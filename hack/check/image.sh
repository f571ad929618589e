#!/usr/bin/env bash
# Checks the image that hack/image/build.sh made: small, nothing in it but what must be, no
# root, the same bytes from a second assembly, the same files as the Dockerfile's, an SBOM.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/release.sh"

IMAGE=$CACHE/image
LIMIT=$((50 * 1000 * 1000))
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

[ -f "$IMAGE/tag" ] || die "there is no image: make image"
tag=$(cat "$IMAGE/tag")
size=$(stat -c %s "$IMAGE/parley.tar")
[ "$size" -le $LIMIT ] || die "the image has $size bytes, the limit is $LIMIT"

# again FOLDER: assembled anew from the same programs, under another path and with other dates.
again() {
	mkdir -p "$1"
	cp -rL "$IMAGE/bin" "$1/bin"
	for name in controller worker gateway; do ln -sfn parley "$1/bin/$name"; done
	find "$1" -exec touch -h -d "2001-02-03" {} +
	IMAGE_OUT=$1 "$HACK/image/build.sh" assemble 2>/dev/null
}
again "$SCRATCH/other"
cmp "$IMAGE/parley.tar" "$SCRATCH/other/parley.tar" || die "a second assembly of the same programs gives another image"

mkdir "$SCRATCH/image"
tar -xf "$IMAGE/parley.tar" -C "$SCRATCH/image"
blob() { echo "$SCRATCH/image/blobs/sha256/${1#sha256:}"; }
manifest=$(blob "$(jq -r '.manifests[0].digest' "$SCRATCH/image/index.json")")
config=$(blob "$(jq -r .config.digest "$manifest")")
for digest in $(jq -r '.config.digest, .layers[].digest' "$manifest"); do
	[ "$(sha256sum <"$(blob "$digest")" | cut -d' ' -f1)" = "${digest#sha256:}" ] || die "$digest is not the digest of its contents"
done
jq -r '.layers[].digest' "$manifest" | while read -r layer; do tar -tf "$(blob "$layer")"; done | sed 's#^\./##' | grep -v '/$' | sort >"$SCRATCH/files"

# What the Dockerfile's last step copies: what it puts under /image.
{
	sed -n 's#.*install -D -m [0-9]* -t /image/\([^ ]*\) "[^"]*/\([^/"]*\)".*#\1/\2#p' "$ROOT/Dockerfile"
	# shellcheck disable=SC2016 # the Dockerfile's words
	sed -n 's#.*for name in \(.*\); do ln -s parley "/image/bin/$name"; done.*#\1#p' "$ROOT/Dockerfile" | tr ' ' '\n' | sed 's#^#bin/#'
	sed -n 's#.*install -D -m [0-9]* /.* /image/\([^ ]*\).*#\1#p; s#.*>/image/\([^ ]*\).*#\1#p' "$ROOT/Dockerfile"
} | sort >"$SCRATCH/dockerfile"
diff "$SCRATCH/dockerfile" "$SCRATCH/files" || die "the Dockerfile gives other files (<) than make image (>)"

user=$(jq -r .config.User "$config")
[[ $user =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || die "the image's user is \"$user\", not a number other than 0"
[ "$(sed -n 's/^USER //p' "$ROOT/Dockerfile")" = "$user" ] || die "the Dockerfile's user is not $user"
jq -r '.config.Labels | to_entries[] | "\(.key)=\"\(.value)\""' "$config" | sort >"$SCRATCH/labels"
sed -n 's/^\(LABEL\)\? *\(org\.opencontainers\.image\.[^=]*="[^"]*"\).*/\2/p' "$ROOT/Dockerfile" | sort | diff - "$SCRATCH/labels" || die "the Dockerfile's labels (<) are not the image's (>)"
! strings -n 8 "$IMAGE/bin/parley" | grep -F -e "$HOME/" -e "$ROOT/" >&2 || die "the program holds paths of the machine that built it"

grep -qaF -- "${PARLEY_COMMIT:-$(commit)}" "$IMAGE/bin/parley" || die "the program does not say that it is of commit $(commit): make image"

target=$(uname -m)-unknown-linux-gnu
for n in 1 2; do node "$HACK/image/sbom.mjs" "$tag" "$target" >"$SCRATCH/sbom-$n.json"; done
cmp "$SCRATCH/sbom-1.json" "$SCRATCH/sbom-2.json" || die "a second SBOM differs"
jq -e '(.packages | length) > 200 and (.packages | map(.SPDXID) | length == (unique | length)) and any(.packages[]; .name == "rdkafka") and any(.packages[]; .name == "openssl")
	and ([.relationships[].relatedSpdxElement] - [.packages[].SPDXID] == [])' "$SCRATCH/sbom-1.json" >/dev/null || die "the SBOM lacks something"
echo "image: $tag, $size bytes, $(wc -l <"$SCRATCH/files") files as in the Dockerfile, user $user, assembled twice to the same bytes; SBOM of $(jq '.packages | length' "$SCRATCH/sbom-1.json") packages"
