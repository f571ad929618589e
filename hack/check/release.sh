#!/usr/bin/env bash
# Makes a release from the image and the charts of this moment, as `make release` does, and looks at what came of it: the files that
# docs/release.md names and no others, whole by their checksums, and the same version in each of them.
#
#   release.sh        makes one, and looks at it
#   release.sh DIR    looks at one that is there
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
dist=${1:-$SCRATCH/dist}
if [ $# = 0 ]; then
	CHECKED=1 "$HACK/release.sh" build "$dist" >"$SCRATCH/log" 2>&1 || { cat "$SCRATCH/log" >&2; die "no release can be made: see the lines above"; }
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
arch=$(uname -m)

# is WHAT HAVE WANT
is() { [ "$2" = "$3" ] || die "$1 is \"$2\", not \"$3\""; }

# What the page's table names.
awk -F'|' '/^\| file /{on = 1; next} !/^\|/{on = 0} on && !/^\|-/{gsub(/[` ]/, "", $2); gsub(",", "\n", $2); print $2}' "$ROOT/docs/release.md" |
	sed "s/X\.Y\.Z/$version/; s/ARCH/$arch/" | LC_ALL=C sort >"$SCRATCH/named"
find "$dist" -mindepth 1 -printf '%P\n' | LC_ALL=C sort >"$SCRATCH/there"
diff "$SCRATCH/named" "$SCRATCH/there" || die "docs/release.md names other files (<) than the release has (>)"
(cd "$dist" && sha256sum --quiet --strict -c SHA256SUMS) || die "a file is not what SHA256SUMS says"
sed 's/^[0-9a-f]* [ *]//' "$dist/SHA256SUMS" | LC_ALL=C sort | diff - <(grep -vx SHA256SUMS "$SCRATCH/there") || die "SHA256SUMS lists other files (<) than the release has (>)"

for chart in parley parley-topics; do
	tar -xzf "$dist/$chart-$version.tgz" -C "$SCRATCH"
	for field in name version appVersion; do
		want=$version
		[ $field != name ] || want=$chart
		is "$chart: $field" "$(sed -n "s/^$field: \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$SCRATCH/$chart/Chart.yaml")" "$want"
	done
	# Helm writes Chart.yaml anew.
	diff -r -x Chart.yaml -x .helmignore -x ci -x '*.gotmpl' "$ROOT/charts/$chart" "$SCRATCH/$chart" || die "the package of $chart (>) is not the chart (<)"
done
cmp "$ROOT/crds/chattopicsets.yaml" "$dist/parley-$version-crds.yaml" || die "the release's definition is another one than the charts'"

mkdir "$SCRATCH/image"
tar -xf "$dist/parley-$version-image-$arch.tar" -C "$SCRATCH/image"
names=$(jq -r '.manifests[].annotations["io.containerd.image.name"]' "$SCRATCH/image/index.json")
tag=$(grep -vxF "parley.dev/parley:$version" <<<"$names" | sed 's/^parley\.dev\/parley://')
is "the image's names" "$names" "parley.dev/parley:$version"$'\n'"parley.dev/parley:$tag"
[[ $tag =~ ^"$version"-[0-9a-f]{12}$ ]] || die "the image's tag $tag is not the version and a hash"
blob() { echo "$SCRATCH/image/blobs/sha256/${1#sha256:}"; }
config=$(blob "$(jq -r .config.digest "$(blob "$(jq -r '.manifests[0].digest' "$SCRATCH/image/index.json")")")")
is "the image's label" "$(jq -r '.config.Labels["org.opencontainers.image.version"]' "$config")" "$version"
is "the SBOM's image" "$(jq -r '[.packages[] | select(.primaryPackagePurpose == "CONTAINER") | .versionInfo] | join(" ")' "$dist/parley-$version-$arch.spdx.json")" "$tag"

# Of this version, or of what is to be in it: a section with its kinds of changes, and nothing of another one.
grep -q '^### ' "$dist/notes.md" || die "the notes name no change"
! grep -n '^## ' "$dist/notes.md" || die "the notes hold more than one section"
echo "release: $version, $(wc -l <"$SCRATCH/there") files as in docs/release.md, whole and of one version"
