# The web client, which the gateway embeds (sourced).

# web_modules: node_modules as package-lock.json says, when that changed.
web_modules() {
	local lock
	lock=$(sha256sum <"$ROOT/web/package-lock.json" | cut -d' ' -f1)
	[ "$(cat "$ROOT/web/node_modules/.parley-lock" 2>/dev/null)" != "$lock" ] || return 0
	npm --prefix "$ROOT/web" ci --no-audit --no-fund || die "npm could not install the web client's packages: see the lines above"
	put "$ROOT/web/node_modules/.parley-lock" <<<"$lock"
}

# web_dist: web/dist, when a source changed.
web_dist() {
	local sources
	[ -f "$ROOT/web/package.json" ] || die "there is no web client in $ROOT/web"
	sources=$(sum_of web)
	if [ -f "$ROOT/web/dist/index.html" ] && [ "$(cat "$ROOT/web/node_modules/.parley-dist" 2>/dev/null)" = "$sources" ]; then return; fi
	web_modules
	npm --prefix "$ROOT/web" run --silent build
	put "$ROOT/web/node_modules/.parley-dist" <<<"$sources"
}
