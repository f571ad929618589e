# Asks elsewhere for known faults in what we depend on (sourced). This machine may not reach those who know; then nothing was
# checked, and a line says so. Whether they were reached is told by exit codes and by the report, never by words in what was
# printed: the text of a fault may hold any words.

unreached() { # unreached OF WHAT-WAS-SAID
	printf 'advisories of %s: they cannot be reached from here, not checked: %s\n' "$1" "$(grep -v '^ *$' <<<"$2" | tail -n 1 | cut -c1-160)"
}

# crate_advisories CARGO-DENY...: first the database alone, then the check without a way to the network: it is about us only.
crate_advisories() {
	local said
	if said=$(timeout 120 "$@" fetch db 2>&1); then
		"$@" check --disable-fetch advisories
	else
		unreached crates "$said"
	fi
}

# npm_advisories NPM...: an audit that was made has a report, whatever it found.
npm_advisories() {
	local report said status=0
	report=$(timeout 120 "$@" audit --package-lock-only --json 2>/dev/null) || status=$?
	if [ -z "$report" ] || ! jq -e 'has("auditReportVersion")' <<<"$report" >/dev/null 2>&1; then
		said=$(jq -r '.message // empty' <<<"$report" 2>/dev/null) || said=''
		unreached "npm packages" "${said:-no report}"
	elif [ $status != 0 ]; then
		jq -r '.vulnerabilities[] | "\(.severity): \(.name) \(.range)"' <<<"$report"
		return 1
	fi
}
