# Tools that cargo builds, once, into the cache (sourced).

CARGO_DENY_VERSION=0.20.2

cargo_deny() {
	local bin=$TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny
	if [ ! -x "$bin" ]; then
		# Unoptimised: it runs for seconds and builds in half the time.
		(exclusively "$TOOLS/lock-cargo-deny" "build of cargo-deny" &&
			cargo install --quiet --locked --debug --root "$TOOLS/cargo-deny-$CARGO_DENY_VERSION" --target-dir "$TOOLS/build" \
				--version "=$CARGO_DENY_VERSION" cargo-deny && rm -rf "$TOOLS/build") || die "cargo-deny could not be built: see the lines above"
	fi
	"$bin" "$@"
}
