#!/usr/bin/env bash
# Stops what up.sh started and removes what it made: processes (by recorded pid
# and start time), the node's namespaces with every mount in them, cgroups, the
# bridge, iptables/nftables rules, changed kernel settings, and the cluster's
# data. Keeps what build.sh built. Safe to run again, and after a failed up.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
as_root

processes() {
	[ -d "$LIVE/pids" ] || return 0
	# The API's clients first. Killing the node's PID 1 kills containerd, the
	# kubelet, kube-proxy, every shim and every container at once, and with them
	# go their mounts, network namespaces and veth pairs.
	# KILL everywhere: the data is thrown away below, and the API server would
	# wait for its watchers for as long as we let it.
	local n
	for n in kube-scheduler kube-controller-manager node; do stop "$n" KILL; done
	for n in kubelet kube-proxy containerd; do stop "$n"; done # their nsenter parents
	for n in kube-apiserver etcd; do stop "$n" KILL; done
}

cgroups() {
	local c i
	for c in /sys/fs/cgroup/"$CGROUP" /sys/fs/cgroup/*/"$CGROUP"; do
		[ -d "$c" ] || continue
		for ((i = 0; i < 600; i++)); do # killed processes leave a moment later
			find "$c" -depth -type d -exec rmdir {} + 2>/dev/null && break
			sleep 0.1
		done
		[ ! -d "$c" ] || say "warning: could not remove $c"
	done
}

# The network's things are ours when up.sh noted so, or when a bridge of this
# name is there (the state folder may have been removed by hand).
ours() { [ -f "$LIVE/prepared" ] || ip link show "$BRIDGE" >/dev/null 2>&1; }

# Removes the KUBE- and CNI- chains of one address family (up.sh refused to
# start if there were any before), then tables that did not exist before and
# hold nothing now: iptables-nft makes its tables on first use.
rules() {
	local ipt=$1 table
	command -v "$ipt" >/dev/null || return 0
	for table in raw mangle nat filter; do
		"$ipt-save" -t "$table" 2>/dev/null | grep -qE '^:(KUBE|CNI)-' || continue
		{
			echo "*$table"
			"$ipt-save" -t "$table" | grep -E '^:(KUBE|CNI)-' | sed -E 's/^:([^ ]+).*/:\1 - [0:0]/'
			"$ipt-save" -t "$table" | grep -E '^-A [A-Z]+ .*-j (KUBE|CNI)-' | sed 's/^-A/-D/' || true
			"$ipt-save" -t "$table" | grep -E '^:(KUBE|CNI)-' | sed -E 's/^:([^ ]+).*/-X \1/'
			echo COMMIT
		} | "$ipt-restore" --noflush
	done
}
firewall() {
	ours || return 0
	rules iptables
	rules ip6tables
	command -v nft >/dev/null && [ -f "$LIVE/nft-tables" ] || return 0
	local _ family name
	while read -r _ family name; do
		if grep -qx "table $family $name" "$LIVE/nft-tables"; then continue; fi
		case "$family $name" in
		"ip raw" | "ip mangle" | "ip nat" | "ip filter" | "ip6 raw" | "ip6 mangle" | "ip6 nat" | "ip6 filter")
			# Only base chains, no rule: the listing of a rule is none of these lines.
			if ! nft list table "$family" "$name" 2>/dev/null | grep -vqE '^table |^\s*chain [A-Z]+ \{|^\s*type .* hook |^\s*\}|^\s*$|^#'; then
				nft delete table "$family" "$name"
			fi
			;;
		esac
	done < <(nft list tables)
}

devices() {
	ours || return 0
	# Translations to dead pods would misdirect the next cluster's DNS packets.
	if command -v conntrack >/dev/null; then
		local way
		for way in --orig-src --orig-dst --reply-src --reply-dst; do
			conntrack -D "$way" "$POD_CIDR" >/dev/null 2>&1 || true
		done
	fi
	if ip link show "$BRIDGE" >/dev/null 2>&1; then ip link del "$BRIDGE"; fi
}

# put_back FILE: the settings noted in it, where they differ now.
put_back() {
	[ -f "$1" ] || return 0
	local s old
	while IFS='=' read -r s old; do
		if [ "$(sysctl -n "$s" 2>/dev/null)" != "$old" ]; then sysctl -qw "$s=$old" 2>/dev/null || true; fi
	done <"$1"
}

files() {
	if grep -q " $LIVE/" /proc/mounts; then die "something is still mounted under $LIVE"; fi
	rm -rf --one-file-system "$LIVE"
	# The last cluster on the machine puts the machine's own settings back.
	if ! compgen -G "$STATES/*/cluster/prepared" >/dev/null; then
		put_back "$STATES/sysctls"
		rm -f "$STATES/sysctls"
	fi
}

processes
cgroups
firewall
devices
put_back "$LIVE/sysctls"
files
