# When a package registry is why something failed: one line, with the next step (sourced).

# What apt, cargo, Go, npm and Maven say then. Only words for a person hang on it: what failed has failed.
NO_REGISTRY='[Cc]ould(n.t| not) (resolve|connect)|Temporary failure (resolving|in name resolution)|failed to (download|fetch) .*(index|registry|from)|failed to query replaced source|spurious network error|dial tcp|proxyconnect|no such host|npm (error|ERR!) code E(NOTFOUND|CONNREFUSED|CONNRESET|TIMEDOUT|AI_AGAIN)|npm (error|ERR!) network|Could not transfer|No plugin found for prefix|Unknown host|Unable to locate package'

# no_registry LOG: the line of LOG that says so; fails when none does.
no_registry() { sed 's/\x1b\[[0-9;]*[A-Za-z]//g' "$1" | grep -m 1 -E "$NO_REGISTRY" | sed 's/^[[:space:]]*//' | cut -c1-160; }

# registry_advice WHAT LOG: the one line; fails when LOG tells of something else.
registry_advice() {
	local line
	line=$(no_registry "$2") && [ -n "$line" ] || return 1
	printf '%s failed for want of a package registry (%s): check the network, or name a mirror (apt: /etc/apt, cargo: ~/.cargo/config.toml, Go: GOPROXY, npm: ~/.npmrc, Maven: ~/.m2/settings.xml), and run this again; the whole log: %s' "$1" "$line" "$2"
}
