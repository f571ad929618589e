# The release build (sourced): one set of flags, so that all who build with it share what was built.

RELEASE_TARGET=$(uname -m)-unknown-linux-gnu
RELEASE=$CARGO_TARGET_DIR/$RELEASE_TARGET/release

# commit: which sources these are, for the log's first line and parley_build_info. Of a fixed length, so that every clone of one
# commit says the same; "unknown" where the sources lie in no repository of their own.
commit() {
	if [ "$(git -c safe.directory="$ROOT" -C "$ROOT" rev-parse --show-toplevel 2>/dev/null)" = "$ROOT" ]; then
		git -c safe.directory="$ROOT" -C "$ROOT" describe --always --abbrev=12 --dirty 2>/dev/null || echo unknown
	else
		echo unknown
	fi
}

# With --target the flags reach the product only, not build scripts. Of the paths in it, only those of the registry's sources are the
# machine's own; mimalloc's C sources ask when they are compiled, which is no time of the clock's.
RELEASE_ENV=(
	"RUSTFLAGS=-C target-feature=+crt-static --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
	OPENSSL_STATIC=1 SOURCE_DATE_EPOCH=0
)

# release_build ARGUMENT...: cargo build with these.
release_build() {
	env "${RELEASE_ENV[@]}" PARLEY_COMMIT="${PARLEY_COMMIT:-$(commit)}" \
		cargo build --manifest-path "$ROOT/Cargo.toml" --locked --release --target "$RELEASE_TARGET" "$@"
}
