#!/usr/bin/env bash
# Everything that a release publishes: image, charts, definition, SBOM, notes, checksums.
#
#   hack/release.sh                  builds it into dist/; the version is Cargo.toml's
#   hack/release.sh build DIR        builds it into DIR; with CHECKED=1 it leaves out the checks of charts and image, for `make test`,
#                                    which has just made them
#   hack/release.sh version X.Y.Z    sets the version: in Cargo.toml, and from there wherever else it stands
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"

version() { sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1; }

set_version() {
	local new=$1 old chart
	[[ $new =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || die "$new is no version: X.Y.Z or X.Y.Z-pre"
	old=$(version)
	sed -i "0,/^version = \"$old\"/s//version = \"$new\"/" "$ROOT/Cargo.toml"
	# The package's own entry of the lock file.
	sed -i "/^name = \"parley\"\$/{n;s/^version = \"$old\"/version = \"$new\"/}" "$ROOT/Cargo.lock"
	for chart in parley parley-topics; do
		sed -i "s/^version: .*/version: $new/; s/^appVersion: .*/appVersion: \"$new\"/" "$ROOT/charts/$chart/Chart.yaml"
	done
	sed -i "s/\(org.opencontainers.image.version=\"\)[^\"]*/\1$new/; s/\(parley.dev\/parley:\)[0-9][^ \`]*/\1$new/" "$ROOT/Dockerfile"
	sed -i "s/\(parley.dev\/parley:\)$old\b/\1$new/" "$ROOT"/docs/*.md "$ROOT/README.md"
	sed -i "0,/\"version\": \"$old\"/s//\"version\": \"$new\"/" "$ROOT/docs/openapi.json" "$ROOT/web/package.json"
	# The lock file names the package twice, both at its head.
	sed -i "1,12s/\"version\": \"$old\"/\"version\": \"$new\"/" "$ROOT/web/package-lock.json"
	"$HACK/check/chart-readme.sh"
	say "the version is $new; what is new goes under \"## [$new]\" in CHANGELOG.md"
}

# notes VERSION: its section of the changelog; before it has one, what is unreleased.
notes() {
	awk -v want="## [$1]" 'index($0, "## [") == 1 {on = index($0, want) == 1; next} on' "$ROOT/CHANGELOG.md" | sed '/./,$!d'
}

# build DIR
build() {
	local v out=$1 tag arch
	v=$(version) arch=$(uname -m)
	rm -rf "$out.new"
	mkdir -p "$out.new"
	notes "$v" >"$out.new/notes.md"
	[ -s "$out.new/notes.md" ] || notes Unreleased >"$out.new/notes.md"
	[ -s "$out.new/notes.md" ] || die "CHANGELOG.md says nothing of $v, and nothing of what is unreleased"
	"$HACK/cluster/build.sh" clients
	"$HACK/image/build.sh"
	if [ -z "${CHECKED:-}" ]; then
		"$HACK/check/charts.sh"
		"$HACK/check/image.sh"
	fi
	tag=$(cat "$CACHE/image/tag")
	cp "$CACHE/image/parley.tar" "$out.new/parley-$v-image-$arch.tar"
	node "$HACK/image/sbom.mjs" "$tag" "$arch-unknown-linux-gnu" >"$out.new/parley-$v-$arch.spdx.json"
	cp "$ROOT/crds/chattopicsets.yaml" "$out.new/parley-$v-crds.yaml"
	for chart in parley parley-topics; do
		"$CACHE/cluster/bin/helm" package "$ROOT/charts/$chart" -d "$out.new" >/dev/null
		[ -f "$out.new/$chart-$v.tgz" ] || die "the package of $chart has another version than $v"
	done
	(cd "$out.new" && sha256sum -- * >SHA256SUMS && sha256sum --quiet -c SHA256SUMS)
	rm -rf "$out"
	mv "$out.new" "$out"
	say "release $v, image tag $tag: $out"
	(cd "$out" && ls -1s --block-size=1)
}

case ${1:-build} in
build) build "${2:-$ROOT/dist}" ;;
version) set_version "${2:?X.Y.Z is missing}" ;;
*) die "usage: release.sh [build DIR | version X.Y.Z]" ;;
esac
