#!/usr/bin/env bash
# Builds every binary and image of the cluster from the Go module proxy into
# $BIN and $IMAGES. A component is rebuilt only when its go.mod, go.sum,
# sources or the Go version changed. Needs Go and nothing else.
#
#   build.sh          everything
#   build.sh tools    only what assembles images
#   build.sh clients  only kubectl and helm
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

command -v go >/dev/null || die "Go is needed (1.26 was used)"
mkdir -p "$BIN/cni" "$IMAGES"
# CGO off: static binaries. readonly: go.mod and go.sum are committed, and the
# sums pin every byte. modcacherw: so that rm can remove the cache.
export CGO_ENABLED=0 GOFLAGS='-mod=readonly -modcacherw -buildvcs=false -trimpath'
export GOMODCACHE=$CACHE/cluster/cache/gomod GOCACHE=$CACHE/cluster/cache/gobuild

pinned() { # pinned DIR MODULE VERSION
	grep -qE "^(require )?[[:space:]]*$2 $3( |$)" "$CLUSTER/build/$1/go.mod" || die "build/$1/go.mod does not pin $2 $3"
}
pinned kubernetes k8s.io/kubernetes "$K8S_VERSION"
pinned etcd go.etcd.io/etcd/server/v3 "$ETCD_VERSION"
pinned coredns github.com/coredns/coredns "$COREDNS_VERSION"
pinned cni github.com/containernetworking/plugins "$CNI_VERSION"
pinned helm helm.sh/helm/v3 "$HELM_VERSION"

# component DIR OUTPUT PACKAGE [LDFLAGS]
component() {
	(exclusively "$CACHE/cluster/lock-${2##*/}" "build of ${2##*/}" && build "$@")
}
build() {
	local dir=$CLUSTER/build/$1 out=$2 pkg=$3 ld="-s -w ${4:-}" want
	want=$({ go version; echo "$pkg $ld"; (cd "$dir" && find . -type f -print0 | sort -z | xargs -0 sha256sum); } | sha256sum)
	if [ -x "$out" ] && [ "$(cat "$out.stamp" 2>/dev/null)" = "$want" ]; then return; fi
	rm -f "$out.stamp"
	step "go build ${out#"$BIN/"}" env -C "$dir" go build -ldflags "$ld" -o "$out" "$pkg"
	put "$out.stamp" <<<"$want"
}

tools() { for c in pause mkimage; do component tools "$BIN/$c" "./$c"; done; }

v=k8s.io/component-base/version
kubernetes() {
	component kubernetes "$BIN/$1" "k8s.io/kubernetes/cmd/$1" \
		"-X $v.gitVersion=$K8S_VERSION -X $v.gitMajor=1 -X $v.gitMinor=34 -X $v.gitTreeState=clean"
}

clients() {
	kubernetes kubectl
	component helm "$BIN/helm" helm.sh/helm/v3/cmd/helm "-X helm.sh/helm/v3/internal/version.version=$HELM_VERSION"
}

servers() {
	local c
	for c in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do kubernetes "$c"; done
	component etcd "$BIN/etcd" go.etcd.io/etcd/server/v3
	component coredns "$BIN/coredns" .
	for c in main/bridge main/loopback ipam/host-local meta/portmap; do
		component cni "$BIN/cni/${c##*/}" "github.com/containernetworking/plugins/plugins/$c"
	done
}

# image NAME TAG ENTRYPOINT USER FILE=PATH...
image() {
	local tar=$IMAGES/$1.tar
	if [ -f "$tar" ] && [ "$tar" -nt "$BIN/$1" ]; then return; fi
	"$BIN/mkimage" -o "$tar" -t "$2" -entrypoint "$3" -user "$4" "${@:5}" >&2
}
images() {
	image pause "$PAUSE_IMAGE" /pause 65535:65535 "$BIN/pause=/pause"
	image coredns "$COREDNS_IMAGE" /coredns 65532:65532 "$BIN/coredns=/coredns"
}

case ${1:-all} in
tools | clients) "$1" ;;
all)
	tools
	servers
	clients
	images
	;;
*) die "usage: build.sh [tools|clients]" ;;
esac
