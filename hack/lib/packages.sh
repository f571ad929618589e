# Debian packages (sourced).

. "$LIB/registry.sh"

BUILD_PACKAGES=(build-essential pkg-config libssl-dev ca-certificates curl jq)
RUN_PACKAGES=(containerd runc iptables nftables iproute2 conntrack openssl curl jq procps util-linux postgresql)
TEST_PACKAGES=(chromium lua5.3 nginx-light prometheus python3-venv shellcheck valgrind)

# missing_packages PACKAGE...: those that are not installed, one a line.
missing_packages() {
	local p
	for p in "$@"; do
		dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p"
	done
}

# install_packages PACKAGE...: those that are missing; no package starts a daemon.
install_packages() {
	local missing rc=/usr/sbin/policy-rc.d made='' ok=0 log=$CACHE/log/apt.log advice
	mapfile -t missing < <(missing_packages "$@" | sort -u)
	[ ${#missing[@]} -gt 0 ] || return 0
	# policy-rc.d answers 101 so that no package starts a daemon of its own
	# (Debian's containerd would, under systemd), and PostgreSQL is told to make
	# no cluster of its own: it would take port 5432.
	if [ ! -e $rc ]; then printf '#!/bin/sh\n# made by parley\nexit 101\n' >$rc && chmod +x $rc; fi
	! grep -q '^# made by parley' $rc || made=1
	local conf=/etc/postgresql-common/createcluster.conf.d
	if [[ " ${missing[*]} " == *" postgresql "* ]]; then
		mkdir -p $conf && echo 'create_main_cluster = false' >$conf/parley.conf
	fi
	export DEBIAN_FRONTEND=noninteractive
	mkdir -p "${log%/*}"
	# Without fresh lists it may do with those that are there.
	{
		apt-get update -qq || true
		apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" || ok=$?
	} >"$log" 2>&1
	[ -z "$made" ] || rm -f $rc
	rm -f $conf/parley.conf
	[ $ok != 0 ] || return 0
	if advice=$(registry_advice "apt's installation of ${missing[*]}" "$log"); then die "$advice"; fi
	tail -n 25 "$log" >&2
	die "apt could not install ${missing[*]}; the whole log: $log"
}
