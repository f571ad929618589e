# The release build (sourced): one set of flags, so that all who build with it share what was built.

RELEASE_TARGET=$(uname -m)-unknown-linux-gnu
RELEASE=$CARGO_TARGET_DIR/$RELEASE_TARGET/release

# release_build ARGUMENT...: cargo build with these. With --target the flags reach the product only, not build
# scripts. Of the paths in it, only those of the registry's sources are the machine's own.
release_build() {
	RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" OPENSSL_STATIC=1 \
		cargo build --manifest-path "$ROOT/Cargo.toml" --locked --release --target "$RELEASE_TARGET" "$@"
}
